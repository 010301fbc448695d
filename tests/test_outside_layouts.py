"""Layouts that an outside tester found read wrongly or refused without a way out, and their kin.

The entries have the form of `test_layouts.LAYOUTS`.
"""

import json
import re

import pytest
from PIL import Image
from test_folder import noted, put
from test_layouts import AB, build, each, numbered, read_or_refused, rows

from augment.cli import main
from augment.data.check import inspect
from augment.data.datasets import load_dataset
from augment.data.folder import read_folder
from augment.data.layouts.class_words import class_words
from augment.data.layouts.folder_words import is_identity
from augment.data.layouts.reading import read_layout
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.tables.label_values import class_order
from augment.errors import DataError

MURA = [
    f"{split}/{part}/patient{i:05d}/study{1 + i % 2}_{finding}/image{k}.png"
    for split, first in (("train", 1), ("valid", 90))
    for n, part in enumerate(("XR_ELBOW", "XR_HAND"))
    for i in range(first + 10 * n, first + 10 * n + 6)
    for finding in [("negative", "positive")[i // 2 % 2]]
    for k in (1, 2)
]
VISITS = [
    f"site{s}/P{p:03d}/visit{v}_{('benign', 'malignant')[(p + s) % 2]}/{i}.png"
    for s in (1, 2, 3)
    for p in range(4)
    for v in (1, 2)
    for i in (1, 2)
]
SITES = each("{s}/{i:04d}.jpg", 8, s=["barn", "field"])
VOC = "<annotation><folder>{folder}</folder><object><name>{name}</name></object></annotation>"
FINNISH = [f"{p}/{c}/{i}.png" for p in ("koulutus", "testi") for c in AB for i in range(6)]
WORDS = {
    "body parts above studies that end in a finding": dict(
        files=MURA,
        refused=r"\(negative, positive\): pass --class-level 2 for the classes XR_ELBOW, XR_HAND, "
        "4 for these words",
    ),
    "the findings by the level that is advised": dict(
        files=MURA,
        flags=dict(class_level=4),
        classes={"negative": 24, "positive": 24},
        splits={"train": 24, "val": 24},
        groups=24,
        said="2 classes from the words negative, positive of the folders of level 4",
    ),
    "the body parts by the level that is advised": dict(
        files=MURA,
        flags=dict(class_level=2),
        classes={"XR_ELBOW": 24, "XR_HAND": 24},
        splits={"train": 24, "val": 24},
        groups=24,
    ),
    "patients with their class behind": dict(
        files=[f"patient{p}_{'ill' if p % 2 else 'ok'}/{i}.png" for p in range(8) for i in (1, 2)],
        refused=r"have a word each that can be the class \(ill, ok\): pass --class-level 1 for",
    ),
    "patients with their class behind, by the flag": dict(
        files=[f"patient{p}_{'ill' if p % 2 else 'ok'}/{i}.png" for p in range(8) for i in (1, 2)],
        flags=dict(class_level=1),
        classes={"ill": 8, "ok": 8},
        groups=8,
    ),
    "the class before the number of a batch": dict(
        files=[f"{c}_batch{p}/{i}.png" for c in ("ok", "nok") for p in (1, 2) for i in range(3)],
        refused=r"\(nok, ok\): pass --class-level 1 for these words",
    ),
    "sites above patients above visits with a word": dict(
        files=VISITS,
        refused="--class-level 1 for the classes site1, site2, site3, 3 for these words",
    ),
    "their patients are the groups": dict(
        files=VISITS, flags=dict(class_level=3), classes={"benign": 24, "malignant": 24}, groups=12
    ),
    "conditions of each camera are no classes": dict(
        files=[
            f"{c}/cam{k}_{when}/{i}.png"
            for c in AB
            for k in (1, 2, 3)
            for when in ("day", "night")
            for i in (1, 2)
        ],
        classes={"leaf": 12, "rust": 12},
        groups=6,
    ),
    "a class of one word each is no second reading": dict(
        files=[f"{c}/patient{p}/scan1_{c}/{i}.png" for c in AB for p in range(4) for i in range(2)],
        classes={"leaf": 8, "rust": 8},
        groups=4,  # one name below two classes is one patient
    ),
}
ANNOTATED = {
    "an XML beside each image": dict(
        files=SITES,
        tables={f"{f[:-3]}xml": VOC.format(folder=f[:4], name="cow") for f in SITES},
        refused="each image has a file like barn/0000.xml, .*hold its class: .*--labels folders",
    ),
    "the folders on purpose": dict(
        files=SITES,
        tables={f"{f[:-3]}xml": VOC.format(folder=f[:4], name="cow") for f in SITES},
        flags=dict(labels="folders"),
        classes={"barn": 8, "field": 8},
    ),
    "XML that name the class of the folder": dict(
        files=SITES,
        tables={
            f"Annotations/{f[:-3]}xml": VOC.format(folder="x", name=f.partition("/")[0])
            for f in SITES
        },
        classes={"barn": 8, "field": 8},
    ),
    "captions that name it": dict(
        files=SITES,
        tables={f"{f[:-3]}txt": f"a photo of a {f.partition('/')[0]}, sunny" for f in SITES},
        classes={"barn": 8, "field": 8},
    ),
    "Supervisely": dict(
        files=each("ds_{s}/img/{i}.jpg", 6, s=["train", "test"]),
        tables={
            f"ds_{s}/ann/{i}.jpg.json": '{"tags": [{"name": "crack"}], "objects": []}'
            for s in ("train", "test")
            for i in range(6)
        },
        refused="each image has a file like ds_test/ann/0.jpg.json",
    ),
    "boxes of YOLO": dict(
        files=each("images/{s}/{s}{i}.jpg", 6, s=["train", "val"]),
        tables={
            f"labels/{s}/{s}{i}.txt": f"{i % 2} 0.5 0.5 0.2 0.1\n"
            for s in ("train", "val")
            for i in range(6)
        },
        refused="may hold boxes .--task detect learns those of COCO",
    ),
    "half of the images annotated": dict(
        files=SITES,
        tables={f"barn/{i:04d}.xml": VOC.format(folder="x", name="cow") for i in range(8)},
        classes={"barn": 8, "field": 8},
    ),
    "unpacked WebDataset": dict(
        files=each("{s}/{s}{i}.jpg", 6, s=["train-000000", "train-000001", "val-000000"]),
        tables={
            f"{s}/{s}{i}.cls": str(i % 2)
            for s in ("train-000000", "train-000001", "val-000000")
            for i in range(6)
        },
        classes={"0": 9, "1": 9},
        splits={"train": 12, "val": 6},
    ),
}
GTSRB_TEST = rows("Filename,ClassId", *((f"{i:05d}.ppm", i % 2) for i in range(6)), sign=";")
ADVICE = {
    "class folders as numbers beside a table of test images": dict(
        files=[
            *each("Final_Training/Images/{k:05d}/{k}{i}.ppm", 6, k=range(2)),
            *numbered("Final_Test/Images/{i:05d}.ppm", 6),
        ],
        tables={"Final_Test/Images/GT-final_test.csv": GTSRB_TEST},
        classes={"00000": 9, "00001": 9},
        splits={"train": 12, "test": 6},
        note="the 6 test images are those of Final_Test/Images/GT-final_test.csv",
    ),
    "a test table of other classes": dict(
        files=[*each("train/{c}/{i}.png", 6, c=AB), *numbered("extra/t{i}.png", 6)],
        tables={"test.csv": rows("file,class", *((f"t{i}.png", i % 2) for i in range(6)))},
        refused="labels images outside the class folders, and not with their classes",
    ),
    "lists with a column of persons": dict(
        files=[*numbered("train/a{i}.png", 12), *numbered("test/b{i}.png", 4)],
        tables={
            "train.txt": "\n".join(f"{i // 2} a{i}.png {AB[i // 2 % 2]} gov" for i in range(12)),
            "test.txt": "\n".join(f"{50 + i} b{i}.png {AB[i % 2]} gov" for i in range(4)),
        },
        flags=dict(labels="test.txt", file_column="2", label_column="3"),
        classes={"leaf": 8, "rust": 8},
        splits={"train": 12, "test": 4},
    ),
    "FiftyOne without a list of classes": dict(
        files=numbered("data/s{i}.jpg", 8),
        tables={
            "labels.json": json.dumps(
                {"classes": None, "labels": {f"s{i}": {"label": AB[i % 2]} for i in range(8)}}
            )
        },
        classes={"leaf": 4, "rust": 4},
    ),
    "two annotators who differ": dict(
        files=numbered("{i}.jpg", 8),
        tables={
            "export.csv": rows(
                "image,choice", *((f"{i}.jpg", AB[i % 2]) for i in range(8)), ("3.jpg", "leaf")
            )
        },
        refused=r"export.csv names 3.jpg twice, as leaf and as rust: leave one line of it",
    ),
    "thumbnails beside originals": dict(
        files=[f"{c}/{v}/{i}.jpg" for c in AB for v in ("originals", "thumbs") for i in range(4)],
        classes={"leaf": 8, "rust": 8},
        said="originals, thumbs below them as versions of their images",
    ),
    "a split in a column of any name": dict(
        files=numbered("i{i}.jpg", 12),
        tables={
            "annotations.csv": rows(
                "fichier,classe,jeu",
                *((f"i{i}.jpg", AB[i % 2], ["apprentissage", "test"][i > 7]) for i in range(12)),
            )
        },
        flags=dict(labels="annotations.csv", label_column="classe"),
        classes={"leaf": 6, "rust": 6},
        splits={"train": 8, "test": 4},
    ),
    "parts of a set in a language that is not known": dict(
        files=FINNISH,
        flags=dict(class_level=2),
        classes={"leaf": 12, "rust": 12},
        said="those of koulutus, testi together: a test part among these must be called test",
    ),
    "a table of folders that names missing images": dict(
        files=each("train/{c}/{i}.JPG", 6, c=AB) + each("test/{c}/9{i}.JPG", 3, c=AB),
        tables={
            "files.csv": rows(
                "Path,Class",
                *((rf"D:\x\train\{c}\{i}.jpg", c) for c in AB for i in range(6)),
                *((rf"D:\x\test\{c}\9{i}.jpg", c) for c in AB for i in range(3)),
                (r"D:\x\train\leaf\77.jpg", "leaf"),
            )
        },
        classes={"leaf": 9, "rust": 9},
        splits={"train": 12, "test": 6},
        note=r"files.csv names 1 images that do not exist: D:\x\train\leaf\77.jpg",
    ),
}
CONTENT = {
    "pixels in a cell": dict(
        tables={"fer.csv": rows("emotion,pixels", (0, " ".join(["7"] * 2304)))},
        refused="holds no images, but pixels in the column pixels of fer.csv: write each picture",
    ),
    "pixels of a large picture in a list": dict(
        tables={"a.csv": rows("pixels;label", ("[" + ", ".join(["0.5"] * 50_000) + "];3",))},
        refused="but pixels in the column pixels of a.csv",
    ),
    "pixels in columns": dict(
        tables={"mnist.csv": rows(",".join(["label", *map(str, range(784))]), [3, *[0] * 784])},
        refused="pixels in the columns 0, 1, 2 … of mnist.csv",
    ),
    "TFRecords": dict(
        tables={"a.tfrecord-00000-of-00002": "x", "label_map.pbtxt": "item"},
        refused="but a.tfrecord-00000-of-00002, which augment does not read: write each picture",
    ),
    "HDF5": dict(tables={"train_x.h5": "x"}, refused="but train_x.h5, which augment does not read"),
    "shards": dict(
        tables={"t-0.tar": "x", "t-1.tar": "x"},
        refused="but t-0.tar and 1 more: unpack each into a folder of its own",
    ),
    "Edge Impulse": dict(
        files=each("{s}/lamp.{s}{i}.jpg", 4, s=["training", "testing"]),
        tables={"info.labels": "{}"},
        refused="info.labels may hold the labels: save it as CSV",
    ),
    "labels in names": dict(
        files=numbered("{i}_0_3.jpg", 8), refused="a class in their names is not read"
    ),
    "VIA": dict(
        files=numbered("p{i}.jpg", 8),
        tables={
            "via.csv": "filename,file_attributes,region_count,region_id\n"
            + "".join(f'p{i}.jpg,"{{""type"": ""rose{i % 2}""}}",0,0\n' for i in range(8))
        },
        refused="JSON in its cells .column file_attributes",
    ),
}
ALL = WORDS | ANNOTATED | ADVICE | CONTENT


@pytest.mark.parametrize("name", ALL)
def test_outside_layout_is_understood_or_refused(tmp_path, name):
    right = ALL[name]
    if right.get("refused", "").startswith("a class in their"):
        build(tmp_path, **right)
        with pytest.raises(DataError, match=right["refused"]):
            load_dataset(str(tmp_path))
    else:
        read_or_refused(tmp_path, right)


def test_class_files_that_are_no_text_are_no_traceback(tmp_path):
    build(tmp_path, numbered("{i}.jpg", 6), {f"{i}.cls": b"\xff\xfe\0" for i in range(6)})
    with pytest.raises(DataError):
        load_dataset(str(tmp_path))


def test_words_of_numbered_folders():
    assert class_words(["scan1_left", "scan2_right", "scan3_left"]) == {}  # views
    assert class_words(["01_train", "02_test", "03_test"]) == {}
    assert class_words(["1_cat", "2_dog"]) == {}  # none recurs
    assert class_words(["bolt_M6", "bolt_M8", "nut_M6", "nut_M8"]) == {}  # sizes
    found = class_words(["01_pos", "02_pos", "03-neg"])
    assert found == {"01_pos": "pos", "02_pos": "pos", "03-neg": "neg"}


def test_plurals_are_no_patients():
    assert not any(map(is_identity, ["slides", "histology_slides", "trees", "animals"]))
    assert all(map(is_identity, ["slide7", "slide_s", "tree2", "patientA"]))


@pytest.mark.parametrize("form", ["{c}_original_{s}.jpg_0{k}ad2591-2dcf.png", "x-{s}.jpg-{k}.png"])
def test_output_of_an_augmenter_stays_with_its_source(tmp_path, form):
    sources = {f"{c}{i}": c for c in AB for i in range(6)}
    for name, c in sources.items():
        put(tmp_path, f"{c}/{name}.jpg")
        put(tmp_path, *(f"{c}/output/{form.format(c=c, s=name, k=k)}" for k in (1, 2)))
    data = load_dataset(str(tmp_path))
    assert noted(data.notes, "24 images look like copies")
    pool, test = (
        {name for name in sources for file in files if f"{name}." in file}
        for files in (data.pool_files, data.test_files)
    )
    assert pool | test == set(sources)
    assert not pool & test


def test_white_icons_on_no_ground_are_told(tmp_path):
    icon = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    icon.paste((255, 255, 255, 255), (2, 2, 5, 5))
    put(tmp_path, *(f"{c}/{i}.png" for c in AB for i in range(4)), picture=icon)
    with pytest.raises(DataError, match="all 8 pictures are white on a transparent ground"):
        load_dataset(str(tmp_path))
    put(tmp_path, *(f"{c}/x{i}.png" for c in AB for i in range(4)))
    assert noted(load_dataset(str(tmp_path)).notes, "8 pictures are white on a transparent ground")


def test_a_dry_run_says_what_a_check_says(tmp_path, monkeypatch, capsys):
    wells = [f"{c}/A{k}{i}_f{f}" for k, c in enumerate(AB) for i in range(4) for f in (1, 2)]
    put(tmp_path, *(f"set/{name}.png" for name in wells))
    monkeypatch.chdir(tmp_path)
    found = inspect("set")
    asked = "run --dataset set --arm real --seeds 1 --preset smoke --device cpu --dry-run -q"
    for as_json in (False, True):
        monkeypatch.setattr("sys.argv", ["augment", *asked.split(), *["--json"][: int(as_json)]])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code
        out = capsys.readouterr().out
        assert all(note in out for note in found["warnings"])
    notes = json.loads(out)["notes"]
    assert notes == [f"set: {note}" for note in found["warnings"]]
    assert noted(notes, "8 series of pictures")
    assert noted(notes, "fewer than 10 images")


def advised(root, **flags):
    """The refusal of a set, and the flags that it names, one set of them for each way out."""
    with pytest.raises(DataError) as caught:
        read_layout(root, ReadingFlags(**flags))
    text = str(caught.value)
    levels = re.findall(r"--class-level (\d+)|[,:;] (\d+) for", text)
    ways = [dict(class_level=int(a or b)) for a, b in levels]
    ways += [dict(labels=name.rstrip(",;")) for name in re.findall(r"--labels ([\w./]+)", text)]
    if "--label-column" in text:
        columns = re.search(r"one of ([\w, ]+)", text)[1].split(", ")
        file = re.search(r"--file-column (\w+)", text)[1]
        ways = [{**w, "file_column": file, "label_column": c} for w in ways for c in columns]
    return ways


PATIENTS = {f"s{i}.png": AB[i // 2 % 2] for i in range(16)}
REFUSED = {
    "levels": (dict(files=MURA), 2),
    "levels with parts": (dict(files=FINNISH), 2),
    "one level": (WORDS["patients with their class behind"], 1),
    "folders or a table": (
        dict(files=SITES, tables={"t.csv": rows("file,class", *zip(SITES, AB * 8, strict=True))}),
        2,
    ),
    "columns": (
        dict(
            files=list(PATIENTS),
            tables={
                "t.csv": rows("fichier,classe,sujet", *((f, c, f[1]) for f, c in PATIENTS.items()))
            },
        ),
        2,
    ),
    "columns of lists": (
        {k: ADVICE["lists with a column of persons"][k] for k in ("files", "tables")},
        1,
    ),
    "annotations": (ANNOTATED["an XML beside each image"], 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_each_way_out_of_a_refusal_works(tmp_path, name):
    right, n_ways = REFUSED[name]
    build(tmp_path, **right)
    ways = advised(tmp_path)
    assert len(ways) == n_ways
    for flags in ways:
        layout = read_layout(tmp_path, ReadingFlags(**flags))
        assert len(layout.entries) == len(right["files"])
        assert len(layout.classes) > 1


def test_classes_that_are_numbers_stand_by_value():
    signed = ["+0.00", "+0.50", "+1.50", "-0.50", "-1.50"]
    assert class_order(signed) == ["-1.50", "-0.50", "+0.00", "+0.50", "+1.50"]
    assert class_order(["10,5", "2", "-3"]) == ["-3", "2", "10,5"]
    assert class_order(["10", "9", "1.2.3"]) == ["1.2.3", "10", "9"]  # no number among them


def test_an_empty_class_folder_is_left_out_and_told(tmp_path):
    put(tmp_path, *(f"{c}/{i}.png" for c in AB for i in range(6)))
    (tmp_path / "lotus").mkdir()
    build(tmp_path, tables={"scans/Thumbs.db": "x"})
    found = inspect(str(tmp_path))
    assert not found["problems"]
    assert [*found["pool_by_class"]] == AB
    assert noted(found["warnings"], "left out folders without images (2): lotus, scans")


def test_check_takes_the_flags_that_its_problems_name(tmp_path, monkeypatch, capsys):
    put(tmp_path, *(f"{c}/{i}.png" for c in AB for i in range(6)), "rare/0.png")
    build(tmp_path, tables={"leaf/broken.png": "x"})
    flags = ["--skip-bad", "--drop-small-classes"]
    for given, code in (([], 3), (flags[:1], 3), (flags, 0)):
        monkeypatch.setattr("sys.argv", ["augment", "check", str(tmp_path), *given])
        with pytest.raises(SystemExit) as left:
            main()
        assert (left.value.code or 0) == code
        out = capsys.readouterr().out
        assert [flag for flag in flags if flag in out] == flags[len(given) : len(given) + 1]


def camera_trap(root, field):
    """COCO's JSON of pictures in sequences of three, with further fields, without boxes."""
    names = [f"{s}_{f}.jpg" for s in range(12) for f in range(3)]
    images = [
        {"id": i, "file_name": n, field: f"s{i // 3}", "location": i // 9, "width": 8, "height": 8}
        for i, n in enumerate(names)
    ]
    marks = [dict(image_id=i, category_id=i // 3 % 2) for i in range(36)]
    kinds = [dict(id=k, name=name) for k, name in enumerate(AB)]
    told = json.dumps(dict(images=images, annotations=marks, categories=kinds))
    return build(root, [f"train/{n}" for n in names], {"train_annotations.json": told})


@pytest.mark.parametrize("field", ["seq_id", "patient_id", "burst"])
def test_fields_of_coco_images_are_columns(tmp_path, field):
    camera_trap(tmp_path, field)
    clear = read_layout(tmp_path, ReadingFlags())
    given = read_layout(tmp_path, ReadingFlags(group_column=field))
    assert {entry.group for entry in given.entries} == {f"s{i}" for i in range(12)}
    if field == "burst":
        assert noted(clear.notes, "columns not used: burst, location")
        assert noted(clear.notes, "pass --group-column burst")
    else:
        assert clear.entries == given.entries
        assert noted(clear.notes, "columns not used: location")


BLANKS = [f"images/{c} spot/img {i:02d}.jpg" for c in AB for i in range(9)]
LONGER = [
    f"images/{c}{' old' if c in AB[:1] else ''}/img {i:02d}.jpg" for c in AB for i in range(9)
]


def listed(names, ending=""):
    """The lists of a split whose test part is each third image, by path from the root."""
    parts = {"train": [n for i, n in enumerate(names) if i % 3], "val": names[::3]}
    return {
        f"meta/{part}_list.txt": "\n".join(n + ending.format(k=int(AB[1] in n)) for n in kept)
        for part, kept in parts.items()
    }


@pytest.mark.parametrize("names", [BLANKS, LONGER])
@pytest.mark.parametrize("ending", ["", " {k}"])
def test_lists_whose_paths_have_blanks_are_read(tmp_path, names, ending):
    build(tmp_path, names, listed(names, ending))
    layout = read_layout(tmp_path, ReadingFlags())
    assert {e.name for e in layout.entries if e.split == "val"} == set(names[::3])
    assert {e.name for e in layout.entries if e.split == "train"} == set(names) - set(names[::3])
    assert len(layout.classes) == 2


def test_a_list_of_flat_images_with_blanks_tells_the_class(tmp_path):
    names = [f"img {i:02d}.jpg" for i in range(12)]
    lines = [f"{n} {AB[i % 2]}" for i, n in enumerate([*names, "img 99.jpg"])]
    build(tmp_path, names, {"list.txt": "\n".join(lines)})
    layout = read_layout(tmp_path, ReadingFlags())
    assert layout.classes == set(AB)
    assert [name for name, _ in layout.missing] == ["img 99.jpg"]


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    put(tmp_path, *(f"{c}/{i}.png" for c in AB for i in range(6)))
    build(tmp_path, tables={"train_list.txt": "\n".join(f"old/photo x{i}.png" for i in range(9))})
    assert noted(inspect(str(tmp_path))["warnings"], "not used: train_list.txt, whose rows name no")


@pytest.mark.parametrize("pages", [None, "pictures"])
def test_stills_named_after_a_clip_are_of_its_group(tmp_path, pages):
    for k, c in enumerate(AB):
        for i in range(8):
            frames = [Image.new("L", (8, 8), 100 * k + 10 * i + f) for f in range(3)]
            put(tmp_path, f"{c}/loop-{i}_frame2.png", picture=frames[2])
            frames[0].save(tmp_path / f"{c}/loop-{i}.gif", save_all=True, append_images=frames[1:])
    raw = read_folder(tmp_path, None, flags=ReadingFlags(pages=pages))
    groups = {}
    for file, group in zip(raw.files, raw.groups, strict=True):
        groups.setdefault(group, []).append(re.split(r"[_.]", file)[0])
    assert len(groups) == 16
    assert all(len(members) > 1 and len(set(members)) == 1 for members in groups.values())
    assert noted(raw.notes, "16 stills are named after a file of several pages")
    alone = read_folder(tmp_path, None, flags=ReadingFlags(group_by="none"))
    assert alone.groups is None
