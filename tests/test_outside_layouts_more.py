"""Layouts that a second outside tester found read wrongly or refused without a way out, and kin.

The entries have the form of `test_layouts.LAYOUTS`.
"""

import json

import pytest
from test_folder import put
from test_layouts import AB, build, each, numbered, read_or_refused

from augment.data.datasets import load_dataset
from augment.data.layouts.reading import read_layout
from augment.data.layouts.reading_flags import ReadingFlags
from augment.errors import DataError


def text(*lines):
    """The lines of a table."""
    return "\n".join(lines)


CASES = each("{k} cases/{k} case ({i}).jpg", 4, k=["Benign", "Normal"])
UIDS = [f"1.3.6.1.4.1.9590.{n}" for n in range(8)]
SLIDES = [f"TCGA-AA-{3500 + n}-01Z-00-DX1.{n}AF" for n in range(6)]
TILES = each("tiles/{s}/tile_{i}.png", 2, s=SLIDES)
PATIENTS = text("PATIENT,MSI", *(f"TCGA-AA-{3500 + n},{('high', 'low')[n % 2]}" for n in range(6)))
EXPERIMENTS = ["HEPG2-01", "HUVEC-02"]
WELLS = [
    f"{e}/Plate{p}/B0{w}_s{s}.png"
    for e in EXPERIMENTS
    for p in (1, 2)
    for w in (2, 3)
    for s in "12"
]
SIRNA = text(
    "id_code,experiment,plate,sirna",
    *(f"{e}_{p}_B0{w},{e},{p},s{w}" for e in EXPERIMENTS for p in (1, 2) for w in range(4)),
)
SPECIES = ["0005_Rana", "0291_Bellis"]
LAND = ["farm/grass/meadow", "farm/wood/forest", "trade/shops"]


def of_folders(train, *others):
    """Images of two classes in folders of splits: six each to learn from, two in the others."""
    images = each(f"{train}/{{c}}/{{i}}.jpg", 6, c=AB)
    return images + [
        f"{folder}/{c}/{folder}{i}.jpg" for folder in others for c in AB for i in (1, 2)
    ]


FOLDERS = {
    "test images among class folders that are called alike": dict(
        files=[*CASES, *numbered("Test cases/{i:03d}.jpg", 5)],
        classes={"Benign cases": 4, "Normal cases": 4},
        left=("images of Test cases/, taken for unlabelled (a class by --class-level 1)", 5),
    ),
    "they are a class": dict(
        files=[*CASES, *numbered("Test cases/{i:03d}.jpg", 5)],
        flags=dict(class_level=1),
        classes={"Benign cases": 4, "Normal cases": 4, "Test cases": 5},
    ),
    "test and control are two classes": dict(
        files=each("{k} group/{k}{i}.jpg", 4, k=["control", "test"]),
        classes={"control group": 4, "test group": 4},
    ),
    "unlabelled images that are called alike": dict(
        files=each("{k}_images/{k}{i}.jpg", 4, k=["cat", "dog", "unlabeled"]),
        classes={"cat_images": 4, "dog_images": 4},
        left=("images of unlabeled_images/, taken for unlabelled (a class by --class-level 1)", 4),
    ),
    "two test folders with letters": dict(
        files=of_folders("Train", "TestA", "TestB"),
        classes=dict.fromkeys(AB, 10),
        splits={"train": 12, "test": 8},
        said="splits test (TestA, TestB), train from folders",
    ),
    "a small training part": dict(
        files=of_folders("train_mini", "val"),
        classes=dict.fromkeys(AB, 8),
        splits={"train": 12, "val": 4},
        said="splits train, val from folders",
    ),
    "parts of one name beside train": dict(
        files=of_folders("train", "val_clean", "test_clean"),
        classes=dict.fromkeys(AB, 10),
        splits={"train": 12, "val": 4, "test": 4},
    ),
    "a training set in two parts": dict(
        files=of_folders("train_1", "validation") + each("train_2/{c}/x{i}.jpg", 2, c=AB),
        classes=dict.fromkeys(AB, 10),
        splits={"train": 16, "val": 4},
    ),
    "training parts of several sizes": dict(
        files=of_folders("train_small", "test") + each("train_large/{c}/x{i}.jpg", 9, c=AB),
        refused="train_large, train_small can each be the training part beside test",
    ),
    "COCO that calls the classes of the folders otherwise": dict(
        files=each("train_mini/{c}/{i}.jpg", 4, c=SPECIES) + each("val/{c}/v{i}.jpg", 2, c=SPECIES),
        tables={
            f"{part}.json": json.dumps(
                dict(
                    images=[
                        dict(id=f"{k}{i}", file_name=f"{part}/{c}/{v}{i}.jpg")
                        for k, c in enumerate(SPECIES)
                        for i in range(n)
                    ],
                    annotations=[
                        dict(id=1, image_id=f"{k}{i}", category_id=k)
                        for k in (0, 1)
                        for i in range(n)
                    ],
                    categories=[dict(id=0, name="frog"), dict(id=1, name="daisy")],
                )
            )
            for part, v, n in (("train_mini", "", 4), ("val", "v", 2))
        },
        classes=dict.fromkeys(SPECIES, 6),
        splits={"train": 8, "val": 4},
    ),
    "classes on levels of their own": dict(
        files=each("{c}/P{i}.jpg", 6, c=LAND),
        refused="two ways.* 1 for the first, 2 for the second",
    ),
    "the lower of these levels": dict(
        files=each("{c}/P{i}.jpg", 6, c=LAND),
        flags=dict(class_level=2),
        classes={"grass": 6, "wood": 6, "shops": 6},
    ),
    "slides of TCGA": dict(files=TILES, refused="are named after patients or recordings"),
    "scans of LIDC": dict(
        files=each("{s}/{i}.png", 2, s=[f"LIDC-IDRI-000{n}_left" for n in range(4)]),
        refused="are named after patients or recordings",
    ),
}
TABLES = {
    "patients of slides in a table": dict(
        files=TILES,
        tables={"clinical.csv": PATIENTS},
        flags=dict(labels="clinical.csv", label_column="MSI"),
        classes={"high": 6, "low": 6},
        groups=6,
        said="groups from column PATIENT",
    ),
    "a label of patients of slides": dict(
        files=TILES,
        tables={"clinical.csv": PATIENTS.replace("MSI", "label")},
        classes={"high": 6, "low": 6},
        groups=6,
    ),
    "folders in the paths of DICOM files": dict(
        files=[f"jpeg/{uid}/1-{n}.jpg" for n, uid in enumerate(UIDS)],
        tables={
            "csv/mass_train_set.csv": text(
                "patient_id,image file path,pathology",
                *(f"P_{n},Mass_{n}/1.3.{n}/{UIDS[n]}/0.dcm,{AB[n % 2]}" for n in range(4)),
            ),
            "csv/mass_test_set.csv": text(
                "patient_id,image file path,pathology",
                *(f"P_{n},Mass_{n}/1.3.{n}/{UIDS[n]}/0.dcm,{AB[n % 2]}" for n in range(4, 8)),
            ),
        },
        classes=dict.fromkeys(AB, 4),
        splits={"train": 4, "test": 4},
        groups=8,
    ),
    "such paths as Windows writes them": dict(
        files=[f"jpeg/{uid}/1-{n}.jpg" for n, uid in enumerate(UIDS)],
        tables={
            "all.csv": text(
                "path,pathology", *(f"a\\{uid}\\0.dcm,{AB[n % 2]}" for n, uid in enumerate(UIDS))
            )
        },
        classes=dict.fromkeys(AB, 4),
        groups=8,
    ),
    "a table of wells": dict(
        files=WELLS,
        tables={"train.csv": SIRNA},
        refused="has the folders HEPG2-01, HUVEC-02 in its column experiment",
    ),
    "its folders are the classes": dict(
        files=WELLS,
        tables={"train.csv": SIRNA},
        flags=dict(labels="folders"),
        classes=dict.fromkeys(EXPERIMENTS, 8),
        groups=2,
    ),
    "a table about classes that are words": dict(
        files=each("{c}/{i}.jpg", 4, c=AB),
        tables={
            "care.csv": text("plant,month,water", "leaf,1,3", "leaf,2,4", "rust,1,5", "rust,2,6")
        },
        classes=dict.fromkeys(AB, 4),
    ),
    "cells between blanks in a CSV": dict(
        files=numbered("images/cell{i:04d}.png", 8),
        tables={"labels.csv": "\n".join(f"images/cell{i:04d}.png  {AB[i % 2]}" for i in range(8))},
        classes=dict.fromkeys(AB, 4),
    ),
    "cells between blanks below a head line": dict(
        files=numbered("images/cell{i:04d}.png", 8),
        tables={
            "labels.csv": "image label\n"
            + "\n".join(f"images/cell{i:04d}.png {AB[i % 2]}" for i in range(8))
        },
        classes=dict.fromkeys(AB, 4),
    ),
    "two columns between blanks in a CSV": dict(
        files=numbered("images/cell{i:04d}.png", 8),
        tables={
            "labels.csv": "\n".join(
                f"images/cell{i:04d}.png  {(0.0, 0.3)[i % 2]}  {('mono', 'poly')[i // 4]}"
                for i in range(8)
            )
        },
        refused="--labels labels.csv --file-column 1 --label-column with one of 2, 3",
    ),
    "one of these": dict(
        files=numbered("images/cell{i:04d}.png", 8),
        tables={
            "labels.csv": "\n".join(
                f"images/cell{i:04d}.png  {(0.0, 0.3)[i % 2]}  {('mono', 'poly')[i // 4]}"
                for i in range(8)
            )
        },
        flags=dict(labels="labels.csv", file_column="1", label_column="3"),
        classes={"mono": 4, "poly": 4},
    ),
    "defects of which an image may have several": dict(
        files=numbered("steel/{i}.jpg", 6),
        tables={
            "train.csv": text("ImageId,ClassId,Pixels", *(f"{i}.jpg,{i % 3},1 2" for i in range(6)))
            + "\n0.jpg,2,3 4\n1.jpg,2,3 4\n"
        },
        refused=r"names 0.jpg twice, as 0 and as 2 \(2 images have several labels\)",
    ),
    "columns of zeros in the lists of splits, of slides in two sizes": dict(
        files=[f"{s}/{c}/{c}_{s}_{i}.png" for s in ("800", "7000") for c in AB for i in range(8)],
        tables={
            f"{s}/{part}.csv": text(
                "image_id,wsi,aug,grade,type_name",
                *(f"{c}_{s}_{i}.png,{c}{i // 2},0.0,0.0,{c}" for c in AB for i in which),
            )
            for s in ("800", "7000")
            for part, which in (("train", range(6)), ("test", (6, 7)))
        },
        classes=dict.fromkeys(AB, 16),
        splits={"train": 24, "test": 8},
        groups=8,
        said="groups from column wsi",
    ),
    "lists that metadata.csv leaves no room for": dict(
        files=each("{c}/{c}{i}.png", 4, c=AB),
        tables={
            "metadata.csv": text(
                "file_name,label", *(f"{c}/{c}{i}.png,{c}" for c in AB for i in range(4))
            ),
            "splits/split_0.csv": text("file_name", "leaf/leaf0.png"),
        },
        classes=dict.fromkeys(AB, 4),
        note="not used: splits/split_0.csv, beside metadata.csv",
    ),
}
NAMES = [f"img{i}.jpg" for i in range(6)]


def labelbox(*answers):
    """A row of Labelbox for each image, with what each labeller chose for each question."""
    lines = []
    for i, name in enumerate(NAMES):
        labels = [
            [
                dict(name=question, radio_answer=dict(name=choice))
                for question, choice in each.items()
            ]
            for each in (answers[i] if i < len(answers) else [dict(kind=AB[i % 2])])
        ]
        notes = [dict(annotations=dict(objects=[], classifications=found)) for found in labels]
        source = dict(id=f"c{i}", external_id=name, row_data=f"https://x.org/{name}")
        lines.append(dict(data_row=source, projects=dict(p1=dict(labels=notes))))
    return "\n".join(map(json.dumps, lines))


def datumaro(kind="label"):
    """A file of Datumaro with labels, or boxes, of the images."""
    items = [
        dict(
            id=name.removesuffix(".jpg"),
            annotations=[dict(id=0, type=kind, label_id=i % 2, bbox=[0, 0, 1, 1])],
            image=dict(path=name, size=[8, 8]),
        )
        for i, name in enumerate(NAMES)
    ]
    labels = [dict(name=name, parent="") for name in AB]
    return json.dumps(dict(infos={}, categories=dict(label=dict(labels=labels)), items=items))


def labelme(true=lambda i: [AB[i % 2]], shapes=()):
    """A file of labelme for each image, with those flags true."""
    return {
        f"img{i}.json": json.dumps(
            dict(
                version="5.5.0",
                flags={name: name in true(i) for name in AB},
                shapes=[*shapes],
                imagePath=name,
                imageData=None,
            )
        )
        for i, name in enumerate(NAMES)
    }


def darwin(*more):
    """A file of V7 Darwin for each image, with a tag."""
    return {
        f"releases/latest/annotations/img{i}.json": json.dumps(
            dict(
                version="2.0",
                item=dict(name=name, path="/", slots=[]),
                annotations=[dict(name=AB[i % 2], tag={}), *more],
            )
        )
        for i, name in enumerate(NAMES)
    }


BOX = dict(name="x", bounding_box=dict(x=1, y=1, w=2, h=2))
TOOLS = {
    "Labelbox": dict(
        files=[f"images/{name}" for name in NAMES],
        tables={"export.ndjson": labelbox()},
        classes=dict.fromkeys(AB, 3),
        said="column label of export.ndjson",
    ),
    "Labelbox with two questions": dict(
        files=NAMES,
        tables={
            "export.ndjson": labelbox(
                *[({"kind": AB[i % 2], "wet": "ny"[i // 3]},) for i in range(6)]
            )
        },
        refused="--label-column with one of kind, wet",
    ),
    "Labelbox, labellers who differ": dict(
        files=NAMES,
        tables={"export.ndjson": labelbox([dict(kind=c) for c in AB])},
        refused="several labels a picture",
    ),
    "Datumaro": dict(
        files=[f"images/default/{name}" for name in NAMES],
        tables={"annotations/default.json": datumaro()},
        classes=dict.fromkeys(AB, 3),
    ),
    "Datumaro with boxes": dict(
        files=[f"images/default/{name}" for name in NAMES],
        tables={"annotations/default.json": datumaro("bbox")},
        refused="default.json names the images, in a form that is not read: write the class",
    ),
    "VoTT": dict(
        files=[f"images/{name}" for name in NAMES],
        tables={
            "project.json": json.dumps(
                dict(
                    name="p",
                    assets={name: dict(asset=dict(name=name), tags=["a"]) for name in NAMES},
                )
            )
        },
        refused="project.json names the images, in a form that is not read: write the class",
    ),
    "boxes as the only cells": dict(
        files=NAMES,
        tables={
            "boxes.json": json.dumps([dict(image=n, notes=dict(label="a", x=1)) for n in NAMES])
        },
        refused="JSON in its cells .column notes",
    ),
    "V7 Darwin": dict(
        files=[f"images/{name}" for name in NAMES], tables=darwin(BOX), classes=dict.fromkeys(AB, 3)
    ),
    "V7 Darwin with two tags": dict(
        files=NAMES,
        tables=darwin(dict(name="wet", tag={})),
        refused=r"img0.json has several tags \(leaf, wet\), and augment learns one class an image",
    ),
    "labelme's flags": dict(files=NAMES, tables=labelme(), classes=dict.fromkeys(AB, 3)),
    "labelme's flags, two of them true": dict(
        files=NAMES,
        tables=labelme(lambda i: AB if i == 4 else [AB[i % 2]]),
        refused=r"img4.json has several flags \(leaf, rust\), and augment learns one class",
    ),
    "labelme's flags, one file damaged": dict(
        files=NAMES,
        tables=labelme() | {"img3.json": '{"version": "5.5.0", "fla'},
        refused=r"img3.json cannot be read as JSON, where other images have their class: mend it",
    ),
    "labelme's flags, none of them true": dict(
        files=NAMES,
        tables=labelme(lambda i: [AB[i % 2]] if i else []),
        refused="img0.jpg has no label: add it or pass --skip-unlabelled",
    ),
    "these images left out": dict(
        files=NAMES,
        tables=labelme(lambda i: [AB[i % 2]] if i else []),
        flags=dict(skip_unlabelled=True),
        classes={"leaf": 2, "rust": 3},
        left=("rows without a label", 1),
    ),
    "labelme's flags that deny the folders": dict(
        files=[f"{'xy'[i // 3]}/{name}" for i, name in enumerate(NAMES)],
        tables=labelme(),
        refused="tell different classes: pass --labels folders$",
    ),
    "labelme's shapes alone": dict(
        files=NAMES,
        tables=labelme(lambda i: [], [dict(label="a", points=[[0, 0], [1, 1]])]),
        refused="each image has a file like img0.json, which is not read and may hold boxes",
    ),
}
ALL = FOLDERS | TABLES | TOOLS


@pytest.mark.parametrize("name", ALL)
def test_layout_of_the_second_tester(tmp_path, name):
    read_or_refused(tmp_path, ALL[name])


def places(same_names):
    """Images of places that are numbered in each split, with names of files alike or not."""
    return [
        f"{s}/{c}/{c}_{p}/{i if same_names else f'{s}{i}'}.png"
        for s, n in (("train", 4), ("val", 2))
        for c in AB
        for p in range(n)
        for i in range(2)
    ]


def test_groups_that_each_split_numbers_anew_are_other_groups(tmp_path):
    put(tmp_path, *places(same_names=True))
    data = load_dataset(str(tmp_path))
    assert any("numbered anew" in note and "leaf/leaf_0 (4 in all)" in note for note in data.notes)
    assert not set(data.pool_groups) & set(data.test_groups)
    assert (len(set(data.pool_groups)), len(set(data.test_groups))) == (8, 4)


@pytest.mark.parametrize("why", ["other names of files", "other numbers", "one more in val"])
def test_groups_in_both_splits_are_refused(tmp_path, why):
    names = places(same_names=why != "other names of files")
    if why == "other numbers":
        names = [name.replace("leaf_1/", "leaf_7/") for name in names]
    if why == "one more in val":
        names += [f"val/leaf/leaf_9/{i}.png" for i in range(2)]
    put(tmp_path, *names)
    with pytest.raises(DataError, match="stands in train and in test"):
        load_dataset(str(tmp_path))


def test_a_json_that_is_damaged_is_no_traceback(tmp_path):
    build(tmp_path, NAMES, {f"img{i}.json": b"\xff{" for i in range(6)})
    with pytest.raises(DataError, match="each image has a file like"):
        read_layout(tmp_path, ReadingFlags())
