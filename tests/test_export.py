"""What an export holds: every image under its class, names that cannot be confused, all or nothing.

That other tools read it is tested with those tools, in tests/peers/.
"""

import csv
import glob
import json
import tarfile

import numpy as np
import pytest
import torch
import yaml
from conftest import bars
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import ImageFolder

import augment
from augment.data.datasets import load_dataset
from augment.data.grids import to_pillow
from augment.data.images import resize
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.npz import read_npz
from augment.data.pictures.framing import Framing
from augment.errors import DataError, UsageError
from augment.report import export_formats
from augment.report.export import ExportRequest, export_images
from augment.report.export_formats import EXPORT_FORMATS
from augment.report.folder_names import folder_names
from augment.report.samples import SampleRequest, draw_samples

AWKWARD = "( + - 1 -1 train test none NA 01 __a val dev eval None".split()
SIZES = [(20, 14), (14, 20), (17, 17), (30, 12), (12, 12)]  # width, height


def run_on(folder, data, out, **settings):
    """A run of a second on a data set."""
    return augment.run(
        dataset=str(data),
        generator="duplicate",
        preset="smoke",
        seeds=1,
        jobs=1,
        ratio=1,
        size=12,
        fit="stretch",  # bands would make tiny images look alike
        set={"classifier": {"steps": 2, "batch": 16, "width": 8}},
        out=folder / out,
        **settings,
    ).path


def write_table(root, rows):
    with (root / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file_name", "label", "group"], *rows])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Images of many sizes, of classes with awkward names, each a group of its own."""
    root = tmp_path_factory.mktemp("export") / "data"
    root.mkdir()
    images, rows = bars(5, AWKWARD, (3, 12, 12)), []
    for k, (image, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
        name = f"{k:03d}.{('png', 'tif')[k % 2]}"
        to_pillow(resize(image[None], SIZES[k % 5][::-1])[0]).save(root / name)
        rows.append([name, AWKWARD[label], f"P{k}"])
    write_table(root, rows)
    return root


@pytest.fixture(scope="module")
def run_dir(data):
    return run_on(data.parent, data, "run")


def export(run_dir, out, **request):
    export_images(run_dir, out, ExportRequest(**request), None)
    return out


def pixels_of(file):
    """[H, W] or [H, W, 3] of an image file."""
    with Image.open(file) as image:
        return np.asarray(image)


def rows_of(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_every_image_lies_under_its_class(run_dir, data, tmp_path):
    out = export(run_dir, tmp_path / "out")
    rows = rows_of(out / "metadata.csv")
    label_of = {row["file_name"]: row["label"].removeprefix("'") for row in rows}
    files = {file.relative_to(out).as_posix(): file for file in out.glob("train/*/*")}
    assert files.keys() == label_of.keys()
    assert all(file.parent.name == label_of[name] for name, file in files.items())
    read = ImageFolder(out / "train")
    assert read.classes == sorted(AWKWARD)
    assert len(read) == len(rows)
    sources = {(row["source"], bool(row["original"]), bool(row["group"])) for row in rows}
    assert sources == {("real", True, True), ("synthetic", False, False)}
    given_group = {row["file_name"]: row["group"] for row in rows_of(data / "metadata.csv")}
    assert all(row["group"] == given_group.get(row["original"], "") for row in rows)


def test_head_of_the_card_names_every_image_and_nothing_else(run_dir, tmp_path):
    out = export(run_dir, tmp_path / "out")
    head = yaml.safe_load((out / "README.md").read_text().split("---\n")[1])
    [split] = head["configs"][0]["data_files"]
    assert split["split"] == "train"
    named = {file for pattern in split["path"] for file in glob.glob(pattern, root_dir=out)}
    assert named == {file.relative_to(out).as_posix() for file in out.rglob("*.png")}


def test_card_says_what_a_reader_must_know(run_dir, tmp_path):
    n = len(rows_of(export(run_dir, tmp_path / "out") / "metadata.csv")) // 2
    card = (tmp_path / "out/README.md").read_text()
    for words in (
        f"{n} labelled images of 12 × 12 pixels and {n} synthetic images of 12 × 12 pixels",
        f"of {n} groups (column `group`)",
        "The classes None, none differ in capitals alone",
        '`data="OUT"`',
        "Not anonymous",
    ):
        assert words in card
    export(run_dir, tmp_path / "more", with_real=False)
    assert "groups (column" not in (tmp_path / "more/README.md").read_text()


def test_labelled_images_at_the_size_of_their_files(run_dir, data, tmp_path):
    out = export(run_dir, tmp_path / "out", original_size=True)
    rows = rows_of(out / "metadata.csv")
    found = [pixels_of(out / row["file_name"]) for row in rows]
    for row, pixels in zip(rows, found, strict=True):
        if row["source"] == "synthetic":
            assert pixels.shape == (12, 12, 3)
        else:
            assert np.array_equal(pixels, pixels_of(data / row["original"]))
    assert len({pixels.shape for pixels in found}) == len(SIZES)
    card = (out / "README.md").read_text()
    assert "labelled images at their own size" in card
    assert "**Two sizes.**" in card
    assert "ones are all 12×12 pixels (width×height), with bands beside the picture" in card
    export(run_dir, tmp_path / "one", original_size=False)
    assert "Two sizes" not in (tmp_path / "one/README.md").read_text()


def test_turned_and_deep_originals(tmp_path):
    root = tmp_path / "data"
    turned = Image.Exif()
    turned[0x0112] = 6
    images = bars(6, ("a", "b"), (1, 12, 18))
    for k, (image, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
        (root / "ab"[label]).mkdir(parents=True, exist_ok=True)
        to_pillow(image).save(root / "ab"[label] / f"{k}.png", exif=turned)
    out = export(run_on(tmp_path, root, "run"), tmp_path / "out", original_size=True)
    assert {pixels_of(file).shape for file in out.rglob("real-*.png")} == {(18, 12)}  # upright
    for file in root.rglob("*.png"):
        Image.fromarray(pixels_of(file).astype(np.uint16) * 256).save(file)
    with pytest.raises(DataError, match="more than 8 bits"):
        export(run_on(tmp_path, root, "deep"), tmp_path / "no", original_size=True)
    assert not (tmp_path / "no").exists()


def test_original_size_needs_files_and_a_layout_of_many_sizes(finished, run_dir, tmp_path):
    with pytest.raises(UsageError, match="digits is no folder"):
        export(finished.path, tmp_path / "out", original_size=True)
    with pytest.raises(UsageError, match="images of one size"):
        export(run_dir, tmp_path / "out", original_size=True, format="npz")
    assert not (tmp_path / "out").exists()


def test_export_into_the_data_set_is_refused(run_dir, data):
    before = sorted(data.rglob("*"))
    with pytest.raises(UsageError, match="lies in the data set"):
        export(run_dir, data / "augmented")
    assert sorted(data.rglob("*")) == before


@pytest.mark.parametrize("layout", EXPORT_FORMATS)
@pytest.mark.parametrize("there", [True, False])
def test_export_that_fails_leaves_nothing(run_dir, tmp_path, monkeypatch, layout, there):
    out, calls = tmp_path / "out", []

    def fail(pixels):
        calls.append(1)
        if len(calls) == 40:
            raise KeyboardInterrupt
        return to_pillow(pixels)

    monkeypatch.setattr(export_formats, "to_pillow", fail)
    if there:
        out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        export(run_dir, out, format=layout)
    assert out.exists() == there
    assert not list(tmp_path.rglob("*.*"))
    monkeypatch.undo()
    export(run_dir, out, format=layout)
    assert not (out / ".partial").exists()


def test_hf_has_the_columns_of_the_table(run_dir, tmp_path):
    out = export(run_dir, tmp_path / "out", format="hf")
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert {out / row["file_name"] for row in rows} == {*out.rglob("*.png")}
    assert all((out / row["file_name"]).parent.name == row["label"] for row in rows)
    config = yaml.safe_load((out / "README.md").read_text().split("---\n")[1])["configs"][0]
    names = [feature["name"] for feature in config["features"]]
    assert names == ["image", *list(rows[0])[1:]]
    classes = config["features"][1]["dtype"]["class_label"]["names"]
    assert [classes[str(k)] for k in range(len(AWKWARD))] == sorted(AWKWARD)


def test_hf_refuses_classes_that_are_dates(tmp_path):
    write = EXPORT_FORMATS["hf"].write
    with pytest.raises(UsageError, match="2020-01-31 would be read as times"):
        write(tmp_path, iter(()), ["2020-01-31", "2021-12-01 10:00"])
    assert not list(tmp_path.iterdir())


def test_webdataset_has_each_image_with_its_class(run_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(export_formats, "IMAGES_PER_SHARD", 25)
    out = export(run_dir, tmp_path / "out", format="webdataset")
    plain = export(run_dir, tmp_path / "plain")
    classes = json.loads((out / "classes.json").read_text())
    shards = sorted(out.glob("train-*.tar"))
    found = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                found[member.name] = tar.extractfile(member).read()
    pictures = {name: data for name, data in found.items() if name.endswith(".png")}
    assert len(shards) == -(-len(pictures) // 25) > 1
    for file in plain.rglob("*.png"):
        assert pictures.pop(file.name) == file.read_bytes()
        assert classes[int(found[f"{file.stem}.cls"])] == file.parent.name
        assert json.loads(found[f"{file.stem}.json"])["label"] == file.parent.name
    assert not pictures


@pytest.mark.parametrize("of", ["digits", "folder"])
def test_npz_is_read_back(run_dir, finished, tmp_path, of):
    source = {"digits": finished.path, "folder": run_dir}[of]
    out, plain = export(source, tmp_path / "out", format="npz"), export(source, tmp_path / "plain")
    rows = {row["file_name"]: row for row in rows_of(out / "rows.csv")}
    for kind in ("real", "synthetic"):
        read = read_npz(out / f"{kind}.npz", None)
        for k, (image, label) in enumerate(zip(read.images, read.labels, strict=True)):
            [file] = plain.glob(f"train/*/{kind}-{k:06d}.png")
            assert file.parent.name == read.classes[label]
            assert rows[read.files[k]]["label"].removeprefix("'") == read.classes[label]
            assert np.array_equal(to_pillow(image), pixels_of(file))


def test_samples_of_signed_classes_are_told_apart(run_dir, tmp_path):
    for label in ("1", "-1", "01"):
        found = draw_samples(run_dir, SampleRequest(label, 2, seed=3), None, "cpu")
        assert found["folder"] == str(run_dir / "samples" / f"{label}-3")
        files = {file.name for file in (run_dir / "samples" / f"{label}-3").iterdir()}
        assert files == {f"0000-{label}.png", f"0001-{label}.png", "sheet.png"}


@pytest.mark.parametrize(
    ("classes", "folders"),
    [
        (["(", ")", "+", "-", "0", "1", "=", "A", "alpha"], None),  # None: as they are
        (["-1", "-2", "0", "1", "2"], None),
        (AWKWARD, None),
        (["a b", "ä", "猫", "50%", "[x]", "#1"], None),
        (["a/b", "c"], ["a%2Fb", "c"]),
        ([".a", "b", "c. "], ["%2Ea", "b", "c.%20"]),
        (["..", "x"], ["%2E%2E", "x"]),
        (["a::b", "c"], ["a%3A%3Ab", "c"]),
        (["a%2Fb", "a/b"], ["0-a%2Fb", "1-a%2Fb"]),  # would be one folder
        (["a+", "a/", "b"], ["0-a+", "1-a%2F", "2-b"]),  # % sorts before +
        (["0-a/", "a+", "a/"], ["0-0-a%2F", "1-a+", "2-a%2F"]),
        (["0-a+", "a+", "a/", "1-a+"], ["0--0-a+", "1--a+", "2--a%2F", "3--1-a+"]),
    ],
)
def test_folder_names(classes, folders):
    assert folder_names(classes) == (folders or classes)


def test_folder_names_where_capitals_are_one():
    assert folder_names(["A", "a"]) == ["A", "a"]
    assert folder_names(["A", "a"], ignores_case=True) == ["0-A", "1-a"]
    assert folder_names(["A", "b"], ignores_case=True) == ["A", "b"]


@given(
    st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=12, unique=True), st.booleans()
)
def test_folder_names_of_any_classes(classes, ignores_case):
    classes = sorted(classes)
    names = folder_names(classes, ignores_case=ignores_case)
    assert len({name.casefold() if ignores_case else name for name in names}) == len(names)
    assert sorted(names) == names
    assert all(name == own or name not in classes for name, own in zip(names, classes, strict=True))
    assert not any(set(name) & set('/\\:*?"<>|\0\n') or name[0] == "." for name in names)


def test_long_class_names_stay_apart():
    names = folder_names(["猫" * 200 + "a", "猫" * 200 + "b"])
    assert names[0] != names[1]
    assert max(len(name.encode()) for name in names) < 255


def pages_of(root):
    """Files of three grey pages each, of two classes: what each page holds, by its name."""
    shown = {}
    for k in range(6):
        file = f"{'ab'[k % 2]}/{k}.tif"
        levels = np.random.default_rng(k).integers(0, 256, (3, 20, 14), np.uint8)
        first, *rest = map(Image.fromarray, levels)
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        first.save(root / file, save_all=True, append_images=rest)
        shown |= {f"{file}#{page + 1}": pixels for page, pixels in enumerate(levels)}
    return shown


def test_pages_that_are_pictures_have_names_of_their_own_and_are_read_back(tmp_path):
    shown = pages_of(tmp_path / "data")
    path = run_on(tmp_path, tmp_path / "data", "run", pages="pictures")
    out = export(path, tmp_path / "out", original_size=True)
    real = [row for row in rows_of(out / "metadata.csv") if row["source"] == "real"]
    assert len({row["file_name"] for row in real}) == len({row["original"] for row in real}) > 6
    for row in real:
        assert "#" not in row["file_name"]
        assert np.array_equal(pixels_of(out / row["file_name"]), shown[row["original"]])
        assert row["group"] == row["original"].partition("#")[0]
    again = load_dataset(str(export(path, tmp_path / "same")), size=12)
    stretched, pages = Framing(12, "stretch"), ReadingFlags(pages="pictures")  # as `run_on` does
    first = load_dataset(str(tmp_path / "data"), size=stretched, reading=pages)
    rows = {row["file_name"]: row for row in rows_of(tmp_path / "same/metadata.csv")}
    images = dict(zip(first.pool_files, first.pool.images, strict=True))
    for name, image in zip(again.pool_files, again.pool.images, strict=True):
        if rows[name]["source"] == "real":
            assert torch.equal(image, images[rows[name]["original"]])
    groups = {rows[name]["group"] for name in again.test_files}
    assert not groups & {rows[name]["group"] for name in again.pool_files}


def test_pages_that_are_channels_are_exported_together(tmp_path):
    shown = pages_of(tmp_path / "data")
    path = run_on(tmp_path, tmp_path / "data", "run", pages="channels")
    out = export(path, tmp_path / "out", original_size=True)
    real = [row for row in rows_of(out / "metadata.csv") if row["source"] == "real"]
    for row in real:
        planes = [shown[f"{row['original']}#{page}"] for page in (1, 2, 3)]
        assert np.array_equal(pixels_of(out / row["file_name"]), np.stack(planes, 2))


def test_an_export_that_is_read_back_tests_on_no_synthetic_image(run_dir, data, tmp_path):
    out = export(run_dir, tmp_path / "out")
    dataset = load_dataset(str(out), size=12)
    rows = {row["file_name"]: row for row in rows_of(out / "metadata.csv")}
    held_out = [rows[name] for name in dataset.test_files]
    assert {row["source"] for row in held_out} == {"real"}
    groups = {row["group"] for row in held_out}
    learnt_from = [rows[name] for name in dataset.pool_files]
    assert {row["source"] for row in learnt_from} == {"real", "synthetic"}
    assert not groups & {row["group"] for row in learnt_from if row["group"]}
