"""Folders read under --class-level and beside masks, patients and copies: rightly or refused."""

import json
from collections import Counter

import pytest
from test_folder import noted, put
from test_layouts import AB, build, each, numbered

from augment.data.copies.copies_together import _links_by_name
from augment.data.datasets import load_dataset
from augment.data.layouts.reading import read_layout
from augment.data.layouts.reading_flags import FOLDERS, ReadingFlags
from augment.errors import DataError

MVTEC = [
    f"{thing}/{rest}"
    for thing in ("bottle", "cable")
    for rest in (
        *numbered("train/good/{i:03d}.png", 6),
        *each("test/{c}/{i:03d}.png", 2, c=["good", "broken"]),
        *numbered("ground_truth/broken/{i:03d}_mask.png", 2),
    )
]
DAGM = [
    f"Class{k}/{split}/{rest}"
    for k in (1, 2, 3)
    for split in ("Train", "Test")
    for rest in (*numbered("{i:04d}.PNG", 6), "Label/0003_label.PNG")
]
CASTING = [
    *each("data/data/train/{c}/{i}.png", 4, c=["ok", "nok"]),
    *each("data/data/test/{c}/{i}.png", 2, c=["ok", "nok"]),
    *each("small/small/{c}/{i}.png", 3, c=["ok", "nok"]),
]

READ = {
    "masks named NAME_mask in ground_truth/ beside splits": dict(
        files=[name.removeprefix("bottle/") for name in MVTEC if name.startswith("bottle/")],
        class_level=2,
        classes={"good": 8, "broken": 2},
        splits={"train": 6, "test": 4},
        masks=2,
    ),
    "masks of several things": dict(
        files=MVTEC,
        class_level=3,
        classes={"good": 16, "broken": 4},
        splits={"train": 12, "test": 8},
        masks=4,
    ),
    "masks in CLASS/labels/ named as those in CLASS/images/": dict(
        files=[
            f"{c}/{kind}/{i}.png" for c in AB for kind in ("images", "labels") for i in range(4)
        ],
        classes={"leaf": 4, "rust": 4},
        masks=8,
    ),
    "masks in Label/ below the images": dict(
        files=DAGM,
        classes={f"Class{k}": 12 for k in (1, 2, 3)},
        splits={"train": 18, "test": 18},
        masks=6,
    ),
    "masks in Label/, the level given": dict(
        files=DAGM,
        class_level=1,
        classes={f"Class{k}": 12 for k in (1, 2, 3)},
        splits={"train": 18, "test": 18},
        masks=6,
    ),
    "face masks as classes": dict(
        files=each("{c}/{i}.png", 4, c=["with_mask", "without_mask"]),
        classes={"with_mask": 4, "without_mask": 4},
    ),
    "label and no label as classes": dict(
        files=each("{c}/{i}.png", 4, c=["label", "no_label"]), classes={"label": 4, "no_label": 4}
    ),
    "splits of longer names above the level given": dict(
        files=[
            *each("seg_train/seg_train/{c}/{i}.png", 4, c=AB),
            *each("seg_test/seg_test/{c}/{i}.png", 2, c=AB),
        ],
        class_level=3,
        classes={"leaf": 6, "rust": 6},
        splits={"train": 8, "test": 4},
    ),
    "a copy of the set inside itself, the level given": dict(
        files=[*each("set/{c}/{i}.png", 3, c=AB), *each("set/set/{c}/{i}.png", 3, c=AB)],
        class_level=2,
        classes={"leaf": 3, "rust": 3},
    ),
    "unlabelled images beside the level given": dict(
        files=each("{c}/{i}.png", 3, c=[*AB, "unlabeled"]),
        class_level=1,
        classes={"leaf": 3, "rust": 3},
    ),
    "persons, confirmed": dict(
        files=each("s{p}/{i}.png", 3, p=range(1, 5)),
        class_level=1,
        classes={f"s{p}": 3 for p in range(1, 5)},
    ),
    "numbered folders on both sides of a split": dict(
        files=[
            *each("train/s{p}/{i}.png", 4, p=range(3)),
            *each("test/s{p}/{i}.png", 2, p=range(3)),
        ],
        classes={f"s{p}": 6 for p in range(3)},
        splits={"train": 12, "test": 6},
    ),
    "images without a class beside the level given": dict(
        files=[*each("train/{c}/images/{i}.png", 4, c=AB), *numbered("test/images/{i}.png", 3)],
        class_level=2,
        classes={"leaf": 4, "rust": 4},
        splits={"train": 8},
    ),
    "photo as a class": dict(
        files=each("{c}/{i}.png", 3, c=["photo", "sketch"]),
        class_level=1,
        classes={"photo": 3, "sketch": 3},
    ),
    "numbers of WordNet": dict(
        files=each("n0144{p}/{i}.png", 3, p=["3537", "3538"]),
        classes={"n01443537": 3, "n01443538": 3},
    ),
    "grades": dict(
        files=each("grade_{p}/{i}.png", 3, p=range(3)), classes={f"grade_{p}": 3 for p in range(3)}
    ),
}


@pytest.mark.parametrize("name", READ)
def test_folders_are_read(tmp_path, name):
    right = READ[name]
    build(tmp_path, right["files"])
    layout = read_layout(tmp_path, ReadingFlags(class_level=right.get("class_level")))
    assert Counter(entry.label for entry in layout.entries) == right["classes"]
    splits = Counter(entry.split for entry in layout.entries)
    assert splits == right.get("splits", {"": len(layout.entries)})
    assert len(layout.left_out["masks"]) == right.get("masks", 0)


@pytest.mark.parametrize(
    ("files", "level", "says"),
    [
        (MVTEC, 2, r"test, train of level 2 are splits.*\(1: bottle, cable; 3: broken, good\)"),
        (MVTEC, None, "cable or, below them, broken, good: pass --class-level 1 for .* 3 for"),
        (DAGM, 2, r"Test, Train of level 2 are splits, not classes.*\(1: Class1"),
        (CASTING, 3, r"test, train of level 3 are splits.*4: nok, ok\)"),
        (CASTING, None, "data/ holds train and test folders and small/ .* the path of one"),
        (each("images/{p}/{i}.jpg", 3, p=["train", "val"]), 2, "are splits, not classes: name a"),
        (each("{p}/{i}.jpg", 3, p=["seg_train", "seg_test"]), 1, "seg_train of level 1 are splits"),
        (each("x/{p}/{i}.jpg", 3, p=["images", "gt"]), 2, "named after images or masks"),
        (
            [*each("{c}/{i}.png", 3, c=AB), *each("old/{c}/{i}.jpg", 2, c=AB)],
            1,
            "old/ of level 1 holds folders of the same names as beside it",
        ),
        (
            [
                f"fold{k}/{s}/{c}/{i}.png"
                for k in (1, 2)
                for s in ("train", "val")
                for c in AB
                for i in (1, 2)
            ],
            None,
            "fold1, fold2 hold splits each: give the path of one",
        ),
        (each("Base1{p}/{i}.tif", 3, p=range(3)), None, "differ by a number alone.*-level 1 if"),
        (each("set/kos{p:02d}/Part{i}.jpg", 3, p=range(5)), None, "number alone.*-level 2 if"),
        (each("P{p:02d}/{i}.png", 3, p=range(1, 6)), None, "P01, P02, P03 .* number alone"),
        (
            [f"P{p:02d}/{p}{v}0/{i}.png" for p in range(1, 6) for v in (1, 2) for i in range(2)],
            None,
            "P01, P02, P03 .* number alone",
        ),
        (each("1.3.6.1.4.1.9590.{p}/{i}.png", 3, p=range(4)), None, "named after patients"),
        (each("1.2.840.{p}/{i}.png", 3, p=range(4)), None, "named after patients"),
    ],
)
def test_folders_that_are_no_classes_are_refused_with_the_way_out(tmp_path, files, level, says):
    build(tmp_path, files)
    with pytest.raises(DataError, match=says):
        read_layout(tmp_path, ReadingFlags(class_level=level))


def test_folder_of_masks_is_no_class_where_folders_are_asked_for(tmp_path):
    build(
        tmp_path,
        [
            *numbered("ISIC_Training_Data/ISIC_{i}.jpg", 6),
            *numbered("ISIC_Training_Part1_GroundTruth/ISIC_{i}_segmentation.png", 6),
        ],
    )
    with pytest.raises(DataError, match="ISIC_Training_Data are named after parts"):
        read_layout(tmp_path, ReadingFlags(labels=FOLDERS))


@pytest.mark.parametrize("names", [["images"], ["train_images", "test_images"]])
def test_what_would_be_refused_is_not_offered(tmp_path, names):
    build(tmp_path, each("{c}/{i}.png", 3, c=names))
    with pytest.raises(DataError) as caught:
        read_layout(tmp_path, ReadingFlags(labels=FOLDERS))
    assert "class-level" not in str(caught.value)


def test_sheets_beside_class_folders_are_told(tmp_path):
    build(tmp_path, each("{c}/{i}.png", 3, c=AB), {"Annotation.xls": "x"})
    assert noted(read_layout(tmp_path, ReadingFlags()).notes, "Annotation.xls may hold labels")


def sources(files, labels=None):
    """Names of files that are linked, as sets."""
    links = _links_by_name(files, labels or [0] * len(files)).tolist()
    return {frozenset((files[a], files[b])) for a, b in links}


def test_names_of_copies_are_linked():
    keras = [*numbered("yes/Y{i}.jpg", 4), *(f"yes/aug_Y{i}_0_{7000 + i}.jpg" for i in range(4))]
    assert sources(keras) == {frozenset((keras[i], keras[4 + i])) for i in range(4)}
    rotated = [
        *numbered("Original/pox/M{i:02d}_01.jpg", 4),
        *numbered("Augmented/pox/M{i:02d}_01_02.jpg", 4),
    ]
    assert sources(rotated) == {frozenset((rotated[i], rotated[4 + i])) for i in range(4)}
    masked = [
        *numbered("color/scab/a{i}b.jpg", 4),
        *numbered("segmented/scab/a{i}b_final_masked.jpg", 4),
    ]
    assert sources(masked) == {frozenset((masked[i], masked[4 + i])) for i in range(4)}


def test_names_that_tell_no_copies_are_not_linked():
    assert not sources(numbered("yes/aug_0_{i}.jpg", 6))  # Keras, without the source's name
    assert not sources(numbered("set/M{i:02d}_01.jpg", 6))
    versions = [*numbered("original/{i}.jpg", 4), *numbered("enhanced/{i}.jpg", 4)]
    assert not sources(versions, [0] * 4 + [1] * 4)  # the versions are the classes


def test_versions_of_an_image_stay_on_one_side(tmp_path):
    put(tmp_path, *each("Original/{c}/{c}{i}_01.png", 8, c="ab"))
    put(
        tmp_path,
        *(f"Augmented/{c}/{c}{i}_01_{k}.png" for c in "ab" for i in range(8) for k in (1, 2)),
    )
    data = load_dataset(str(tmp_path), reading=ReadingFlags(class_level=2))
    assert noted(data.notes, "copies stay on one side")
    pool, test = (
        {file.rpartition("/")[2].split("_")[0] for file in files}
        for files in (data.pool_files, data.test_files)
    )
    assert len(pool | test) == 16
    assert not pool & test


def test_rows_of_a_table_are_no_names_of_classes(tmp_path):
    records = [{"image": f"img/{i}.png", "label": str(i % 2)} for i in range(6)]
    build(tmp_path, numbered("img/{i}.png", 6), {"my labels.json": json.dumps(records)})
    assert read_layout(tmp_path, ReadingFlags()).classes == {"0", "1"}
