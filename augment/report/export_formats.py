"""EXPORT_FORMATS: how the images of an export are laid out, and what the readers of each must know.

A writer fills a folder and returns the head of the data card, from which `datasets` learns which
files are the data.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from augment.data.grids import to_pillow
from augment.errors import UsageError
from augment.report.folder_names import folder_names
from augment.storage.tables import write_csv

IMAGES_PER_SHARD = 10_000  # of webdataset
Head = dict[str, Any]


@dataclass(frozen=True)
class ExportImage:
    """One image of an export."""

    pixels: Tensor  # [C, H, W] uint8
    label: int  # index into the classes
    source: str  # real or synthetic
    index: int  # among the images of its source
    original: str = ""  # the file that it was read from
    group: str = ""  # e.g. the patient

    @property
    def name(self) -> str:
        """Name of its file, without folder and suffix; no two of an export are alike."""
        return f"{self.source}-{self.index:06d}"

    def row(self, file_name: str, classes: list[str], data: bytes) -> dict[str, Any]:
        """Describe the image, written as the bytes `data`, in a row of a table."""
        return {
            "file_name": file_name,
            "label": classes[self.label],
            "source": self.source,
            "group": self.group,
            "original": self.original,
            "sha256": hashlib.sha256(data).hexdigest(),
        }


@dataclass(frozen=True)
class ExportFormat:
    """A layout of an export."""

    write: Callable[[Path, Iterator[Any], list[str]], Head]  # of ExportImage or ExportPicture
    reading: str  # Markdown for the data card; OUT stands for the folder
    labels: str = "Labels of synthetic images are what the generator was asked for"
    own_sizes: bool = True  # images may differ in size


def png_bytes(pixels: Tensor) -> bytes:
    """Encode [C, H, W] uint8 as PNG."""
    buffer = io.BytesIO()
    to_pillow(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _write_class_folders(
    folder: Path, images: Iterator[ExportImage], classes: list[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Write train/CLASS/NAME.png; return the rows of the table and the patterns of the files."""
    train = folder / "train"
    train.mkdir()
    folders = folder_names(classes, ignores_case=(folder / "TRAIN").exists())
    rows = []
    for image in images:
        file, data = train / folders[image.label] / f"{image.name}.png", png_bytes(image.pixels)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        rows.append(image.row(file.relative_to(folder).as_posix(), classes, data))
    # `datasets` takes a folder called __… for none of the data unless a pattern asks for it
    special = any(name.startswith("__") for name in folders)
    return rows, ["train/*/*", *(["train/__*/*"] if special else [])]


def _write_imagefolder(folder: Path, images: Iterator[ExportImage], classes: list[str]) -> Head:
    """Write a folder a class and metadata.csv beside them."""
    rows, patterns = _write_class_folders(folder, images, classes)
    write_csv(folder / "metadata.csv", pd.DataFrame(rows))
    return _head(patterns)


def _write_hf(folder: Path, images: Iterator[ExportImage], classes: list[str]) -> Head:
    """Write a folder a class and metadata.jsonl, whose columns `datasets` reads too.

    Raises UsageError if all classes are dates: it would take them for times.
    """
    if all(re.fullmatch(r"\d{4}-\d\d-\d\d([ T].*)?", name) for name in classes):
        raise UsageError(
            f"--format hf: classes such as {classes[0]} would be read as times: leave it out"
        )
    rows, patterns = _write_class_folders(folder, images, classes)
    # in JSON lines, not CSV: there classes called NA, None and 01 would become something else
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    names = {str(k): name for k, name in enumerate(classes)}
    columns = [{"name": key, "dtype": "string"} for key in list(rows[0])[2:]]
    features = [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": {"class_label": {"names": names}}},
        *columns,
    ]
    return _head(["metadata.jsonl", *patterns], features=features)


def _write_webdataset(folder: Path, images: Iterator[ExportImage], classes: list[str]) -> Head:
    """Write tar files of NAME.png, NAME.cls (the index of the class) and NAME.json."""
    (folder / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    for shard, part in itertools.groupby(
        enumerate(images), key=lambda numbered: numbered[0] // IMAGES_PER_SHARD
    ):
        with tarfile.open(folder / f"train-{shard:06d}.tar", "w") as tar:
            for _, image in part:
                _add_sample(tar, image, classes)
    return _head(["train-*.tar"])


def _add_sample(tar: tarfile.TarFile, image: ExportImage, classes: list[str]) -> None:
    """Add the files of an image to a tar file."""
    data = png_bytes(image.pixels)
    row = image.row(f"{image.name}.png", classes, data)
    files = {"png": data, "cls": str(image.label).encode(), "json": json.dumps(row).encode()}
    for suffix, content in files.items():
        member = tarfile.TarInfo(f"{image.name}.{suffix}")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


def _write_npz(folder: Path, images: Iterator[ExportImage], classes: list[str]) -> Head:
    """Write real.npz and synthetic.npz with MedMNIST's keys, and a table of their rows."""
    pixels: dict[str, list[np.ndarray]] = {}
    labels: dict[str, list[int]] = {}
    rows = []
    for image in images:
        array = np.asarray(to_pillow(image.pixels))  # [H, W] or [H, W, 3]
        place = f"{image.source}.npz:train/{image.index}"
        rows.append(image.row(place, classes, array.tobytes()))
        pixels.setdefault(image.source, []).append(array)
        labels.setdefault(image.source, []).append(image.label)
    for source, arrays in pixels.items():
        np.savez_compressed(
            folder / f"{source}.npz",
            train_images=np.stack(arrays),
            train_labels=np.array(labels[source]),
            classes=np.array(classes),
        )
    write_csv(folder / "rows.csv", pd.DataFrame(rows))
    return {}


def _head(patterns: list[str], **more: Any) -> Head:
    """Make the head that names the files of the only split."""
    files = [{"split": "train", "path": patterns}]
    return {"configs": [{"config_name": "default", "data_files": files, **more}]}


_FOLDERS = """A folder a class in `train/`; `{table}` says of each image which class it has, whether
it is real or synthetic, its group and the file that it came from.

- torchvision: `ImageFolder("OUT/train")`
- timm: `create_dataset("", "OUT", split="train")`
- Keras: `image_dataset_from_directory("OUT/train")`, without `validation_split`
- fastai: `ImageDataLoaders.from_folder("OUT")`, without `valid_pct`
- Ultralytics: `data="OUT"`, with images of your own in `OUT/val/CLASS`; it leaves out images with a
  side below 10 pixels
- Datumaro: `Dataset.import_from("OUT", "imagenet_with_subset_dirs")`; as `imagenet` it takes
  `OUT/train` alone, since it refuses a folder with a README.md
"""

EXPORT_FORMATS: dict[str, ExportFormat] = {
    "imagefolder": ExportFormat(
        _write_imagefolder,
        _FOLDERS.format(table="metadata.csv")
        + """- datasets: `load_dataset("OUT")`, without `data_dir`: with one, classes called train,
  val, dev, eval or test become splits, and those that begin with two underscores are left out
""",
    ),
    "hf": ExportFormat(
        _write_hf,
        _FOLDERS.format(table="metadata.jsonl")
        + """- datasets: `load_dataset("OUT")`: image, label, source, group, original, sha256
""",
    ),
    "webdataset": ExportFormat(
        _write_webdataset,
        """Tar files `train-….tar` of NAME.png, NAME.cls (a number: the place of the class in
`classes.json`, from 0) and NAME.json (class, real or synthetic, group, original file).

- webdataset: `WebDataset(sorted(glob("OUT/train-*.tar")), shardshuffle=False).decode("pil")`
- datasets: `load_dataset("OUT")`: png, cls, json
""",
    ),
    "npz": ExportFormat(
        _write_npz,
        """`real.npz` and `synthetic.npz` have `train_images` [N, H, W(, C)] uint8, `train_labels`
[N] and `classes` [K]; `rows.csv` says of each image its group and the file that it came from. They
are two files so that no reader holds out synthetic images.

- numpy: `numpy.load("OUT/real.npz")`
- augment: `augment check OUT/real.npz`, which knows nothing of the groups
""",
        own_sizes=False,
    ),
}
