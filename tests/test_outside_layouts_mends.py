"""Sets that rules for the sisters of the handed cases must leave as they are, and kin.

The entries have the form of `test_layouts.LAYOUTS`.
"""

import pytest
from test_layouts import AB, build, each, numbered, read_or_refused, rows
from test_outside_layouts_more import text
from test_outside_layouts_sisters import FRAMES, lists

from augment.data.layouts.folder_words import split_word
from augment.data.layouts.reading import read_layout
from augment.data.layouts.reading_flags import ReadingFlags

TO_LEARN = rows("image,label", *((f"{i}.png", AB[i % 2]) for i in range(8)))
TO_PREDICT = rows("image", *((f"{i}.png",) for i in range(8, 12)))
KAGGLE = {"train.csv": TO_LEARN, "test.csv": TO_PREDICT}
DAYS = [f"{c}/day{d}/{c}{d}{i}.png" for c in AB for d in (1, 2) for i in range(4)]
PATIENTS = rows("file,patient", *((path, f"{path[0]}{n // 2}") for n, path in enumerate(DAYS)))
OFFICIAL = {
    "labels.csv": rows(
        "name,label",
        *((f"{s}_{i}.png", AB[i % 2]) for s, n in (("train", 8), ("test", 4)) for i in range(n)),
    ),
    "train.txt": text(*(f"train_{i}.png" for i in range(6))),
    "val.txt": text("train_6.png", "train_7.png", "test_0.png"),
    "test.txt": text(*(f"test_{i}.png" for i in range(1, 4))),
}
FOLDER_LISTS = {
    f"{s}.csv": rows("file,label", *((f"{c}/{c}{i}.png", c) for c in AB for i in part))
    for s, part in (("train", range(4)), ("test", range(4, 6)))
}


def parted(part, inside, n=3):
    """Images below a folder, in several folders."""
    return [f"{part}/{c}/{part}_{c}_{i}.png" for c in inside for i in range(n)]


KEPT = {
    "a table of images to predict": dict(
        files=numbered("images/{i}.png", 12),
        tables=KAGGLE,
        flags=dict(labels="train.csv"),
        classes={"leaf": 4, "rust": 4},
        left=("images that train.csv does not name", 4),
    ),
    "and their folder": dict(
        files=[f"{'train' if i < 8 else 'test'}/{i}.png" for i in range(12)],
        tables=KAGGLE,
        flags=dict(labels="train.csv"),
        classes={"leaf": 4, "rust": 4},
        left=("images that train.csv does not name", 4),
    ),
    "tables of three splits, one to predict": dict(
        files=numbered("images/{i}.png", 12),
        tables={
            "train.csv": TO_LEARN.rsplit("\n", 2)[0],
            "val.csv": rows("image,label", ("6.png", "leaf"), ("7.png", "rust")),
            "test.csv": TO_PREDICT,
        },
        flags=dict(labels="train.csv"),
        classes={"leaf": 4, "rust": 4},
        splits={"train": 6, "val": 2},
        left=("images that train.csv does not name", 4),
    ),
    "a table of images to predict, in folders that are no classes": dict(
        files=[f"{'ab'[i % 3 % 2]}/{i}.png" for i in range(12)],
        tables=KAGGLE,
        flags=dict(labels="train.csv"),
        classes={"leaf": 4, "rust": 4},
        left=("images that train.csv does not name", 4),
    ),
    "patients in a column": dict(
        files=DAYS,
        tables={"patients.csv": PATIENTS},
        flags=dict(group_column="patient"),
        classes={"leaf": 8, "rust": 8},
        groups=8,
        said="groups from column patient of patients.csv",
    ),
    "patients in a column, and no other groups": dict(
        files=DAYS,
        tables={"patients.csv": PATIENTS},
        flags=dict(group_by="none"),
        classes={"leaf": 8, "rust": 8},
        groups=8,
        said="groups from column patient of patients.csv",
    ),
    "patients in a table": dict(
        files=DAYS,
        tables={"patients.csv": PATIENTS},
        classes={"leaf": 8, "rust": 8},
        groups=8,
        said="groups from column patient of patients.csv",
    ),
    "a class called test": dict(
        files=parted("control", ["plate1", "plate2"]) + parted("test", ["plate1", "plate2"]),
        classes={"control": 6, "test": 6},
        groups=2,
    ),
    "a class called valid": dict(
        files=parted("valid", ["cam1", "cam2", "cam3"])
        + parted("invalid", ["cam1", "cam2", "cam3"]),
        classes={"valid": 9, "invalid": 9},
        groups=3,
    ),
    "small copies beside val and test": dict(
        files=[*parted("val", AB), *parted("test", AB), *parted("thumbs", AB)],
        classes={"leaf": 6, "rust": 6},
        splits={"val": 6, "test": 6},
    ),
    "other images beside val and test": dict(
        files=[*parted("val", AB), *parted("test", AB), *parted("mislabelled", AB)],
        classes={"leaf": 6, "rust": 6},
        splits={"val": 6, "test": 6},
    ),
    "outputs beside a test set": dict(
        files=parted("outputs", AB) + parted("test", AB), refused="two ways|outputs"
    ),
    "a test that is none of a set": dict(
        files=parted("xray", ["pos", "neg"]) + parted("blood_tests", ["pos", "neg"]),
        refused="two ways",
    ),
    "plates beside plates for a test": dict(
        files=parted("plates", ["plate1", "plate2"]) + parted("plates_test", ["plate1", "plate2"]),
        classes={"plates": 6, "plates_test": 6},
        groups=2,
    ),
    "official lists before names": dict(
        files=numbered("images/train_{i}.png", 8) + numbered("images/test_{i}.png", 4),
        tables=OFFICIAL,
        classes={"leaf": 6, "rust": 6},
        splits={"train": 6, "val": 3, "test": 3},
        said="splits from",
    ),
    "a table a camera": dict(
        files=each("camera{c}/{i}.png", 6, c=[1, 2]),
        tables={
            f"camera{c}/labels.csv": rows(
                "file,label", *((f"{i}.png", AB[i % 2]) for i in range(6))
            )
            for c in (1, 2)
        },
        refused="several tables name the images: camera1/labels.csv",
    ),
    "an empty folder beside a vehicle": dict(
        files=each("{c}/{i}.png", 4, c=["bus", "car", "train"]),
        tables={"tests/read.py": "assert True"},
        classes={"bus": 4, "car": 4, "train": 4},
    ),
    "parts of an experiment": dict(
        files=each("{c}/{i}.png", 4, c=["control", "test", "validation"]),
        classes={"control": 4, "test": 4, "validation": 4},
        note="the folders test, validation are taken for classes",
    ),
    "a list that is called ind": dict(
        files=each("{c}/{c}{i}.png", 6, c=AB),
        tables={
            "ind.txt": rows(
                "file,patient", *((f"{c}/{c}{i}.png", f"{c}{i // 2}") for c in AB for i in range(6))
            )
        },
        classes={"leaf": 6, "rust": 6},
        groups=6,
    ),
    "lists of the folders and a table of others": dict(
        files=each("{c}/{c}{i}.png", 6, c=AB) + numbered("more/{i}.png", 4),
        tables=FOLDER_LISTS
        | {"extra.csv": rows("file,label", *((f"more/{i}.png", AB[i % 2]) for i in range(4)))},
        classes={"leaf": 6, "rust": 6},
        splits={"train": 8, "test": 4},
    ),
}
CAPITALS = {name: cells.replace(".avi", ".AVI") for name, cells in lists(1).items()}
CLIPS = {
    "lists of clips in capitals": dict(
        files=FRAMES,
        tables=CAPITALS,
        classes={"Archery": 12, "Diving": 12},
        splits={"train": 16, "test": 8},
        groups=6,
    ),
    "the other list of a split": dict(
        files=FRAMES,
        tables=lists(1) | lists(2),
        flags=dict(labels="ucfTrainTestlist/trainlist02.txt"),
        classes={"Archery": 12, "Diving": 12},
        splits={"train": 16, "test": 8},
        groups=12,
    ),
    "clips without frames": dict(
        files=[path for path in FRAMES if "_g01_c01" not in path],
        tables=lists(1),
        classes={"Archery": 10, "Diving": 10},
        splits={"train": 16, "test": 4},
        groups=6,
    ),
    "clips of which none has frames": dict(
        files=each("{c}/{i}.png", 6, c=["Archery", "Diving"]),
        tables=lists(1),
        classes={"Archery": 6, "Diving": 6},
        note="not used: ucfTrainTestlist/testlist01.txt, whose rows name no pictures here",
    ),
}
ALL = KEPT | CLIPS


@pytest.mark.parametrize("name", ALL)
def test_set_is_read_as_before(tmp_path, name):
    read_or_refused(tmp_path, ALL[name])


@pytest.mark.parametrize(
    ("file", "content", "labels", "right"),
    [
        ("classes.csv", text("name", "apple", "banana", "cherry"), (1, 2), ["apple", "banana"]),
        ("classes.csv", text("name", "apple", "banana"), (0, 1), ["apple", "banana"]),
        (
            "class_names.json",
            '{"0": "name", "1": "address", "2": "phone"}',
            (0, 1),
            ["name", "address"],
        ),
        ("class_names.json", '["name", "address", "phone"]', (0, 1), ["name", "address"]),
        ("classes.txt", text("0 name", "1 address", "2 phone"), (0, 1), ["name", "address"]),
        ("classes.txt", text("name", "address", "phone"), (0, 1, 2), ["name", "address", "phone"]),
    ],
)
def test_a_class_called_name_is_no_head(tmp_path, file, content, labels, right):
    n = len(labels)
    table = rows("filename,label", *((f"{i}.png", labels[i % n]) for i in range(12)))
    names = {"labels.csv": table, file: content}
    layout = read_layout(build(tmp_path, numbered("images/{i}.png", 12), names), ReadingFlags())
    assert {entry.path.name: entry.label for entry in layout.entries} == {
        f"{i}.png": right[i % n] for i in range(12)
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("trainingset", "train"),
        ("Validationset", "val"),
        ("testingdata", "test"),
        ("vallist", "val"),
    ],
)
def test_splits_in_one_word(name, split):
    assert split_word(name) == (split, ())


def test_a_table_without_rows_is_no_list_of_videos(tmp_path):
    files, head = each("{c}/{i}.png", 6, c=["cat", "dog"]), "file,remark\n"
    layout = read_layout(build(tmp_path, files, {"notes.csv": head}), ReadingFlags())
    assert layout.notes == []
