"""Layouts of sets with boxes that people have: read as they are meant, with their splits."""

import json
import random
import shutil

import numpy as np
import pytest
import torch
from boxed_digits import (
    NO_BOX,
    boxes_of,
    coco_of,
    digits_on_canvas,
    write_coco,
    write_voc,
    write_yolo,
)
from PIL import Image, ImageDraw
from test_folder import noted

from augment.data.boxed_images import BoxedImages
from augment.data.boxes.layout import split_in_name
from augment.data.boxes.pictures import choose_letterbox
from augment.data.datasets import load_dataset
from augment.data.grids import to_pillow
from augment.data.layouts.listing import list_files
from augment.data.layouts.reading_flags import ReadingFlags
from augment.errors import DataError

N = 12


@pytest.fixture(scope="module")
def digits():
    return digits_on_canvas(N, classes=2, seed=2)


@pytest.fixture
def yolo(digits, tmp_path):
    return write_yolo(digits, tmp_path / "set")


def n_boxes(data):
    return int(data.pool.counts().sum() + data.test.counts().sum())


def save(root, *names):
    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(k).integers(0, 256, (64, 64), np.uint8)
        Image.fromarray(noise).save(root / name)


def test_label_studio_names_pictures_by_where_they_were_uploaded(digits, tmp_path):
    root = write_coco(digits, tmp_path / "set")
    found = json.loads((root / "annotations/instances.json").read_text())
    for each in found["images"]:
        each["file_name"] = f"images\\7\\0a1b2c3d-{each['file_name']}"
    shutil.rmtree(root / "annotations")
    (root / "result.json").write_text(json.dumps(found))
    data = load_dataset(str(root))
    assert len(data.pool) + len(data.test) == N
    assert "COCO in result.json" in data.layout


def test_equal_names_in_folders_of_splits_are_told_apart_by_their_file(digits, tmp_path):
    for split, rows in (("train", range(8)), ("val", range(8, N))):
        part = digits.select(list(rows))
        folder = write_coco(part, tmp_path / split)  # canvas000.png in both
        (tmp_path / "images").mkdir(exist_ok=True)
        (folder / "images").rename(tmp_path / "images" / f"{split}2017")
        shutil.rmtree(folder)
        names = [f"canvas{k:03d}.png" for k in range(len(part))]
        (tmp_path / "annotations").mkdir(exist_ok=True)
        file = tmp_path / "annotations" / f"instances_{split}2017.json"
        file.write_text(json.dumps(coco_of(part, names)))
        (file.with_name(f"person_keypoints_{split}2017.json")).write_text(file.read_text())
    data = load_dataset(str(tmp_path))
    assert (len(data.pool), len(data.test)) == (8, 4)
    assert torch.equal(data.test.images, digits.images[8:])
    assert noted(data.notes, "not used: annotations/person_keypoints_train2017.json")


def test_darknet_lists_the_pictures_of_each_split(yolo):
    (yolo / "data.yaml").unlink()
    (yolo / "obj.names").write_text("zero\none\n")
    (yolo / "obj.data").write_text("classes = 2\nnames = data/obj.names\n")
    for split, rows in (("train", range(9)), ("test", range(9, N))):
        paths = [f"data/images/canvas{k:03d}.png\n" for k in rows]
        (yolo / f"{split}.txt").write_text("".join(paths))
    data = load_dataset(str(yolo))
    assert (len(data.pool), len(data.test)) == (9, 3)
    assert data.pool.classes == ("zero", "one")
    assert "names in obj.names, splits from test.txt, train.txt" in data.layout


def test_data_yaml_may_point_to_where_the_set_once_was(digits, tmp_path):
    root = write_yolo(digits, tmp_path / "set", ["train"] * 8 + ["valid"] * 4, split_first=True)
    (root / "data.yaml").write_text(
        "path: /content/datasets\ntrain: ../train/images\nval: ../valid/images\n"
        "test: ../test/images\nnc: 2\nnames: ['zero', 'one']\n"
    )
    data = load_dataset(str(root))
    assert (len(data.pool), len(data.test), data.pool.classes) == (8, 4, ("zero", "one"))
    assert noted(data.notes, "test: ../test/images names no pictures here")
    assert noted(data.notes, "no test split: val is the test set")


def test_equal_splits_of_data_yaml_are_none(yolo):
    (yolo / "data.yaml").write_text("train: images\nval: images\nnames: {0: a, 1: b}\n")
    data = load_dataset(str(yolo))
    assert not data.official_test
    assert noted(data.notes, "gives pictures to two splits")


def test_polygons_become_their_boxes_and_keypoints_are_passed_over(yolo):
    before = n_boxes(load_dataset(str(yolo)))
    file = yolo / "labels/canvas000.txt"
    file.write_text("1 0.25 0.5 0.5 0.25 0.75 0.5 0.5 1.0\n" + file.read_text())
    data = load_dataset(str(yolo))
    assert n_boxes(data) == before + 1
    boxes = torch.cat([data.pool.labels.flatten(0, 1), data.test.labels.flatten(0, 1)])
    assert [1, 32, 32, 96, 128] in boxes.tolist()
    assert noted(data.notes, "1 polygons: their boxes are taken")
    file.write_text("1 0.5 0.5 0.5 0.5 0.1 0.1 2 0.2 0.2 2\n")
    (yolo / "data.yaml").write_text("train: images\nkpt_shape: [2, 3]\nnames: [a, b]\n")
    data = load_dataset(str(yolo))
    boxes = torch.cat([data.pool.labels.flatten(0, 1), data.test.labels.flatten(0, 1)])
    assert [1, 32, 32, 96, 96] in boxes.tolist()


def test_labels_beside_their_pictures_are_read(yolo):
    for file in (yolo / "labels").iterdir():
        file.rename(yolo / "images" / file.name)
    (yolo / "labels").rmdir()
    (yolo / "data.yaml").unlink()
    (yolo / "images" / "classes.txt").write_text("zero\none\n")
    data = load_dataset(str(yolo))
    assert len(data.pool) + len(data.test) == N
    assert "names in images/classes.txt" in data.layout


@pytest.mark.parametrize(("corner", "shift"), [("1", 0), ("0", 1), ("1.5", 1)])
def test_corners_of_voc_are_counted_from_1_unless_they_cannot_be(corner, shift, digits, tmp_path):
    root = write_voc(digits, tmp_path / "set")
    file = root / "Annotations/canvas000.xml"
    before, _, after = file.read_text().partition("<xmin>")
    file.write_text(f"{before}<xmin>{corner}{after[after.index('<') :]}")
    data = load_dataset(str(root))
    files = data.pool_files + data.test_files
    first = torch.cat([data.pool.labels[:, 0], data.test.labels[:, 0]])
    found = first[files.index("JPEGImages/canvas001.png")]
    assert found.tolist() == (digits.labels[1, 0] + torch.tensor([0, shift, shift, 0, 0])).tolist()


def test_cvat_has_boxes_polygons_and_subsets(digits, tmp_path):
    records = []
    for k in range(N):
        to_pillow(digits.images[k]).save(tmp_path / f"canvas{k:03d}.png")
        shapes = [
            f'<box label="{digits.classes[int(c)]}" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}"/>'
            for c, x0, y0, x1, y1 in boxes_of(digits, k)
        ]
        subset = "Train" if k < 8 else "Validation"
        head = (
            f'<image id="{k}" name="canvas{k:03d}.png" subset="{subset}" width="128" height="128">'
        )
        records.append(f"{head}{''.join(shapes)}</image>")
    records[0] = records[0].replace(
        "</image>", '<polygon label="1" points="32,32;96,40.5;50,128"/></image>'
    )
    file = tmp_path / "annotations.xml"
    file.write_text(f"<annotations><version>1.1</version>{''.join(records)}</annotations>")
    data = load_dataset(str(tmp_path))
    assert (data.task, len(data.pool), len(data.test)) == ("detect", 8, 4)
    assert torch.equal(data.test.images, digits.images[8:])
    assert torch.equal(data.test.labels[:, 0], digits.labels[8:, 0])
    assert [1, 32, 32, 96, 128] in data.pool.labels[0].tolist()
    file.write_text(file.read_text().replace('xtl="', 'xtl="nan', 1))
    with pytest.raises(DataError, match=r"canvas000\.png 'nan.*' is no number"):
        load_dataset(str(tmp_path))


def test_equal_names_in_folders_of_splits_keep_their_xml(digits, tmp_path):
    for split, rows in (("train", range(8)), ("test", range(8, N))):
        write_voc(digits.select(list(rows)), tmp_path / split)  # canvas000 in both
    data = load_dataset(str(tmp_path))
    assert (len(data.pool), len(data.test)) == (8, 4)
    assert torch.equal(data.test.images, digits.images[8:])
    assert torch.equal(data.test.labels[:, 0], digits.labels[8:, 0])


def test_class_folders_with_boxes_of_the_same_classes_are_classes(tmp_path):
    names = [f"{kind}/{k}.png" for kind in ("cat", "dog") for k in range(6)]
    save(tmp_path, *names)
    for name in names:
        kind = name.partition("/")[0]
        (tmp_path / name).with_suffix(".xml").write_text(
            f"<annotation><object><name>{kind}</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
            "<xmax>40</xmax><ymax>50</ymax></bndbox></object></annotation>"
        )
    data = load_dataset(str(tmp_path))
    assert data.task == "classify"
    assert noted(data.notes, "12 pictures have boxes, Pascal VOC in", "--task detect learns these")
    data = load_dataset(str(tmp_path), reading=ReadingFlags(task="detect"))
    assert (data.task, n_boxes(data)) == ("detect", 12)


def test_a_set_that_is_read_by_classes_says_that_it_has_boxes(digits, tmp_path):
    root = write_voc(digits, tmp_path / "set")
    for file in sorted((root / "Annotations").iterdir())[:8]:
        file.unlink()
    with pytest.raises(DataError) as refused:
        load_dataset(str(root))
    assert noted(refused.value.__notes__, "4 pictures have boxes, Pascal VOC in", "--task detect")


def test_names_of_splits_are_words():
    names = [
        "images/train2017/1.jpg",
        "valid/x.jpg",
        "instances_test-dev2017.json",
        "contest/1.jpg",
    ]
    assert [*map(split_in_name, names)] == ["train", "val", "test", ""]


@pytest.mark.parametrize(
    ("sizes", "size", "expected"),
    [
        ([(640, 480)], None, (320, 320, 240)),
        ([(200, 200)], None, (200, 200, 200)),
        ([(64, 48)], None, (128, 128, 96)),
        ([(640, 480), (480, 640)], None, (320, 320, 320)),
        ([(640, 480), (1000, 100)], 100, (100, 104, 80)),
    ],
)
def test_the_letterbox_holds_all_pictures(sizes, size, expected):
    letterbox = choose_letterbox(sizes, size)
    assert letterbox == expected
    for each in sizes:
        width, height = letterbox.fitted(each)
        assert max(width, height) == letterbox.longer
        assert width <= letterbox.width
        assert height <= letterbox.height
        assert width / height == pytest.approx(each[0] / each[1], rel=0.1)


def test_boxes_lie_on_what_they_name_at_any_size(tmp_path):
    """A white rectangle on black in pictures of many shapes, found again where its box is."""
    rng, images, annotations = random.Random(0), [], []
    for k in range(12):
        width, height = rng.randint(100, 500), rng.randint(100, 500)
        w, h = rng.randint(40, width // 2), rng.randint(40, height // 2)
        x, y = rng.randint(0, width - w), rng.randint(0, height - h)
        picture = Image.new("L", (width, height))
        ImageDraw.Draw(picture).rectangle([x, y, x + w - 1, y + h - 1], fill=255)
        picture.save(tmp_path / f"{k}.png")
        images.append(dict(id=k, file_name=f"{k}.png", width=width, height=height))
        annotations.append(dict(id=k, image_id=k, category_id=1, bbox=[x, y, w, h]))
    found = dict(images=images, annotations=annotations, categories=[dict(id=1, name="white")])
    (tmp_path / "coco.json").write_text(json.dumps(found))
    data = load_dataset(str(tmp_path), size=160)
    assert data.pool.shape == (1, 160, 160)
    for part in (data.pool, data.test):
        for image, row in zip(part.images[:, 0], part.labels[:, 0], strict=True):
            ys, xs = (image > 127).nonzero(as_tuple=True)
            seen = torch.stack([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            assert (seen - row[1:]).abs().max() <= 1


def test_groups_and_copies_stay_on_one_side(digits, tmp_path):
    root = write_coco(digits, tmp_path / "set")
    found = json.loads((root / "annotations/instances.json").read_text())
    for k, each in enumerate(found["images"]):
        name = f"patient{k // 3:02d}_{k % 3}.png"
        (root / "images" / each["file_name"]).rename(root / "images" / name)
        each["file_name"] = name
    shutil.copy(root / "images/patient00_0.png", root / "images/again.png")
    (root / "annotations/instances.json").write_text(json.dumps(found))
    data = load_dataset(str(root))
    assert "groups from names like" in data.layout
    assert not set(data.pool_groups) & set(data.test_groups)
    assert noted(data.notes, "left out pictures that the annotations do not name (1)")
    apart = load_dataset(str(root), reading=ReadingFlags(group_by="none"))
    assert "groups" not in apart.layout


def test_mirrored_and_brightened_copies_stay_on_one_side(digits, tmp_path):
    images = torch.cat([digits.images, digits.images.flip(3), (digits.images * 0.9).byte()])
    data = BoxedImages(images, digits.labels.repeat(3, 1, 1), digits.classes)
    found = load_dataset(str(write_coco(data, tmp_path / "set")))
    sides = [
        {int(file[-7:-4]) % N for file in files} for files in (found.pool_files, found.test_files)
    ]
    assert sides[0] | sides[1] == set(range(N))
    assert not sides[0] & sides[1]
    assert noted(found.notes, "24 images look like copies of others")
    split = ["train"] * 24 + ["test"] * 12
    given = load_dataset(str(write_coco(data, tmp_path / "split", split)))
    assert noted(given.notes, "12 test images look like copies of training images")


def test_padding_is_last_and_empty(digits, tmp_path):
    data = load_dataset(str(write_voc(digits, tmp_path / "set")))
    for part in (data.pool, data.test):
        is_box = part.labels[..., 0] != NO_BOX
        assert (part.labels[~is_box] == NO_BOX).all()
        assert (is_box.int().diff(dim=1) <= 0).all()
        assert is_box[:, -1].any()


def test_reading_writes_nothing(yolo):
    before = {name: (yolo / name).stat().st_mtime_ns for name in list_files(yolo).others}
    load_dataset(str(yolo))
    assert before == {name: (yolo / name).stat().st_mtime_ns for name in list_files(yolo).others}
