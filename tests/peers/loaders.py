# pyright: reportMissingImports=false
"""Exports as other tools load them: every image, with its pixels, under its class.

`bash tests/peers/run.sh` installs those tools and runs this; the suite does not collect it.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import bars
from PIL import Image

import augment
from augment.data.grids import to_pillow
from augment.report.export import ExportRequest, export_images
from augment.storage.tables import read_csv, write_csv

CLASSES = {
    "awkward": "( + - 1 -1 train test none NA 01 __a val dev eval None".split(),
    "signs": "( ) + - = 0 1 10 2 A alpha".split(),
    # of which the folders have other names
    "encoded": ["a/b", "a::b", ".hidden", "dots..", 'what?"', "plain", "a b", "[x]", "50%", "猫"],
    "numbered": ["a/b", "a%2Fb", "c"],
}
SIDE = 12  # Ultralytics leaves out images with a side below 10


@pytest.fixture(scope="module", params=CLASSES)
def run_dir(request, tmp_path_factory):
    """A run on five images of each class, grouped, named in a table."""
    folder = tmp_path_factory.mktemp(request.param)
    root, classes = folder / "data", CLASSES[request.param]
    root.mkdir()
    data, rows = bars(5, classes, (3, SIDE, SIDE)), []
    for k, (image, label) in enumerate(zip(data.images, data.labels.tolist(), strict=True)):
        to_pillow(image).save(root / f"{k}.png")
        rows.append({"file_name": f"{k}.png", "label": classes[label], "group": f"P{k}"})
    write_csv(root / "metadata.csv", pd.DataFrame(rows))
    settings = {"classifier": {"steps": 2, "batch": 16, "width": 8}}
    fast = dict(generator="duplicate", preset="smoke", seeds=1, jobs=1, ratio=1, set=settings)
    return augment.run(dataset=str(root), out=folder / "run", **fast).path


@pytest.fixture(scope="module", params=["imagefolder", "hf"])
def exported(request, run_dir):
    """(folder, {image file: class}) of an export."""
    out = run_dir.parent / request.param
    export_images(run_dir, out, ExportRequest(format=request.param), None)
    if request.param == "hf":
        rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    else:
        rows = read_csv(out / "metadata.csv", ["label"]).to_dict("records")
    wanted = {out / row["file_name"]: row["label"] for row in rows}
    assert wanted.keys() == {*out.rglob("*.png")}
    assert {row["label"] for row in rows} == set(CLASSES[run_dir.parent.name[:-1]])
    return out, wanted


def by_datasets(out):
    from datasets import load_dataset

    loaded = load_dataset(str(out), cache_dir=str(out.parent / "cache"))
    assert list(loaded) == ["train"]  # nothing is held out
    names = loaded["train"].features["label"].names
    for row in loaded["train"]:
        yield row["image"].filename, names[row["label"]], row["image"]


def by_torchvision(out):
    from torchvision.datasets import ImageFolder

    data = ImageFolder(out / "train")
    for (file, _), (image, label) in zip(data.samples, data, strict=True):
        yield file, data.classes[label], image


def by_timm(out):
    from timm.data import create_dataset

    data = create_dataset("", root=str(out), split="train")
    names = {index: name for name, index in data.reader.class_to_idx.items()}
    for k, (image, label) in enumerate(data):
        yield data.filename(k, absolute=True), names[label], image


def by_ultralytics(out):
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import ClassificationDataset
    from ultralytics.data.utils import check_cls_dataset

    about = check_cls_dataset(str(out))
    assert about["val"] is None  # nothing is held out …
    assert not out.with_name(f"{out.name}_split").exists()  # … nor copied
    data = ClassificationDataset(about["train"], get_cfg(), names=about["names"])
    for file, label, *_ in data.samples:
        yield file, about["names"][label], data.imread(file)[..., ::-1]  # BGR → RGB


def by_keras(out):
    from keras.utils import image_dataset_from_directory

    data = image_dataset_from_directory(
        str(out / "train"), image_size=(SIDE, SIDE), shuffle=False, batch_size=None, format="grain"
    )
    for file, (image, label) in zip(data.file_paths, data, strict=True):
        yield file, data.class_names[int(label)], np.asarray(image)


def by_fastai(out):
    from fastai.vision.all import ImageDataLoaders

    data = ImageDataLoaders.from_folder(out, num_workers=0, bs=2)
    assert len(data.valid_ds) == 0  # nothing is held out
    for file, (image, label) in zip(data.train_ds.items, data.train_ds, strict=True):
        yield file, data.vocab[int(label)], image


LOADERS = [by_datasets, by_torchvision, by_timm, by_ultralytics, by_keras, by_fastai]


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__name__)
def test_every_image_has_its_class(exported, load):
    out, wanted = exported
    # tools other than `datasets` with metadata.jsonl know the folder's name, which may be encoded
    class_of = {file.parent.name: label for file, label in wanted.items()}
    assert len(class_of) == len(set(wanted.values()))
    found = {}
    for file, name, image in load(out):
        file = Path(file)
        by_table = load is by_datasets and (out / "metadata.jsonl").exists()
        found[file] = name if by_table else class_of[name]
        with Image.open(file) as picture:
            assert np.array_equal(np.asarray(image), np.asarray(picture.convert("RGB")))
    assert found == wanted


def test_hf_tells_real_from_synthetic_and_has_the_groups(run_dir, tmp_path):
    from datasets import load_dataset

    out = tmp_path / "out"
    export_images(run_dir, out, ExportRequest(format="hf"), None)
    loaded = load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    for row in loaded:
        assert Path(row["image"].filename).name.startswith(f"{row['source']}-")
        assert row["group"].startswith("P") == (row["source"] == "real")


def test_webdataset_has_each_image_with_its_class(run_dir, tmp_path):
    from datasets import load_dataset
    from webdataset import WebDataset

    out, plain = tmp_path / "out", tmp_path / "plain"
    export_images(run_dir, out, ExportRequest(format="webdataset"), None)
    export_images(run_dir, plain, ExportRequest(), None)
    files = {file.stem: file for file in plain.rglob("*.png")}
    classes = json.loads((out / "classes.json").read_text())
    shards = [str(shard) for shard in sorted(out.glob("train-*.tar"))]
    read = list(WebDataset(shards, shardshuffle=False).decode("pil"))
    loaded = load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    for rows in (read, loaded):
        assert {row["__key__"] for row in rows} == files.keys()
        assert all(classes[row["cls"]] == row["json"]["label"] for row in rows)
        for row in rows:
            with Image.open(files[row["__key__"]]) as picture:
                assert np.array_equal(np.asarray(row["png"]), np.asarray(picture))
