"""Layouts that a fourth outside tester found read wrongly or refused without a way out, and kin.

The entries have the form of `test_layouts.LAYOUTS`.
"""

import json

import pytest
from test_layouts import AB, build, each, numbered, read_or_refused, rows
from test_outside_layouts_more import text

from augment.data.boxes.voc import read_voc
from augment.data.layouts.listing import list_files
from augment.data.layouts.name_groups import clear_groups

SPLITS = {"train": 6, "test": 4}
NAMED = "the folders, each named after a split and a class"
KINDS = ["scratch", "dent"]
FOLDERS = {
    "a split and a letter in one name": dict(
        files=[
            f"{s}{k}/{k}{s}{i}.jpg" for s, n in SPLITS.items() for k in "AB" for i in range(n // 2)
        ],
        classes={"A": 5, "B": 5},
        splits=SPLITS,
        said=f"2 classes from {NAMED}, splits test, train from folders",
    ),
    "a class and a split in one name": dict(
        files=[
            f"set/{c}_{s}/{i}.jpg" for s in ("train", "val", "test") for c in AB for i in range(2)
        ],
        classes={"leaf": 6, "rust": 6},
        splits={"train": 4, "val": 4, "test": 4},
        said=NAMED,
    ),
    "splits that are numbered are no classes": dict(
        files=[f"{s}{k}/{i}.jpg" for s in SPLITS for k in (1, 2) for i in range(3)],
        refused="nothing tells the classes",
    ),
    "a class without a test folder": dict(
        files=[f"{name}/{i}.jpg" for name in ("train_a", "test_a", "train_b") for i in range(3)],
        refused="named after parts of the set, and nothing tells the classes",
    ),
    "versions that are split": dict(
        files=[f"{v}_{s}/{i}.jpg" for v in ("raw", "cropped") for s in SPLITS for i in range(3)],
        classes={f"{v}_{s}": 3 for v in ("raw", "cropped") for s in SPLITS},
    ),
    "replicates of two conditions": dict(
        files=[f"exp/{c}_rep{r}/{i}.tif" for c in ("WT", "KO") for r in (1, 2, 3) for i in "12"],
        refused=r"have a word each that can be the class \(ko, wt\): pass --class-level 2 for",
    ),
    "by the level that is advised": dict(
        files=[f"exp/{c}_rep{r}/{i}.tif" for c in ("WT", "KO") for r in (1, 2, 3) for i in "12"],
        flags=dict(class_level=2),
        classes={"wt": 6, "ko": 6},
        groups=6,
    ),
    "kinds of one class alone": dict(
        files=numbered("line/OK/{i}.bmp", 6) + each("line/NOK/{c}/{c}{i}.bmp", 3, c=KINDS),
        classes={"OK": 6, "NOK": 6},
        said="2 classes from the folders, dent, scratch below them as kinds of a class",
    ),
    "they are recordings, as the user says": dict(
        files=numbered("OK/{i}.bmp", 6) + each("NOK/{c}/{c}{i}.bmp", 3, c=KINDS),
        flags=dict(group_by="folder"),
        classes={"OK": 6, "NOK": 6},
        groups=3,
    ),
    "days below one class alone": dict(
        files=numbered("OK/{i}.bmp", 6) + each("NOK/2023-05-0{c}/{i}.bmp", 3, c=[1, 2]),
        classes={"OK": 6, "NOK": 6},
        groups=2,
    ),
    "sample images beside the set": dict(
        files=[f"data/{s}/{c}/{i}.jpg" for s in SPLITS for c in AB for i in range(3)]
        + numbered("sample_images/{i}.jpg", 2),
        refused="data/ holds train and test folders and sample_images/ beside it does not: give "
        "the path of one.*given alone, data is read with the classes leaf, rust$",
    ),
}

RUNS = {"train": ["0906-A", "0906-B"], "test": ["0815-C"]}
FRAMES = {s: [f"{r}/f{i}.png" for r in RUNS[s] for i in range(4)] for s in RUNS}
PLOTS = [(f"P{p:03d}", "xy"[p % 2], AB[p // 2 % 2]) for p in range(8)]
SCANS = [(f"s{i // 4}", f"im{i:02d}x", "LR"[i % 2], f"grade {i // 8}") for i in range(24)]
FEATURES = [{"properties": {"tile": f"t{i}.tif", "label": AB[i % 2]}} for i in range(8)]
LEVELS = {"train": 6, "test": 3}
FRUIT = ["Fruit/Apple/Gala", "Fruit/Apple/Fuji", "Fruit/Banana"]
LISTED = {
    f"shop/{s}.txt": text(
        *(f"{s}/{f}/{i}.jpg, {k}, {k // 2}" for k, f in enumerate(FRUIT) for i in range(n))
    )
    for s, n in LEVELS.items()
}
JSON = ["0", "\"{'a': 1, 'b': []}\""]
CLASSES = rows(
    "Name (str),ID (int),Coarse ID (int),Picture",
    *((f.rpartition("/")[2], k, k // 2, f"/icons/{k}.jpg") for k, f in enumerate(FRUIT)),
)
SHELVES = [
    f"shop/{line.partition(',')[0]}" for each in LISTED.values() for line in each.split("\n")
]


def dataloop(i, kind="class"):
    """The file of one image."""
    marks = [{"type": kind, "label": AB[i % 2], "coordinates": None}]
    return json.dumps(dict(filename=f"/{i}.jpg", metadata={}, annotations=marks))


TABLES = {
    "a table of test images without labels, of the same names": dict(
        files=numbered("train/Image_{i}.jpg", 6) + numbered("test/Image_{i}.jpg", 4),
        tables={
            "Training_set.csv": rows(
                "filename,label", *((f"Image_{i}.jpg", AB[i % 2]) for i in range(6))
            ),
            "Testing_set.csv": rows("filename", *((f"Image_{i}.jpg",) for i in range(4))),
        },
        classes={"leaf": 3, "rust": 3},
        left=("images that Training_set.csv does not name", 4),
    ),
    "what a test table alone has for a label": dict(
        files=numbered("a-training/{i}.png", 30) + numbered("a-test/9{i}.png", 4),
        tables={
            "a-training.csv": rows("id,months,male", *((i, 9 + i, i % 2 == 0) for i in range(30))),
            "a-test.csv": rows("Case ID,Sex", *((f"9{i}", "MF"[i % 2]) for i in range(4))),
        },
        refused="--labels a-training.csv --file-column id --label-column with one of male .*not "
        "the numbers of months",
    ),
    "a metadata.csv of tags beside the table with labels": dict(
        files=[f"images/{s}/{name}.png" for s, name, *_ in SCANS],
        tables={
            "breast.csv": rows("study_id,image_id,side,breast_x", *SCANS),
            "metadata.csv": rows(
                "UID,Rows", *((name, 900 + i) for i, (_, name, *_) in enumerate(SCANS))
            ),
        },
        refused="breast.csv has no column that is surely the label, .*--label-column with one of "
        "side, breast_x$",
    ),
    "a metadata.csv of ages beside a table called labels": dict(
        files=numbered("images/{i}.png", 6),
        tables={
            "labels.csv": rows("image,label", *((f"{i}.png", AB[i % 2]) for i in range(6))),
            "metadata.csv": rows("file_name,age", *((f"images/{i}.png", 40 + i) for i in range(6))),
        },
        classes={"leaf": 3, "rust": 3},
        said="from column label of labels.csv",
    ),
    "two levels of classes in lists": dict(
        files=SHELVES + numbered("shop/icons/{i}.jpg", 2) + numbered("samples/{i}.jpg", 2),
        tables=LISTED,
        refused="train.txt has no column that is surely the label.*--label-column with one of 2, 3",
    ),
    "the finer of these": dict(
        files=SHELVES + numbered("shop/icons/{i}.jpg", 2),
        tables=LISTED,
        flags=dict(labels="shop/train.txt", label_column="2"),
        classes={"0": 9, "1": 9, "2": 9},
        splits={"train": 18, "test": 9},
    ),
    "with the names of a table of classes": dict(
        files=SHELVES,
        tables=LISTED | {"shop/classes.csv": CLASSES},
        flags=dict(labels="shop/train.txt", label_column="2"),
        classes={"Gala": 9, "Fuji": 9, "Banana": 9},
        splits={"train": 18, "test": 9},
        said="with the names of shop/classes.csv",
    ),
    "a table without labels that names each image in each fold": dict(
        files=each("{c}/{c}{i}.png", 6, c=AB),
        tables={
            "Folds.csv": rows(
                "fold,grp,filename",
                *((f, "train", f"{c}/{c}{i}.png") for c in AB for i in range(6) for f in (1, 2)),
                *((1, "test", f"{c}/{c}{i}.png") for c in AB for i in range(2)),
            )
        },
        classes={"leaf": 6, "rust": 6},
        note="Folds.csv names leaf/leaf0.png twice",
    ),
    "a text table with a head and commas in its cells": dict(
        files=[f"{s}/{s}{i}.png" for s, n in (("train", 12), ("test", 6)) for i in range(n)],
        tables={
            f"{s}.txt": text(
                "image,handwritten note,forged,regions",
                *(f"{s}{i}.png,{i % 3},{i % 2},{JSON[i % 2]}" for i in range(n)),
            )
            for s, n in (("train", 12), ("test", 6))
        },
        refused="--label-column with one of 'handwritten note', forged",
    ),
    "JSON in the cells of a tool's export": dict(
        files=numbered("data/a{i}.jpg", 8),
        tables={
            "data.json": json.dumps(
                [
                    {"externalId": f"a{i}.jpg", "labels": [{"categories": [{"name": AB[i % 2]}]}]}
                    for i in range(8)
                ]
            )
        },
        refused=r"has JSON in its cells \(column labels\), where the label is not looked for",
    ),
    "a folder more below one class": dict(
        files=numbered("Tartar/({i}).jpg", 6)
        + [f"Data caries/Data caries/caries {k}/preview/c{i}.jpg" for k in "a" for i in range(6)]
        + [f"Ulcer/Ulcer/ulcer set/preview/u{i}.jpg" for i in range(6)],
        classes={"Tartar": 6, "Data caries": 6, "Ulcer": 6},
    ),
    "a JSON of labels in the folder of each split, over its recordings": dict(
        files=[f"al/{s}/{name}" for s in RUNS for name in FRAMES[s]],
        tables={
            f"al/{s}/{s}.json": json.dumps({name: i % 2 for i, name in enumerate(FRAMES[s])})
            for s in RUNS
        },
        classes={"0": 6, "1": 6},
        splits={"train": 8, "test": 4},
    ),
    "the variety of plots, and what was done to them": dict(
        files=[f"05-11/{plot}_{i}.jpg" for plot, *_ in PLOTS for i in (1, 2)],
        tables={"plan.csv": rows("Plot,Variety,Treatment", *PLOTS)},
        refused="plan.csv.*--label-column with one of Variety, Treatment",
    ),
    "the variety of plots alone": dict(
        files=[f"05-11/{plot}_{i}.jpg" for plot, *_ in PLOTS for i in (1, 2)],
        tables={
            "plan.csv": rows("Plot,Variety,Height", *((*p[:2], n) for n, p in enumerate(PLOTS)))
        },
        classes={"x": 8, "y": 8},
        groups=8,
    ),
    "GeoJSON": dict(
        files=numbered("tiles/t{i}.tif", 8),
        tables={"map.geojson": json.dumps({"type": "FeatureCollection", "features": FEATURES})},
        classes={"leaf": 4, "rust": 4},
        said="column label of map.geojson",
    ),
    "GeoJSON without properties": dict(
        files=numbered("tiles/t{i}.tif", 8),
        tables={"map.geojson": json.dumps({"features": [{"geometry": {}}]})},
        refused="map.geojson holds no table",
    ),
    "Dataloop": dict(
        files=numbered("items/{i}.jpg", 8),
        tables={f"json/{i}.json": dataloop(i) for i in range(8)},
        classes={"leaf": 4, "rust": 4},
    ),
    "Dataloop without classes": dict(
        files=numbered("items/{i}.jpg", 8),
        tables={f"json/{i}.json": dataloop(i, "box") for i in range(8)},
        refused="each image has a file like json/0.json, which is not read",
    ),
    "names of classes in class_list.txt": dict(
        files=numbered("train_set/t{i}.jpg", 8) + numbered("val_set/v{i}.jpg", 4),
        tables={
            f"{s}_labels.csv": rows(
                "img_name,label", *((f"{s[0]}{i}.jpg", i % 2) for i in range(n))
            )
            for s, n in (("train", 8), ("val", 4))
        }
        | {"class_list.txt": text("0 leaf", "1 rust")},
        classes={"leaf": 6, "rust": 6},
        splits={"train": 8, "val": 4},
        said="with the names of class_list.txt",
    ),
}
ALL = FOLDERS | TABLES


@pytest.mark.parametrize("name", ALL)
def test_layout_of_the_fourth_tester(tmp_path, name):
    read_or_refused(tmp_path, ALL[name])


@pytest.mark.parametrize("form", ["{v}_frame{i}", "{v} - slice {i:03d}", "{v}-Frame_{i}"])
def test_frames_of_one_recording_are_a_group(form):
    videos = [f"{mark}+{k}" for k in range(3) for mark in "ab"]
    names = [(form.format(v=v, i=30 * i), v) for v in videos for i in range(3)]
    paths = [f"{AB['ab'.index(v[0])]}/{name}.jpg" for name, v in names]
    groups = clear_groups(paths, [path.partition("/")[0] for path in paths])
    assert len({*zip(groups, (v for _, v in names), strict=True)}) == len(set(groups)) == 6


@pytest.mark.parametrize("form", ["frame{i}", "{c}_frame{i}", "frame_{i}_{c}"])
def test_frames_of_no_recording_are_none(form):
    paths = [f"{c}/{form.format(c=c, i=i)}.jpg" for c in AB for i in range(6)]
    assert not any(clear_groups(paths, [path.partition("/")[0] for path in paths]))


def test_an_xml_file_is_of_the_image_in_the_folder_of_its_name(tmp_path):
    box = "<xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax>"
    xml = f"<annotation><object><name>short</name><bndbox>{box}</bndbox></object></annotation>"
    images = each("set/images/Short/{c}.jpg", 1, c="ab")
    build(tmp_path, images + each("set/turned/Short_turned/{c}.jpg", 1, c="ab"))
    build(tmp_path, tables={f"set/Annotations/Short/{c}.xml": xml for c in "ab"})
    layout = read_voc(list_files(tmp_path))
    assert [entry.name for entry in layout.entries] == images
    assert not layout.bad
