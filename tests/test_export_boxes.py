"""Exports of pictures with boxes, read back: every picture, every box, and which are synthetic."""

import itertools
import json
import shutil

import pytest
import torch
import yaml
from boxed_digits import boxes_of, digits_on_canvas
from test_folder import noted

from augment.data.boxed_images import BoxedImages
from augment.data.datasets import load_dataset
from augment.report.export_boxes import COCO_FILE, IMAGES, export_pictures, write_boxes
from augment.storage.tables import read_csv

CLASSES = ["no", "1 : a", "猫"]  # that YAML would read as something else


@pytest.fixture(scope="module")
def real():
    return digits_on_canvas(20, side=64, classes=3, seed=1, n_negatives=1)


@pytest.fixture
def out(real, tmp_path):
    """20 real and 6 synthetic pictures; of the latter every second box is synthetic."""
    made = digits_on_canvas(6, side=64, classes=3, seed=2)
    which = torch.arange(made.labels.shape[1]).remainder(2).bool().expand(6, -1)
    groups = [f"P{k // 2}" for k in range(20)]
    files = [f"scan{k}.png" for k in range(20)]
    pictures = itertools.chain(
        export_pictures(real, "real", files=files, groups=groups),
        export_pictures(made, "synthetic", synthetic=which),
    )
    folder = tmp_path / "out"
    folder.mkdir()
    assert write_boxes(folder, pictures, CLASSES) == {}
    return folder


@pytest.mark.parametrize("kept", ["COCO", "YOLO"])
def test_our_own_reader_finds_all(out, real, kept):
    shutil.rmtree(out / ("labels" if kept == "COCO" else "annotations"))
    data = load_dataset(str(out), size=128)
    assert len(data.pool) + len(data.test) == 26
    assert data.pool.classes == tuple(CLASSES)
    assert kept in data.layout
    doubled = BoxedImages(real.images, real.labels, tuple(CLASSES))
    for part, files in ((data.pool, data.pool_files), (data.test, data.test_files)):
        for row, file in enumerate(files):
            if "synthetic" in file:
                continue
            expected = sorted(boxes_of(doubled, int(file[-10:-4])))
            found = sorted(boxes_of(part, row))
            assert len(found) == len(expected)
            for a, b in zip(found, expected, strict=True):
                assert a == pytest.approx((b[0], *(2 * value for value in b[1:])), abs=1e-3)


def test_synthetic_pictures_are_never_held_out_and_groups_stay_together(out):
    data = load_dataset(str(out))
    assert not any("synthetic" in file for file in data.test_files)
    assert noted(data.notes, "6 synthetic pictures are learnt from and never held out")
    assert "groups from the annotations" in data.layout
    assert not set(data.pool_groups) & set(data.test_groups)


def test_tables_and_coco_tell_which_boxes_are_synthetic(out):
    coco = json.loads((out / COCO_FILE).read_text())
    boxes = read_csv(out / "boxes.csv", ["file_name", "class"])
    names = {each["id"]: each["file_name"] for each in coco["images"]}
    assert [each["id"] for each in coco["annotations"]] == [*range(1, len(boxes) + 1)]
    told = [(names[each["image_id"]], each["synthetic"]) for each in coco["annotations"]]
    assert told == [*zip(boxes["file_name"], boxes["synthetic"], strict=True)]
    of_real = {made for name, made in told if name.startswith("real")}
    of_synthetic = {made for name, made in told if name.startswith("synthetic")}
    assert (of_real, of_synthetic) == ({False}, {True, False})
    pictures = read_csv(out / "pictures.csv", ["file_name", "group", "original"])
    assert pictures["boxes"].sum() == len(boxes)
    assert (pictures["source"] == "real").sum() == 20
    assert pictures["original"][3] == "scan3.png"


def test_data_yaml_names_the_classes_as_text(out):
    head = yaml.safe_load((out / "data.yaml").read_text())
    assert head["names"] == dict(enumerate(CLASSES))
    assert head["train"] == IMAGES
    assert len(list((out / head["train"]).iterdir())) == 26
