"""Sisters of the handed cases: other sets of their kinds, read by an outside tester, and kin.

The entries have the form of `test_layouts.LAYOUTS`.
"""

import pytest
from test_folder import put
from test_layouts import AB, build, each, numbered, read_or_refused, rows
from test_outside_layouts_more import text

from augment.data.datasets import load_dataset
from augment.data.layouts.class_words import as_spoken
from augment.data.layouts.reading import read_layout
from augment.data.layouts.reading_flags import ReadingFlags
from augment.errors import DataError

WRAPPED = "New Plants(Augmented)/New Plants(Augmented)"
LEAVES = each(f"{WRAPPED}/train/{{c}}/{{i}}.JPG", 6, c=AB)
LEAVES += each(f"{WRAPPED}/valid/{{c}}/9{{i}}.JPG", 2, c=AB)
HANDS = each("rps/rps/{c}/{c}{i}.png", 6, c=["paper", "rock", "scissors"])
HANDS += each("rps-test-set/rps-test-set/{c}/t{c}{i}.png", 2, c=["paper", "rock", "scissors"])
CLIPS = [
    (c, f"v_{c}_g{g:02d}_c{v:02d}")
    for c in ("Archery", "Diving")
    for g in (1, 2, 3)
    for v in (1, 2)
]
FRAMES = [f"frames/{c}/{clip}/{i:06d}.jpg" for c, clip in CLIPS for i in (1, 2)]
NUMBERED = {"Archery": 1, "Diving": 2}


def lists(group, sign="/", suffix=".avi"):
    """The official lists of clips, of which those of one group are for the test."""
    test = [f"{c}{sign}{clip}{suffix}" for c, clip in CLIPS if f"_g{group:02d}_" in clip]
    train = [
        f"{c}{sign}{clip}{suffix} {NUMBERED[c]}"
        for c, clip in CLIPS
        if f"_g{group:02d}_" not in clip
    ]
    folder = "ucfTrainTestlist"
    return {
        f"{folder}/trainlist{group:02d}.txt": text(*train),
        f"{folder}/testlist{group:02d}.txt": text(*test),
    }


FOLDERS = {
    "a flat test folder behind a wrapper": dict(
        files=[*LEAVES, *numbered("test/test/Scab{i}.JPG", 3)],
        classes={"leaf": 8, "rust": 8},
        splits={"train": 12, "val": 4},
        left=("images of test/, taken for unlabelled", 3),
        said=f"below {WRAPPED}, splits train, val from folders",
    ),
    "images to predict behind a wrapper": dict(
        files=each("data/data/{c}/{i}.JPG", 6, c=AB) + numbered("predict/predict/{i}.JPG", 3),
        classes={"leaf": 6, "rust": 6},
        left=("images of predict/, taken for unlabelled", 3),
    ),
    "parts of a set that hold no class": dict(
        files=each("{s}/{i}.png", 4, s=["train", "test", "train_extra", "test_extra"]),
        refused="test, train are parts of the set, without a folder a class in them: put each",
    ),
    "parts beside more images": dict(
        files=each("{s}/{i}.png", 4, s=["train", "test", "extra"]),
        refused="test, train are parts of the set, without a folder a class in them: put each",
    ),
    "parts of another name": dict(
        files=each("{s}/{i}.png", 4, s=["train_images", "test_images", "train_extra_images"]),
        refused="test_images, train_images are parts of the set",
    ),
    "a vehicle that is called train": dict(
        files=each("{c}/{i}.png", 4, c=["bus", "car", "train"]),
        classes={"bus": 4, "car": 4, "train": 4},
    ),
    "a test folder is never offered as a class": dict(
        files=each("photos/{c}/{i}.png", 4, c=AB) + each("{s}/{i}.png", 4, s=["test", "extra"]),
        refused="pass --class-level 2, or give the path of .*; given alone, photos is read with",
    ),
    "nor are train and val": dict(
        files=each("data/train/{c}/{i}.png", 4, c=AB)
        + each("data/val/{c}/{i}.png", 2, c=AB)
        + numbered("extra/{i}.png", 4),
        refused="data/ holds train and val folders and extra/ beside it does not: give the path",
    ),
    "a set beside its test set": dict(
        files=[*HANDS, *numbered("rps-validation/rock{i}.png", 4)],
        classes={"paper": 8, "rock": 8, "scissors": 8},
        splits={"train": 18, "test": 6},
        left=("images of rps-validation/, taken for unlabelled", 4),
        said="splits test, train (rps) from folders",
    ),
    "a set beside its val and test sets": dict(
        files=[
            f"{s}/{c}/{s}_{c}{i}.png"
            for s in ("rps", "rps_val", "rps_test")
            for c in AB
            for i in range(3)
        ],
        classes={"leaf": 9, "rust": 9},
        splits={"train": 6, "val": 6, "test": 6},
        said="train (rps), val from folders",
    ),
    "images beside images_val": dict(
        files=each("images/{c}/{i}.png", 4, c=AB) + each("images_val/{c}/9{i}.png", 2, c=AB),
        classes={"leaf": 6, "rust": 6},
        splits={"train": 8, "val": 4},
        said="splits train (images), val from folders",
    ),
    "two sets beside a test set": dict(
        files=[
            f"{s}/{c}/{s}{i}.png" for s in ("mine", "theirs", "test") for c in AB for i in "123"
        ],
        refused="two ways.*; given alone, mine is read with the classes leaf, rust",
    ),
}
TABLES = {
    "two tables with the same labels": dict(
        files=each("Images/bus_{i:04d}-{s}.png", 6, s="lr")
        + each("Masks/mask_{i:04d}-{s}.png", 6, s="lr"),
        tables={
            "bus_data.csv": rows(
                "ID,Case,Pathology,BIRADS",
                *((f"bus_{i:04d}-{s}", i, AB[i % 2], 2 + i % 3) for i in range(6) for s in "lr"),
            ),
            "5-fold-cv.csv": rows(
                "ID,kFold,Pathology",
                *((f"bus_{i:04d}-{s}", 1 + i % 5, AB[i % 2]) for i in range(6) for s in "lr"),
            ),
        },
        classes={"leaf": 6, "rust": 6},
        groups=6,
        said="column Pathology of bus_data.csv, 12 images found by name, groups from column Case",
    ),
    "a table of all and one of the test set": dict(
        files=numbered("images/{i:05d}.jpg", 12),
        tables={
            "all.csv": rows("image_id,diagnosis", *((f"{i:05d}", AB[i % 2]) for i in range(12))),
            "test.csv": rows(
                "image_id,diagnosis", *((f"{i:05d}", AB[i % 2]) for i in range(8, 12))
            ),
        },
        classes={"leaf": 6, "rust": 6},
        splits={"train": 8, "test": 4},
        said="column diagnosis of all.csv, 12 images found by name, splits from test.csv",
    ),
    "a table that names a part of the images": dict(
        files=numbered("images/{i:05d}.jpg", 12),
        tables={
            "all.csv": rows("image_id,diagnosis", *((f"{i:05d}", AB[i % 2]) for i in range(12))),
            "more.csv": rows(
                "image_id,diagnosis,sex", *((f"{i:05d}", AB[i % 2], i) for i in range(6))
            ),
        },
        classes={"leaf": 6, "rust": 6},
        note="not used: more.csv, which names 6 images",
    ),
    "two tables that differ in one label": dict(
        files=numbered("images/{i:05d}.jpg", 12),
        tables={
            f"rater{r}.csv": rows(
                "image_id,diagnosis",
                *((f"{i:05d}", AB[(i + (r == 2 and i == 7)) % 2]) for i in range(12)),
            )
            for r in (1, 2)
        },
        refused="several tables name the images: rater1.csv .*: choose one with --labels",
    ),
    "splits in the names of the images": dict(
        files=numbered("train_{i}.bmp", 8)
        + numbered("testA_{i}.bmp", 4)
        + numbered("testB_{i}.bmp", 2),
        tables={
            "Grade.csv": rows(
                "name,label",
                *(
                    (f"{s}_{i}", AB[i % 2])
                    for s, n in (("train", 8), ("testA", 4), ("testB", 2))
                    for i in range(n)
                ),
            )
        },
        classes={"leaf": 7, "rust": 7},
        splits={"train": 8, "test": 6},
        said="splits from the names of the images",
    ),
    "a vehicle in the names of the images": dict(
        files=each("all/{c}_{i}.png", 4, c=["train", "bus"]),
        tables={
            "labels.csv": rows(
                "filename,label", *((f"{c}_{i}.png", c) for c in ("train", "bus") for i in range(4))
            )
        },
        classes={"bus": 4, "train": 4},
    ),
    "lists of clips": dict(
        files=FRAMES,
        tables=lists(1) | {"ucfTrainTestlist/classInd.txt": "1 Archery\n2 Diving"},
        classes={"Archery": 12, "Diving": 12},
        splits={"train": 16, "test": 8},
        groups=6,
        said="splits from testlist01.txt, trainlist01.txt, groups from folders like",
    ),
    "lists of clips as another system writes paths": dict(
        files=FRAMES,
        tables=lists(2, sign="\\", suffix=".mp4"),
        classes={"Archery": 12, "Diving": 12},
        splits={"train": 16, "test": 8},
        groups=6,
    ),
    "several lists of clips": dict(
        files=FRAMES,
        tables=lists(1) | lists(2),
        refused="is in the split .*: pass --labels with one list of the split to use",
    ),
    "one of these": dict(
        files=FRAMES,
        tables=lists(1) | lists(2),
        flags=dict(labels="ucfTrainTestlist/testlist02.txt"),
        classes={"Archery": 12, "Diving": 12},
        splits={"train": 16, "test": 8},
        groups=12,
        said="splits from trainlist02.txt, testlist02.txt",
    ),
    "clips in tables without commas": dict(
        files=FRAMES,
        tables={
            f"{s}.csv": text(
                *(
                    f"{c}/{clip}.mp4 {NUMBERED[c]}"
                    for c, clip in CLIPS
                    if ("_g03_" in clip) == (s == "val")
                )
            )
            for s in ("train", "val")
        },
        classes={"Archery": 12, "Diving": 12},
        splits={"train": 16, "val": 8},
        groups=6,
    ),
}
ALL = FOLDERS | TABLES


@pytest.mark.parametrize("name", ALL)
def test_sister_of_a_handed_case(tmp_path, name):
    read_or_refused(tmp_path, ALL[name])


NAMES = ["apple", "banana", "cherry"]


@pytest.mark.parametrize("head", [["name"], ["Class Name"], ["Classes"], []])
@pytest.mark.parametrize("first", [0, 1])
def test_the_head_of_a_list_of_names_is_no_class(tmp_path, head, first):
    labels = rows("filename,label", *((f"{i}.png", first + i % 3) for i in range(9)))
    names = {"labels.csv": labels, "classes.csv": text(*head, *NAMES)}
    layout = read_layout(build(tmp_path, numbered("images/{i}.png", 9), names), ReadingFlags())
    assert {entry.path.name: entry.label for entry in layout.entries} == {
        f"{i}.png": NAMES[i % 3] for i in range(9)
    }


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("No DR", "No_DR", True),
        ("MildDemented", "Mild Demented", True),
        ("no_tumor", "NO TUMOR ", True),
        ("-1", "1", False),
        ("resign", "re-sign", False),
        ("AB", "A-B", False),
        ("1_2", "12", False),
        ("C", "C++", False),
    ],
)
def test_one_class_in_two_spellings(one, other, alike):
    assert (as_spoken(one) == as_spoken(other)) == alike


def test_classes_spelt_in_two_ways_are_all_named(tmp_path):
    put(tmp_path, *each("train/{c}/{i}.png", 4, c=["No DR", "Mild"]))
    put(tmp_path, *each("test/{c}/{i}.png", 2, c=["No_DR", "mild"]))
    with pytest.raises(DataError, match=r"'Mild', 'mild'; 'No DR', 'No_DR'\): give each one name"):
        load_dataset(str(tmp_path))
