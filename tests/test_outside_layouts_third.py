"""Layouts that a third outside tester found read wrongly or refused without a way out, and kin.

The entries have the form of `test_layouts.LAYOUTS`.
"""

import json

import pytest
from test_folder import noted
from test_layouts import AB, build, each, numbered, read_or_refused, rows
from test_outside_layouts_more import text

from augment.data.layouts.name_groups import clear_groups, groups_by_name
from augment.data.layouts.name_tokens import keys_by_whole
from augment.data.layouts.reading import read_layout
from augment.data.layouts.reading_flags import ReadingFlags
from augment.errors import DataError

STAGES = ["stage1", "stage2", "stage3"]
CELLS = each("set2/images/TRAIN/{c}/{c}_{i}.jpg", 4, c=AB)
CELLS += each("set2/images/TEST/{c}/{c}_9{i}.jpg", 2, c=AB)
FOLDS = [f"training_data/fold_{f}/{c}/{c}{f}{i}.bmp" for f in range(3) for c in AB for i in "12"]
RENAMED = rows("Patient_ID,new_names,labels", *((f"P{i}", f"{i}.bmp", i % 2) for i in range(6)))
SPLIT = each("train/{c}/{i}.png", 4, c=AB) + each("test/{c}/{i}.png", 2, c=AB)
YEARS = [f"set_{y}/{c}/{i}.png" for y in (2019, 2020) for c in AB for i in range(4)]
SHOWN = each("{c}/{c}/{i}.png", 4, c=["Red Lion", "Tiger"])
PHOTOS = each("Set/Photos/{c}/{c}{i}.tif", 4, c=AB)
TESTED = numbered("Set_TestData/Photos/t{i}.tif", 5)
UNLABELLED = ("images of Set_TestData/, taken for unlabelled", 5)
SIGNED = ["001", "001_forg", "002", "002_forg", "003", "003_forg"]
CONTAINERS = {
    "boxes in one folder, classes in the other": dict(
        files=[*numbered("set/JPEGImages/B_{i:05d}.jpg", 6), *CELLS],
        refused="named after parts.*; given alone, set2 is read with the classes leaf, rust$",
    ),
    "splits that are labelled in two ways": dict(
        files=[
            *FOLDS,
            *numbered("validation_data/early/{i}.bmp", 6),
            *numbered("testing_data/late/{i}.bmp", 6),
        ],
        tables={"validation_data/labels.csv": RENAMED},
        refused="given alone, training_data is read with the classes leaf, rust and "
        "validation_data is read with the classes 0, 1$",
    ),
    "splits that are no sets by themselves": dict(
        files=SPLIT,
        tables={
            "t.csv": rows("file,label", *((name, "xyz"[i % 3]) for i, name in enumerate(SPLIT)))
        },
        refused=r"tell different classes: pass --labels folders or --labels t\.csv$",
    ),
    "sets of two years, and a folder of figures": dict(
        files=[*YEARS, *numbered("set_about/{i}.png", 3)],
        refused="the classes set_2019, set_2020, set_about or, below them, leaf, rust: .*given "
        "alone, set_2019 is read with .* and set_2020 is read with the classes leaf, rust$",
    ),
    "versions of the images below some classes": dict(
        files=[f"{c}/{v}/{i}.png" for c in AB for v in ("raw", "thumbs") for i in range(4)]
        + numbered("smut/{i}.png", 4),
        classes={"leaf": 8, "rust": 8, "smut": 4},
    ),
    "masks in a folder called after that of the images": dict(
        files=SHOWN
        + [
            name.replace("/Red Lion/", "/Red Lion GT/").replace("/Tiger/", "/Tiger GT/")
            for name in SHOWN
        ],
        classes={"Red Lion": 4, "Tiger": 4},
        left=("masks", 8),
    ),
    "a class that wears a mask": dict(
        files=each("{c}/{i}.png", 4, c=["face", "face_mask"]), classes={"face": 4, "face_mask": 4}
    ),
    "a flat test set beside the set": dict(
        files=PHOTOS + TESTED, classes={"leaf": 4, "rust": 4}, left=UNLABELLED
    ),
    "it is a class": dict(
        files=PHOTOS + TESTED,
        flags=dict(class_level=1),
        classes={"Set": 8, "Set_TestData": 5},
        groups=2,
    ),
    "a table of the folders at another level": dict(
        files=each("a/{c}/{c}{i}.tif", 4, c=AB) + numbered("extra/{i}.tif", 4),
        tables={"a/truth.csv": text(*(f"{c}{i}.tif,{c}" for c in AB for i in range(4)))},
        classes={"leaf": 4, "rust": 4},
        left=("images that truth.csv does not name", 4),
        said="from column 2 of truth.csv",
    ),
    "a flat test folder in a wrapper of its name": dict(
        files=each("abc_train/abc_train/{c}/{c}{i}.jpg", 4, c=AB)
        + [f"abc_test/abc_test/{c}_test.jpg" for c in AB],
        classes={"leaf": 4, "rust": 4},
        splits={"train": 8},
        left=("images outside class folders", 2),
    ),
    "a test folder of nothing known": dict(
        files=each("train/{c}/{i}.jpg", 4, c=AB) + numbered("test/unknown/{i}.jpg", 3),
        classes={"leaf": 4, "rust": 4},
        splits={"train": 8},
        left=("images outside class folders", 3),
    ),
    "genuine and forged signatures of persons": dict(
        files=each("train/{c}/{c}_{i}.png", 3, c=SIGNED),
        refused=r"can be the class \(\(no word\), forg\): pass --class-level 2 for these words",
    ),
    "these by the level that is advised": dict(
        files=each("x/{c}/{c}_{i}.png", 3, c=SIGNED),
        flags=dict(class_level=2),
        classes={"(no word)": 9, "forg": 9},
        groups=3,
    ),
    "grades of which one has a word": dict(
        files=each("{c}/{i}.png", 3, c=["1", "2", "3", "3_late"]),
        classes={"1": 3, "2": 3, "3": 3, "3_late": 3},
    ),
}

FISH = [f"fish_image/fish_0{k}/fish_{i:04d}_{k}.png" for k in (1, 2, 3) for i in range(4)]
EYES = each("Training400/{c}/{c[0]}{i:02d}.jpg", 4, c=["Glaucoma", "Healthy"])
SITES = [f"{site}/{s}/{site}{i}.png" for site in ("oslo", "rome") for s in STAGES for i in range(2)]
MASKED = {
    "masks of another first word": dict(
        files=FISH + [name.replace("fish_", "mask_") for name in FISH],
        flags=dict(class_level=2),
        classes={"fish_01": 4, "fish_02": 4, "fish_03": 4},
        left=("masks", 12),
    ),
    "faces with and without a mask": dict(
        files=each("{c}/{c}_{i}.png", 4, c=["mask", "face"]), classes={"mask": 4, "face": 4}
    ),
    "masks of a set called after it, and flat images to validate on": dict(
        files=EYES
        + [f"Annotation-{name[:-3]}bmp".replace("400/", "400/Cups/") for name in EYES]
        + numbered("SET-Validation400/V{i}.jpg", 3),
        classes={"Glaucoma": 4, "Healthy": 4},
        left=("images of SET-Validation400/, taken for unlabelled", 3),
        said="below Training400",
    ),
    "loose images in the folder of a split": dict(
        files=each("train/{c}/{i}.jpg", 4, c=AB) + numbered("test/{i}.jpg", 3),
        classes={"leaf": 4, "rust": 4},
        splits={"train": 8},
        left=("images outside class folders", 3),
    ),
    "stages below sites": dict(
        files=SITES,
        refused="the classes oslo, rome or, below them, stage1, stage2, stage3: pass --class-level "
        "1 for the first, 2 for the second, .*; given alone, oslo is read with the classes",
    ),
    "by the level of the stages": dict(
        files=SITES, flags=dict(class_level=2), classes=dict.fromkeys(STAGES, 4)
    ),
    "a person who is seen doing two things": dict(
        files=[f"{c}/subject0{n}/{c}{i}.png" for c in AB for n in (1, 2, 3) for i in range(2)],
        classes={"leaf": 6, "rust": 6},
        groups=3,
    ),
    "years, months and days above classes": dict(
        files=[
            f"line/2023/{5 + d % 2:02d}/{d:02d}/{c}/{d}{i}.bmp"
            for d in range(1, 7)
            for c in AB
            for i in "12"
        ],
        classes={"leaf": 12, "rust": 12},
        groups=6,
    ),
    "years and months above classes": dict(
        files=[f"2023/{m:02d}/{c}/{c}{m}{i}.bmp" for m in range(1, 5) for c in AB for i in "12"],
        classes={"leaf": 8, "rust": 8},
        groups=4,
    ),
    "classes that are numbers in the folder of a year": dict(
        files=each("x/2023/{c}/{i}.png", 4, c=["05", "17"]), classes={"05": 4, "17": 4}
    ),
    "labels in names, in folders of splits": dict(
        files=each("{s}/{i}_x.jpg", 3, s=["training", "evaluation"]),
        refused="without a folder a class in them: put each image into a folder of its class",
    ),
}

HASHES = [f"{n * 7919 % 16**6:06x}{n:02d}" for n in range(12)]
UUIDS = [f"{n:08x}-bbc{n}-11e8-b2bc-ac1f6b6435d{n}" for n in range(8)]
TRUTH = {f"ISIC_{i:07d}": ("benign", "malignant")[i % 2] for i in range(12)}
IN_ORDER = "the path of each into a column file_name"
RECORDS = {str(i): {"filepath": f"images/{i}.jpg", "anomaly_class": AB[i % 2]} for i in range(8)}


IN_FOLDERS = {"train": 8, "val": 4, "test": 6}
WELLS = [f"{row}{n:02d}" for row in "AB" for n in range(1, 5)]


def superannotate(tags):
    """The file of one image."""
    return json.dumps(dict(metadata={"width": 8}, instances=[], tags=tags, comments=[]))


def task(i, answer="accept"):
    """A line of Prodigy's export."""
    options = [{"id": c, "text": c} for c in AB]
    chosen = [AB[i % 2]] if answer == "accept" else []
    return json.dumps(
        dict(image=f"x/{i}.jpg", options=options, accept=chosen, answer=answer, meta={"n": i})
    )


TABLES = {
    "names without suffix, no head line": dict(
        files=[f"x/{name}.jpg" for name in TRUTH],
        tables={"truth.csv": text(*(",".join(item) for item in TRUTH.items()))},
        classes={"benign": 6, "malignant": 6},
        said="from column 2 of truth.csv",
    ),
    "hashes, no head line": dict(
        files=[f"x/{name}.jpg" for name in HASHES],
        tables={"gt.csv": text(*(f"{name},{i % 2}" for i, name in enumerate(HASHES)))},
        classes={"0": 6, "1": 6},
    ),
    "a head line that an image has the name of": dict(
        files=[*numbered("x/{i}.jpg", 8), "x/id.jpg"],
        tables={"t.csv": rows("id,label", *((i, AB[i % 2]) for i in range(8)))},
        classes={"leaf": 4, "rust": 4},
    ),
    "records by number": dict(
        files=numbered("images/{i}.jpg", 8),
        tables={"meta.json": json.dumps(RECORDS)},
        classes={"leaf": 4, "rust": 4},
        said="column anomaly_class of meta.json",
    ),
    "records by name": dict(
        files=numbered("images/p{i}.jpg", 8),
        tables={"meta.json": json.dumps({f"p{i}": {"label": AB[i % 2]} for i in range(8)})},
        classes={"leaf": 4, "rust": 4},
    ),
    "a column called a label of something": dict(
        files=numbered("images/p{i}.jpg", 8),
        tables={
            "t.csv": rows(
                "Image Name,Majority Vote Label,Number of Votes",
                *((f"p{i}.jpg", AB[i % 2], i % 4) for i in range(8)),
            )
        },
        classes={"leaf": 4, "rust": 4},
        said="column Majority Vote Label",
    ),
    "two of these": dict(
        files=numbered("images/p{i}.jpg", 8),
        tables={
            "t.csv": rows(
                "Image Name,First Label,Second Label",
                *((f"p{i}.jpg", AB[i % 2], "xy"[i // 4]) for i in range(8)),
            )
        },
        refused="--label-column with one of 'First Label', 'Second Label'",
    ),
    "Prodigy": dict(
        files=numbered("x/{i}.jpg", 8),
        tables={"out.jsonl": text(*map(task, range(8)))},
        classes={"leaf": 4, "rust": 4},
    ),
    "Prodigy, a task that was passed over": dict(
        files=numbered("x/{i}.jpg", 8),
        tables={"out.jsonl": text(*map(task, range(7)), task(7, "ignore"))},
        refused="line 8: x/7.jpg has no label: add it or pass --skip-unlabelled",
    ),
    "wells in the names of images": dict(
        files=[f"x/exp_{w}_s{s}.tif" for w in WELLS for s in (1, 2)],
        tables={"map.csv": rows("Well,Drug", *((w, AB[i % 2]) for i, w in enumerate(WELLS)))},
        classes={"leaf": 8, "rust": 8},
        groups=8,
    ),
    "four images of one number, which has several labels": dict(
        files=[f"x/{u}_{c}.png" for u in UUIDS for c in ("blue", "red")],
        tables={
            "t.csv": rows("Id,Target", *zip(UUIDS, ["16 0", "25", "3 0", "25"] * 2, strict=True))
        },
        refused=r"column Target: several labels a picture \('16 0'\)",
    ),
    "a table of Dataverse, with tabs": dict(
        files=[f"part_{i % 2}/{name}.jpg" for i, name in enumerate(TRUTH)],
        tables={
            "meta.tab": rows(
                "id,dx,lesion_id", *((n, c, n[-1]) for n, c in TRUTH.items()), sign="\t"
            )
        },
        classes={"benign": 6, "malignant": 6},
        groups=10,
    ),
    "SuperAnnotate": dict(
        files=numbered("w{i}.jpg", 8),
        tables={f"w{i}.jpg___objects.json": superannotate([AB[i % 2]]) for i in range(8)},
        classes={"leaf": 4, "rust": 4},
    ),
    "SuperAnnotate without tags": dict(
        files=numbered("w{i}.jpg", 8),
        tables={f"w{i}.jpg___objects.json": superannotate([]) for i in range(8)},
        refused="each image has a file like w0.jpg___objects.json, which is not read",
    ),
    "DICOM without suffix": dict(
        tables={f"P{i}/IM0001": bytes(128) + b"DICM" for i in range(4)},
        refused="DICOM files without a suffix, such as P0/IM0001: give them the suffix .dcm",
    ),
    "a table in the folder of each split": dict(
        files=[f"{s}/images/{i:02d}.png" for s in IN_FOLDERS for i in range(IN_FOLDERS[s])],
        tables={
            f"{s}/labels.csv": rows("image,label", *((f"{i:02d}.png", AB[i % 2]) for i in range(n)))
            for s, n in IN_FOLDERS.items()
        },
        classes={"leaf": 9, "rust": 9},
        splits=IN_FOLDERS,
    ),
    "folds of a cross-validation in a table of their own": dict(
        files=numbered("x/{i:03d}.png", 12),
        tables={
            "5-fold-cv.csv": rows("ID,kFold", *((f"{i:03d}", i % 4) for i in range(12))),
            "data.csv": rows("ID,Pathology,Age", *((f"{i:03d}", AB[i % 2], i) for i in range(12))),
        },
        classes={"leaf": 6, "rust": 6},
        said="column Pathology of data.csv",
    ),
    "a table of pairs before the table of grades": dict(
        files=numbered("x/e{i:02d}.png", 24),
        tables={
            "a.csv": rows(
                "exam,left,right", *((i, f"e{2 * i:02d}", f"e{2 * i + 1:02d}") for i in range(12))
            ),
            "b.csv": rows(
                "image_id,dr_x,dme_x", *((f"e{i:02d}", i % 3, i // 4 % 2) for i in range(24))
            ),
        },
        refused=r"b\.csv .*--label-column with one of dr_x, dme_x",
    ),
    "labels in the order of the images": dict(
        files=numbered("images/{i}.png", 12),
        tables={"labels.csv": text("label", *("abc"[i % 3] for i in range(12)))},
        refused=rf"has 12 labels \(column label\), .* names none of these: .*{IN_ORDER}$",
    ),
    "labels in the order of the images of one folder": dict(
        files=numbered("chips/chips/c{i}.png", 12) + numbered("scenes/scenes/s{i}.png", 3),
        tables={"chips.json": json.dumps({"data": [[1]] * 12, "labels": [0, 1] * 6})},
        refused=f"chips.json has 12 labels .*{IN_ORDER}, or pass --labels folders",
    ),
    "the folders on purpose": dict(
        files=numbered("chips/chips/c{i}.png", 12) + numbered("scenes/scenes/s{i}.png", 3),
        tables={"chips.json": json.dumps({"data": [[1]] * 12, "labels": [0, 1] * 6})},
        flags=dict(labels="folders"),
        classes={"chips": 12, "scenes": 3},
    ),
    "a table of the classes": dict(
        files=each("{c}/{i}.png", 12, c=AB),
        tables={"about.csv": rows("label,latin", ("leaf", "folium"), ("rust", "aerugo"))},
        classes={"leaf": 12, "rust": 12},
    ),
}
ALL = CONTAINERS | MASKED | TABLES


@pytest.mark.parametrize("name", ALL)
def test_layout_of_the_third_tester(tmp_path, name):
    read_or_refused(tmp_path, ALL[name])


def test_a_table_in_the_folder_of_a_split_tells_its_images_alone(tmp_path):
    told = {"train": "leaf rust leaf rust", "test": "rust leaf rust leaf"}
    for split, labels in told.items():
        lines = [(f"{i}.png", label) for i, label in enumerate(labels.split())]
        build(tmp_path / split, [f"images/{name}" for name, _ in lines])
        build(tmp_path / split, tables={"labels.csv": rows("image,label", *lines)})
    for entry in read_layout(tmp_path, ReadingFlags()).entries:
        split, _, name = entry.name.partition("/images/")
        assert entry.split == split
        assert entry.label == told[split].split()[int(name[0])]


def cut(form):
    """Names of tiles, four of each picture, and their classes and pictures."""
    tiles = [(k, c, i) for k in range(3) for c in AB for i in range(4)]
    random = [f"{(n * 40503 + 9973) % 65536:04X}" for n in range(len(tiles))]
    paths = [
        f"{c}/{form.format(s=f'{k}{c[0]}', x=512 * i, y=64 * k, r=r)}.png"
        for (k, c, i), r in zip(tiles, random, strict=True)
    ]
    return paths, [c for _, c, _ in tiles], [(k, c) for k, c, _ in tiles]


@pytest.mark.parametrize(
    "form",
    [
        "{r}_CRC-HE-{s}.tif_Row_{x}_Col_{y}",  # after a hash of digits and letters, or of digits
        "TMA {s} [x={x},y={y},w=512,h=512]",
        "TMA {s} [d=2.5,x={x},y={y},w=512,h=512]",
        "scene{s}_x{x}_y{y}",
        "{s}_idx5_y_{y}_x_{x}_class0",
    ],
)
def test_tiles_of_one_picture_are_a_group(form):
    paths, labels, pictures = cut(form)
    for groups in (clear_groups(paths, labels), groups_by_name(paths, labels)[0]):
        assert len(set(groups)) == len(set(pictures)) == len({*zip(groups, pictures, strict=True)})


def test_names_without_a_place_are_of_no_picture(tmp_path):
    names = ["max_1", "box_y_3", "row_2", "x5_5", "fox1_y2", "2021-05-01", "a_x1_yard"]
    assert not any(keys_by_whole(names, ["a"] * len(names)))
    build(tmp_path, each("{c}/{i}.png", 6, c=AB))  # equal names in two classes
    assert not any(entry.group for entry in read_layout(tmp_path, ReadingFlags()).entries)


def test_hashes_of_digits_are_of_one_form_with_those_of_letters():
    marks = (
        "1A2B 9027 FACE 77C1 0042 BEEF 3D3D 8113 ABCD 5555 F00D 1234 9E9E 4711 CAFE 2020".split()
    )
    paths = [f"{AB[n // 2 % 2]}/{mark}_K{n // 2}_{n % 2}.png" for n, mark in enumerate(marks)]
    groups, _ = groups_by_name(paths, [path.partition("/")[0] for path in paths])
    assert sorted(set(groups)) == [f"K{n}" for n in range(8)]


def test_parts_are_read_with_their_notes_kept(tmp_path):
    files = [*numbered("set/{i}.jpg", 6), *CELLS, "set2/images/TRAIN/leaf/leaf_0_mask.jpg"]
    build(tmp_path, files)
    with pytest.raises(DataError, match="given alone, set2") as caught:
        read_layout(tmp_path, ReadingFlags())
    assert noted(caught.value.__notes__, "left out masks (1)")
    with pytest.raises(DataError) as caught:  # the user has chosen
        read_layout(tmp_path, ReadingFlags(class_level=3))
    assert "given alone" not in str(caught.value)
