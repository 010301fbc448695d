"""What is wrong with annotation files: one sentence, exit 3, and nothing that is right is lost."""

import json
import re
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from boxed_digits import coco_of, digits_on_canvas, write_coco, write_voc, write_yolo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_cli import call
from test_folder import noted
from test_fuzz import mutated

from augment.data.boxed_images import NO_BOX
from augment.data.boxes.reading import find_boxes, read_boxes
from augment.data.datasets import load_dataset
from augment.data.layouts.listing import list_files
from augment.data.layouts.reading_flags import ReadingFlags
from augment.errors import DataError

N = 24
COCO, XML = "annotations/instances.json", "Annotations/canvas003.xml"
TXT = "labels/canvas003.txt"


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """One set in each format: {name: folder}."""
    data, root = digits_on_canvas(N, classes=3, seed=4), tmp_path_factory.mktemp("sets")
    writers = {"VOC": write_voc, "COCO": write_coco, "YOLO": write_yolo}
    return {name: write(data, root / name) for name, write in writers.items()}


@pytest.fixture
def copy_of(sets, tmp_path):
    return lambda name: shutil.copytree(sets[name], tmp_path / name)


def edit_coco(root, change):
    found = json.loads((root / COCO).read_text())
    change(found)
    (root / COCO).write_text(json.dumps(found))


def replace(file, old, new, count=1):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, count))


def first_box(found, **values):
    found["annotations"][0].update(values)


def corner(root, name, value):
    """Give the first corner of that name in XML another value."""
    file = root / XML
    before, _, after = file.read_text().partition(f"<{name}>")
    file.write_text(f"{before}<{name}>{value}{after[after.index('<') :]}")


def line(root, text):
    """Make this the first line of a label file."""
    with (root / TXT).open("r+") as file:
        rest = file.readlines()[1:]
        file.seek(0)
        file.truncate()
        file.writelines([f"{text}\n", *rest])


def first_shares(values):
    def change(found):
        for each in found["annotations"]:
            each["bbox"] = [value / 128 for value in each["bbox"]]

    return change


def corners(found):
    for each in found["annotations"]:
        x, y, width, height = each["bbox"]
        each["bbox"] = [x, y, x + width, y + height]


def everywhere(root, suffix, old, new):
    """Replace a pattern in all annotation files."""
    for file in root.rglob(f"*{suffix}"):
        file.write_text(re.sub(old, new, file.read_text()))


LABEL_STUDIO = [
    {
        "data": {"image": "canvas000.png"},
        "annotations": [{"result": [{"value": {"x": 1, "y": 1, "rectanglelabels": ["a"]}}]}],
    }
]
# format, what is done to the set, what the sentence says, pictures left with --skip-bad (or None
# where the set is damaged as a whole)
FAULTS = {
    "COCO: missing picture": (
        "COCO",
        lambda root: (root / "images/canvas003.png").unlink(),
        "canvas003.png is named in annotations/instances.json and does not exist",
        N - 1,
    ),
    "COCO: box outside": (
        "COCO",
        lambda root: edit_coco(root, lambda f: first_box(f, bbox=[200, 10, 20, 20])),
        "canvas000.png has a box outside its 128×128 pixels (200, 10, 220, 30",
        N - 1,
    ),
    "COCO: NaN": (
        "COCO",
        lambda root: edit_coco(root, lambda f: first_box(f, bbox=[float("nan"), 1, 2, 3])),
        "canvas000.png nan is no finite number",
        N - 1,
    ),
    "COCO: text for a number": (
        "COCO",
        lambda root: edit_coco(root, lambda f: first_box(f, bbox=["a", 1, 2, 3])),
        "'a' is no number",
        N - 1,
    ),
    "COCO: three numbers": (
        "COCO",
        lambda root: edit_coco(root, lambda f: first_box(f, bbox=[1, 2, 3])),
        "it has no bbox of four numbers",
        N - 1,
    ),
    "COCO: unknown class": (
        "COCO",
        lambda root: edit_coco(root, lambda f: first_box(f, category_id=9)),
        "its class 9 is none of the categories",
        N - 1,
    ),
    "COCO: unknown image": (
        "COCO",
        lambda root: edit_coco(root, lambda f: first_box(f, image_id=999)),
        "is of the image 999, which the file does not list",
        N,
    ),
    "COCO: negative width": (
        "COCO",
        lambda root: edit_coco(root, lambda f: first_box(f, bbox=[50, 10, -20, 20])),
        "has a box with its corners swapped (50, 10, 30, 30",
        N - 1,
    ),
    "COCO: one picture twice": (
        "COCO",
        lambda root: edit_coco(root, lambda f: f["images"][1].update(file_name="canvas000.png")),
        "canvas000.png is annotated twice in annotations/instances.json",
        N - 2,
    ),
    "COCO: shares for pixels": (
        "COCO",
        lambda root: edit_coco(root, first_shares(None)),
        "they are shares of the picture's sides, and COCO has pixels",
        None,
    ),
    "COCO: no box at all": (
        "COCO",
        lambda root: edit_coco(root, lambda f: f["annotations"].clear()),
        "instances.json has no boxes: its 'annotations' list is empty",
        None,
    ),
    "COCO: cut off in its first list": (
        "COCO",
        lambda root: (root / COCO).write_text((root / COCO).read_text()[:400]),
        "annotations/instances.json is no JSON",
        None,
    ),
    "COCO: an empty list": (
        "COCO",
        lambda root: (root / COCO).write_text("[]"),
        "instances.json is not of COCO's form",
        None,
    ),
    "COCO: no annotations": (
        "COCO",
        lambda root: edit_coco(root, lambda f: f.pop("annotations")),
        "it lacks annotations",
        None,
    ),
    "COCO: corners": (
        "COCO",
        lambda root: edit_coco(root, corners),
        "boxes of annotations/instances.json reach beyond the border, and none does if they are",
        None,
    ),
    "COCO: one id of two pictures": (
        "COCO",
        lambda root: edit_coco(root, lambda f: f["images"][1].update(id=0)),
        "canvas000.png has the id 0, as images/canvas001.png has",
        N - 2,
    ),
    "COCO: a polygon of two numbers": (
        "COCO",
        lambda root: edit_coco(root, lambda f: first_box(f, bbox=None, segmentation=[[1, 2]])),
        "its polygon is no list of three or more pairs of numbers",
        N - 1,
    ),
    "Label Studio's own JSON": (
        "COCO",
        lambda root: (root / COCO).write_text(json.dumps(LABEL_STUDIO)),
        "Label Studio's own JSON, which is not read: export COCO or YOLO",
        None,
    ),
    "VOC: no objects": (
        "VOC",
        lambda root: everywhere(root, ".xml", r"<object>.*</object>", ""),
        "and all others hold no object",
        None,
    ),
    "VOC: turned boxes": (
        "VOC",
        lambda root: everywhere(root, ".xml", "bndbox", "robndbox"),
        "hold turned boxes alone (robndbox)",
        None,
    ),
    "YOLO: names for numbers": (
        "YOLO",
        lambda root: everywhere(root, ".txt", r"(?m)^\d+ ", "cat "),
        "canvas000.txt names a class, 'cat', where YOLO has its number",
        None,
    ),
    "YOLO: two pictures of one file": (
        "YOLO",
        lambda root: shutil.copy(root / "images/canvas003.png", root / "images/canvas003.bmp"),
        "canvas003.png and images/canvas003.bmp have one label file, labels/canvas003.txt",
        N - 1,
    ),
    "COCO: cut off": (
        "COCO",
        lambda root: (root / COCO).write_text((root / COCO).read_text()[:-20]),
        "is no JSON",
        None,
    ),
    "COCO: size of another picture": (
        "COCO",
        lambda root: edit_coco(root, lambda f: f["images"][0].update(width=640, height=480)),
        "canvas000.png is of 128×128 pixels, and 640×480 in",
        N - 1,
    ),
    "COCO: picture cut off": (
        "COCO",
        lambda root: (root / "images/canvas003.png").write_bytes(b"\x89PNG"),
        "images/canvas003.png",
        N - 1,
    ),
    "VOC: missing picture": (
        "VOC",
        lambda root: (root / "JPEGImages/canvas003.png").unlink(),
        "Annotations/canvas003.xml its picture does not exist",
        N - 1,
    ),
    "VOC: xmin above xmax": (
        "VOC",
        lambda root: corner(root, "xmin", 127) or corner(root, "xmax", 20),
        "has a box with its corners swapped",
        N - 1,
    ),
    "VOC: NaN": ("VOC", lambda root: corner(root, "ymax", "nan"), "nan is no finite number", N - 1),
    "VOC: corner without a number": (
        "VOC",
        lambda root: corner(root, "ymin", ""),
        "'' is no number",
        N - 1,
    ),
    "VOC: box without class": (
        "VOC",
        lambda root: (
            replace(root / XML, "<name>", "<title>") or replace(root / XML, "</name>", "</title>")
        ),
        "a box has no class",
        N - 1,
    ),
    "VOC: cut off": (
        "VOC",
        lambda root: (root / XML).write_text((root / XML).read_text()[:-20]),
        "Annotations/canvas003.xml",
        N - 1,
    ),
    "VOC: entities": (
        "VOC",
        lambda root: (root / XML).write_text(
            '<!DOCTYPE a [<!ENTITY x "1">]>' + (root / XML).read_text()
        ),
        "it declares entities, which are not read",
        N - 1,
    ),
    "VOC: two files of one picture": (
        "VOC",
        lambda root: (root / "more").mkdir() or shutil.copy(root / XML, root / "more"),
        "is annotated in Annotations/canvas003.xml and in more/canvas003.xml",
        N - 1,
    ),
    "YOLO: pixels for shares": (
        "YOLO",
        lambda root: line(root, "0 64 64 20 20"),
        "64 is no share of the picture's side, from 0 to 1 (labels/canvas003.txt, line 1)",
        N - 1,
    ),
    "YOLO: unknown class": (
        "YOLO",
        lambda root: line(root, "3 0.5 0.5 0.2 0.2"),
        "its class 3 is none of 0 to 2",
        N - 1,
    ),
    "YOLO: name for a class": (
        "YOLO",
        lambda root: line(root, "cat 0.5 0.5 0.2 0.2"),
        "'cat' is no number",
        N - 1,
    ),
    "YOLO: NaN": (
        "YOLO",
        lambda root: line(root, "0 nan 0.5 0.2 0.2"),
        "nan is no finite number",
        N - 1,
    ),
    "YOLO: six numbers": (
        "YOLO",
        lambda root: line(root, "0 0.5 0.5 0.2 0.2 0.9"),
        "6 numbers are neither a box nor a polygon",
        N - 1,
    ),
    "YOLO: missing picture": (
        "YOLO",
        lambda root: (root / "images/canvas003.png").unlink(),
        "labels/canvas003.txt its picture does not exist",
        N - 1,
    ),
    "YOLO: nothing names the classes": (
        "YOLO",
        lambda root: (root / "data.yaml").unlink(),
        "nothing names the classes: write their names, in order, into classes.txt",
        None,
    ),
    "YOLO: names that are none": (
        "YOLO",
        lambda root: (root / "data.yaml").write_text("train: images\nnames: {1: a, 5: b}\n"),
        "'names' is neither a list of names nor 0: NAME, 1: NAME",
        None,
    ),
    "YOLO: damaged data.yaml": (
        "YOLO",
        lambda root: (root / "data.yaml").write_text("train: images\nnames: [a, b\n"),
        "is no YAML",
        None,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_in_a_sentence_and_can_be_left_out(fault, copy_of):
    name, damage, said, left = FAULTS[fault]
    root = copy_of(name)
    damage(root)
    with pytest.raises(DataError) as refused:
        load_dataset(str(root))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    if left is None:
        with pytest.raises(DataError):
            load_dataset(str(root), skip_bad=True)
    else:
        data = load_dataset(str(root), skip_bad=True)
        assert len(data.pool) + len(data.test) == left
        assert data.bad
        assert noted(data.notes, "left out what is wrong")


@pytest.mark.parametrize("flags", [(), ("--task", "detect")])
def test_a_broken_file_of_one_split_is_named(flags, tmp_path, monkeypatch, capsys):
    data = digits_on_canvas(N, classes=3, seed=4)
    splits = ["train"] * 14 + ["valid"] * 5 + ["test"] * 5
    file = write_coco(data, tmp_path / "set", splits) / "valid/_annotations.coco.json"
    file.write_text(file.read_text()[:300])
    code, out, _ = call(monkeypatch, capsys, "check", str(tmp_path / "set"), *flags)
    assert (code, f"{file} is no JSON: " in out) == (3, True)


@pytest.mark.parametrize("declared", [' encoding="utf-16"', ' encoding="utf-8"', None])
def test_annotations_in_utf_16_are_read(declared, copy_of):
    for name, suffix in (("VOC", ".xml"), ("COCO", ".json"), ("YOLO", ".txt")):
        root = copy_of(name)
        plain = load_dataset(str(root))
        for file in root.rglob(f"*{suffix}"):
            start = f'<?xml version="1.0"{declared}?>' if declared and name == "VOC" else ""
            file.write_text(start + file.read_text(), encoding="utf-16")
        found = load_dataset(str(root))
        assert torch.equal(found.pool.labels, plain.pool.labels)


def test_polygons_and_turned_boxes_give_the_upright_box_around(copy_of):
    root = copy_of("COCO")

    def change(found):
        found["annotations"][0].update(bbox=[40, 50, 20, 10], attributes={"rotation": 90})
        polygon = [20, 30, 60, 30, 60, 40]
        found["annotations"].append(
            {"id": 998, "image_id": 0, "category_id": 1, "segmentation": [polygon]}
        )

    edit_coco(root, change)
    data = load_dataset(str(root))
    rows = torch.cat([part.labels.flatten(0, 1) for part in (data.pool, data.test)])[:, 1:]
    for box in ([45, 45, 55, 65], [20, 30, 60, 40]):
        assert (rows - torch.tensor(box)).abs().amax(1).min() < 1e-3
    assert noted(data.notes, "1 boxes in annotations/instances.json are turned")
    assert noted(data.notes, "1 annotations in annotations/instances.json have no bbox")


def test_heads_that_contradict_themselves_are_told(copy_of):
    coco, yolo = copy_of("COCO"), copy_of("YOLO")
    edit_coco(coco, lambda f: f["categories"][1].update(name="0"))
    replace(yolo / "data.yaml", "names:", "nc: 7\nnames:")
    said = "instances.json has several categories of one name: 0"
    assert noted(load_dataset(str(coco)).notes, said)
    assert noted(load_dataset(str(yolo)).notes, "data.yaml: nc is 7, and it names 3 classes")


def test_turned_boxes_of_cvat_are_told(tmp_path):
    Image.new("L", (64, 64), 90).save(tmp_path / "a.png")
    turned = ANNOTATIONS["cvat.xml"].replace('ybr="40"', 'ybr="40" rotation="90"')
    (tmp_path / "annotations.xml").write_text(turned)
    layout = find_boxes(list_files(tmp_path))
    assert layout.entries[0].boxes[0][1:] == pytest.approx((-3.25, 6.75, 34.75, 35.25))
    assert noted(layout.notes, "1 boxes are turned")


@pytest.mark.parametrize("command", [("check",), ("run", "--dry-run", "--dataset")])
def test_boxes_of_a_set_of_classes_are_refused(command, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, *command, "digits", "--task", "detect")
    assert code == 2
    assert "--dataset digits has classes, no boxes: leave --task detect out" in err


def test_the_command_returns_3(copy_of, monkeypatch, capsys):
    root = copy_of("VOC")
    corner(root, "ymax", "nan")
    code, out, _ = call(monkeypatch, capsys, "check", str(root))
    assert (code, "nan is no finite number" in out) == (3, True)


def test_boxes_that_reach_beyond_the_border_are_cut_and_counted(copy_of):
    root = copy_of("COCO")
    edit_coco(root, lambda f: first_box(f, bbox=[-10, 100, 30, 60]))
    data = load_dataset(str(root))
    assert noted(data.notes, "1 boxes reach beyond the border and are cut there")
    rows = torch.cat([part.labels.flatten(0, 1) for part in (data.pool, data.test)])
    assert [0, 100, 20, 128] in rows[:, 1:].tolist()


def test_boxes_without_extent_and_doubled_ones_are_left_out_and_counted(copy_of):
    root = copy_of("COCO")

    def change(found):
        found["annotations"].append({**found["annotations"][3], "id": 998})
        found["annotations"].append({**found["annotations"][3], "id": 999, "bbox": [9, 9, 0, 5]})
        found["annotations"].append({**found["annotations"][3], "id": 1000, "iscrowd": 1})
        found["categories"].append({"id": 7, "name": "unused"})

    n = len(json.loads((root / COCO).read_text())["annotations"])
    edit_coco(root, change)
    data = load_dataset(str(root))
    assert int(data.pool.counts().sum() + data.test.counts().sum()) == n
    for said in ("1 boxes stand twice", "1 boxes without width", "boxes of crowds"):
        assert noted(data.notes, said)
    assert noted(data.notes, "classes without boxes, left out: unused")
    assert "unused" not in data.pool.classes


def test_pictures_without_annotation_are_negatives_or_left_out(copy_of):
    yolo, voc, coco = map(copy_of, ("YOLO", "VOC", "COCO"))
    (yolo / TXT).unlink()
    (voc / XML).unlink()
    edit_coco(coco, lambda f: f["images"].append({"id": 99, "file_name": "empty.png"}))
    Image.new("L", (128, 128), 90).save(coco / "images/empty.png")
    found = {root: load_dataset(str(root)) for root in (yolo, voc, coco)}
    assert noted(found[yolo].notes, "1 pictures without a label file count as pictures without")
    assert noted(found[voc].notes, "left out pictures without an XML file (1)")
    first = [torch.cat([d.pool.labels[:, 0, 0], d.test.labels[:, 0, 0]]) for d in found.values()]
    assert [int((each == NO_BOX).sum()) for each in first] == [1, 0, 1]
    assert [len(d.pool) + len(d.test) for d in found.values()] == [N, N - 1, N + 1]


def test_a_picture_turned_by_exif_is_told(copy_of):
    root = copy_of("COCO")
    file = root / "images/canvas000.png"
    picture = Image.open(file).resize((128, 64))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(file, exif=exif)
    edit_coco(root, lambda f: f["images"][0].update(width=128, height=64))
    with pytest.raises(DataError, match="of 64×128 pixels, turned by its EXIF orientation, and"):
        load_dataset(str(root))


def test_a_listed_picture_may_not_be_of_two_splits(copy_of):
    root = copy_of("VOC")
    (root / "ImageSets/Main").mkdir(parents=True)
    for split in ("train", "test"):
        (root / f"ImageSets/Main/{split}.txt").write_text("canvas001\ncanvas002\n")
    with pytest.raises(DataError, match=r"canvas001\.png is in train and in test"):
        load_dataset(str(root))


def test_a_class_that_cannot_be_learnt_is_told_or_dropped(copy_of):
    root = copy_of("COCO")

    def change(found):
        found["categories"].append({"id": 7, "name": "rare"})
        found["annotations"][0]["category_id"] = 7

    edit_coco(root, change)
    with pytest.raises(DataError, match="class 'rare' is on 1 to learn from and 0 to test on"):
        load_dataset(str(root))
    data = load_dataset(str(root), drop_small_classes=True)
    assert data.pool.classes == ("0", "1", "2")
    assert noted(data.notes, "boxes of small classes are dropped (1): class 'rare'")
    assert len(data.pool) + len(data.test) == N


def test_task_says_what_is_learnt(copy_of, tmp_path):
    root = copy_of("YOLO")
    with pytest.raises(DataError):
        load_dataset(str(root), reading=ReadingFlags(task="classify"))
    shutil.rmtree(root / "labels")
    with pytest.raises(DataError, match="holds no boxes that are read"):
        load_dataset(str(root), reading=ReadingFlags(task="detect"))


ANNOTATIONS = {
    "set.json": json.dumps(coco_of(digits_on_canvas(2, side=64, classes=2), ["a.png", "b.png"])),
    "a.xml": "<annotation><size><width>64</width><height>64</height></size><object><name>x</name>"
    "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>"
    "</annotation>",
    "cvat.xml": '<annotations><image id="0" name="a.png" width="64" height="64"><box label="x" '
    'xtl="1.5" ytl="2" xbr="30" ybr="40"/><polygon label="y" points="1,2;30,4.5;9,9"/></image>'
    "</annotations>",
    "a.txt": "0 0.5 0.5 0.25 0.5\n1 0.25 0.25 0.125 0.2\n",
    "data.yaml": "path: .\ntrain: a.png\nnames:\n  0: cat\n  1: dog\n",
}


@st.composite
def damaged(draw):
    """One of the annotation files, damaged, and those that it takes to be read."""
    name = draw(st.sampled_from([*ANNOTATIONS]))
    unit = st.text("{}[]<>/\"':,.-0129eEnN&!\0é\n ", max_size=8) | st.just("")
    files = {name: draw(mutated(st.just(ANNOTATIONS[name]), unit))}
    if name in ("a.txt", "data.yaml"):
        files = {"a.txt": ANNOTATIONS["a.txt"], "data.yaml": ANNOTATIONS["data.yaml"]} | files
    return files


@pytest.mark.slow
@given(files=damaged())
@settings(max_examples=600, deadline=None)
def test_damaged_annotations_are_read_or_refused(files):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for k, name in enumerate("ab"):
            Image.new("L", (64, 64), 90 + k).save(root / f"{name}.png")
        for name, text in files.items():
            (root / name).write_text(text, encoding="utf-8")
        said, raw = "", None
        try:
            if layout := find_boxes(list_files(root)):
                raw = read_boxes(root, layout, 64, skip_bad=True, flags=ReadingFlags())
        except DataError as error:
            said = str(error)
    assert "\n" not in said
    if raw is None:
        return
    boxes = raw.boxes[raw.boxes[..., 0] != NO_BOX]
    assert (boxes[:, 0] < len(raw.classes)).all()
    assert (boxes[:, 1:] >= 0).all()
    assert (boxes[:, 1:] <= 64).all()
    assert (boxes[:, 3:] > boxes[:, 1:3]).all()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.xml",
            "<!DOCTYPE a [<!ENTITY b '" + "c" * 99 + "'>]><annotation>&b;<bndbox/></annotation>",
        ),
        ("set.json", '{"images": [], "annotations": [], "categories": [], "bbox":' + "[" * 200_000),
        ("data.yaml", "names: " + "[" * 20_000 + "\ntrain: a\n"),
        ("data.yaml", "train: a\na: &a [x, x]\nb: &b [*a, *a]\nnames: [*b, *b]\n"),
    ],
    ids=["entities", "nested JSON", "nested YAML", "YAML of references"],
)
def test_files_that_would_grow_or_nest_without_end_are_refused(name, text, tmp_path):
    Image.new("L", (64, 64), 90).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(ANNOTATIONS["a.txt"])
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as refused:
        load_dataset(str(tmp_path))
    assert "\n" not in str(refused.value)
