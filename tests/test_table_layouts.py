"""Tables as public sets have them: found by folder, part of a name or head line, or refused.

The entries have the form of `test_layouts.LAYOUTS`.
"""

import json
import shlex

import pytest
from test_folder import noted, put
from test_layouts import AB, build, each, numbered, read_or_refused, rows

from augment.cli import main
from augment.data.datasets import load_dataset
from augment.data.layouts.reading import read_layout
from augment.data.layouts.reading_flags import ReadingFlags
from augment.errors import DataError

KINDS = ["CN", "MCI", "AD"]
SCANS = [(f"I{4500 + 7 * p + v}", f"002_S_{300 + p:04d}", p) for p in range(9) for v in range(2)]
COHORTS = rows(
    "Image Data ID,Subject,Group,Sex",
    *((scan, subject, KINDS[p % 3], "MF"[p % 2]) for scan, subject, p in SCANS),
)
FOUND_BY_ID = dict(
    classes={"CN": 6, "MCI": 6, "AD": 6},
    groups=9,
    said="3 classes from column Group of t.csv, 18 images found",
)
EYES = [f"{i}_{side}.jpg" for i in range(8) for side in ("left", "right")]
TWO_FOLDERS = [f"{folder}/{name}" for folder in ("raw/Training", "small") for name in EYES]
TOLD = rows("filename,labels", *((name, AB[i // 2 % 2]) for i, name in enumerate(EYES)))
GRADES = {
    f"labels/{x}. {part} Labels.csv": rows(
        "Image name,Grade of it,Risk of it ,,",
        *((f"P_{i:02d}", f"g{i % 2}", f"r{i % 3 % 2}", "", "") for i in range(n)),
    )
    for x, part, n in (("a", "Training", 12), ("b", "Testing", 6))
}
GRADED = numbered("pictures/a. Training Set/P_{i:02d}.jpg", 12) + numbered(
    "pictures/b. Testing Set/P_{i:02d}.jpg", 6
)
MIAS = "REF BG CLASS SEVERITY X\n" + "\n".join(
    f"m{i:02d} G NORM" if i % 2 else f"m{i:02d} D CIRC B {400 + i}" for i in range(12)
)
TABS = "\n".join(
    ["id\timage_path\tmask_path\tspecies"]
    + [f"{50 + i}\tset/{i}.jpg\tmasks/{i}.png\tacer {'ab'[i % 2]}" for i in range(12)]
)
HALF = {"leaf": 6, "rust": 6}


def manifest(make):
    """Lines of SageMaker Ground Truth, of a picture each."""
    lines = [{"source-ref": f"s3://bucket/x/images/{i}.jpg"} | make(i) for i in range(12)]
    return "\n".join(map(json.dumps, lines))


def job(name, label):
    """What one labelling job says of a picture."""
    about = {"class-name": label, "type": "groundtruth/image-classification"}
    return {name: 0, f"{name}-metadata": about}


TABLES = {
    "ids of folders": dict(
        files=[f"ADNI/{s}/MPR/2005-01-1{p}_08_20_30.0/{i}/x_{i}.png" for i, s, p in SCANS],
        tables={"t.csv": COHORTS},
        **FOUND_BY_ID,
    ),
    "ids of folders with slices": dict(
        files=[f"ADNI/{s}/{i}/{k}.png" for i, s, p in SCANS for k in range(3)],
        tables={"t.csv": COHORTS},
        classes={"CN": 18, "MCI": 18, "AD": 18},
        groups=9,
    ),
    "ids at the end of names": dict(
        files=[f"pictures/ADNI_{s}_MPR_{i}.png" for i, s, p in SCANS],
        tables={"t.csv": COHORTS},
        **FOUND_BY_ID,
    ),
    "ids inside names, by the flag": dict(
        files=[f"pictures/scan-{i}-mid_{s}.png" for i, s, p in SCANS],
        tables={"t.csv": COHORTS},
        flags=dict(labels="t.csv", file_column="image data id", label_column="Sex"),
        classes={"M": 10, "F": 8},
        groups=9,
    ),
    "a group that is who it is, beside a label": dict(
        files=numbered("p/{i}.png", 12),
        tables={
            "t.csv": rows(
                "file,label,group,patient",
                *((f"{i}.png", AB[i // 2 % 2], f"g{i // 2}", f"p{i // 2}") for i in range(12)),
            )
        },
        classes=HALF,
        groups=6,
    ),
    "a group of kinds of persons, with the path of each picture": dict(
        files=numbered("p/{i}.png", 12),
        tables={
            "t.csv": rows(
                "path,participant_id,Group",
                *((f"p/{i}.png", f"sub{i // 2}", AB[i // 2 % 2]) for i in range(12)),
            )
        },
        classes=HALF,
        groups=6,
    ),
    "two containers of the same names, and a table": dict(
        files=[*TWO_FOLDERS, "raw/Testing/90.jpg"],
        tables={"t.csv": TOLD},
        refused="raw/ holds train and test folders and small/ beside it does not: give the path of "
        "one of the two, .*\nnot used: t.csv, where 0_left.jpg may be raw/Training/0_left.jpg",
    ),
    "two sizes of the same names, and ids": dict(
        files=each("{s}/x{i}.jpg", 12, s=["large", "small"]),
        tables={"t.csv": rows("id,label", *((f"x{i}", AB[i % 2]) for i in range(12)))},
        refused="x0 may be large/x0.jpg or small/x0.jpg: .* --labels folders if the folders tell",
    ),
    "two containers, and classes in columns": dict(
        files=each("{s}/x{i}.jpg", 12, s=["clean", "dirty"]),
        tables={
            "t.csv": rows("img,cat,dog", *((f"x{i}.jpg", i % 2, 1 - i % 2) for i in range(12)))
        },
        refused="x0.jpg may be clean/x0.jpg or dirty/x0.jpg",
    ),
    "versions of class folders, and numbers of the classes": dict(
        files=[f"{v}/{c}/{c}{i}.jpg" for v in ("raw", "augmented") for c in AB for i in range(4)],
        tables={"t.csv": rows("img,label", *((f"{c}{i}.jpg", c) for c in AB for i in range(4)))},
        flags=dict(class_level=2),
        classes={"leaf": 8, "rust": 8},
    ),
    "a table for each split, whose pictures have the same names": dict(
        files=GRADED,
        tables=GRADES,
        flags=dict(label_column="Grade of it"),
        classes={"g0": 9, "g1": 9},
        splits={"train": 12, "test": 6},
        note="columns not used: Risk of it",
    ),
    "the table of one split with its siblings": dict(
        files=GRADED,
        tables=GRADES,
        flags=dict(labels=next(iter(GRADES)), file_column="Image name", label_column="Grade of it"),
        classes={"g0": 9, "g1": 9},
        splits={"train": 12, "test": 6},
    ),
    "a head line between blanks, and lines that end early": dict(
        files=numbered("set/m{i:02d}.pgm", 12),
        tables={"set/Info.txt": MIAS},
        classes={"CIRC": 6, "NORM": 6},
        said="2 classes from column CLASS of Info.txt",
    ),
    "a head line between tabs, files in the second column": dict(
        files=numbered("set/{i}.jpg", 12),
        tables={"images.txt": TABS},
        classes={"acer a": 6, "acer b": 6},
        said="2 classes from column species of images.txt",
    ),
    "a head line between commas in a list": dict(
        files=numbered("set/{i}.jpg", 12),
        tables={"set/list.txt": rows("image,class", *((f"{i}.jpg", AB[i % 2]) for i in range(12)))},
        classes=HALF,
        said="column class of list.txt",
    ),
    "Ground Truth": dict(
        files=numbered("images/{i}.jpg", 12),
        tables={
            "out/manifests/output/output.manifest": manifest(lambda i: job("rust-job", AB[i % 2]))
        },
        classes=HALF,
        said="2 classes from column label of output.manifest",
    ),
    "Ground Truth as JSON lines, a picture that failed": dict(
        files=numbered("images/{i}.jpg", 12),
        tables={
            "t.jsonl": manifest(
                lambda i: job("j", AB[i % 2]) if i else {"j-metadata": {"failure-reason": "x"}}
            )
        },
        flags=dict(skip_unlabelled=True),
        classes={"leaf": 5, "rust": 6},
        left=("rows without a label", 1),
    ),
    "Ground Truth with several labels": dict(
        files=numbered("images/{i}.jpg", 12),
        tables={
            "t.manifest": manifest(
                lambda i: {"j": [0, i % 2], "j-metadata": {"class-map": {"0": "a", "1": "b"}}}
            )
        },
        refused=r"several labels a picture \('a\|",
    ),
    "Ground Truth of two jobs": dict(
        files=numbered("images/{i}.jpg", 12),
        tables={
            "t.manifest": manifest(lambda i: job("leaf", AB[i % 2]) | job("soil", "wd"[i % 2]))
        },
        refused="--labels t.manifest --label-column with one of leaf, soil",
    ),
    "attributes beside a column of the class": dict(
        files=numbered("set/{i}.jpg", 12),
        tables={
            "metadata.csv": rows(
                "file_name,condition,itch,hurt",
                *((f"set/{i}.jpg", AB[i % 2], "True", str(i % 3 > 0)) for i in range(12)),
            )
        },
        refused="metadata.csv --label-column with one of condition",
    ),
    "a column called diagnostic among attributes": dict(
        files=numbered("set/{i}.jpg", 12),
        tables={
            "t.csv": rows(
                "img_id,diagnostic,itch,hurt",
                *((f"{i}.jpg", AB[i % 2], "True", str(i % 3 > 0)) for i in range(12)),
            )
        },
        classes=HALF,
    ),
    "several classes a picture": dict(
        files=numbered("set/{i}.jpg", 12),
        tables={
            "t.csv": rows(
                "img,sex,cat,dog",
                *((f"{i}.jpg", "mf"[i % 2], +(i % 3 > 0), i % 2) for i in range(12)),
            )
        },
        refused="several labels a picture",
    ),
    "rows that are of no class": dict(
        files=numbered("set/{i}.jpg", 12),
        tables={
            "t.csv": rows(
                "img,cat,dog", *((f"{i}.jpg", +(i % 3 == 1), +(i % 3 == 2)) for i in range(12))
            )
        },
        refused=r"no label \(4 rows have none\): what is neither of cat, dog may be a class",
    ),
    "a second column of pictures": dict(
        files=numbered("set/{i}.jpg", 12) + numbered("set/d{i}.jpg", 12),
        tables={
            "t.csv": rows(
                "case_id,diagnosis,clinic,derm",
                *((i, AB[i % 2], f"{i}.jpg", f"d{i}.jpg") for i in range(12)),
            )
        },
        classes=HALF,
        left=("images of the column derm", 12),
    ),
    "columns of pictures and of their folders are no labels": dict(
        files=[f"p/{k}{i}.tif" for i in range(12) for k in "ab"],
        tables={
            "t.csv": rows(
                "File_DAPI,Path_DAPI,File_Actin,Compound,Well",
                *((f"a{i}.tif", "p", f"b{i}.tif", AB[i % 2], f"B{i % 3}") for i in range(12)),
            )
        },
        refused="--file-column File_DAPI --label-column with one of Compound, Well$",
    ),
    "a second test folder": dict(
        files=[
            f"{s}/{c}/{i}.jpg"
            for s, n in (("train_another", 6), ("test", 3), ("test_another", 2))
            for c in AB
            for i in range(n)
        ],
        classes={"leaf": 11, "rust": 11},
        splits={"train": 12, "test": 10},
        said=r"splits test (test, test_another), train from folders",
    ),
    "a second test folder beside plain names": dict(
        files=each("train/{c}/{i}.jpg", 4, c=AB)
        + each("test/{c}/{i}.jpg", 2, c=AB)
        + each("test_2/{c}/{i}.jpg", 2, c=AB),
        classes={"leaf": 8, "rust": 8},
        splits={"train": 8, "test": 8},
    ),
    "a test folder of other classes stays out": dict(
        files=each("train/{c}/{i}.jpg", 4, c=AB)
        + each("test/{c}/{i}.jpg", 2, c=AB)
        + each("test_ood/{c}/{i}.jpg", 2, c=["moss", "soil"]),
        classes={"leaf": 6, "rust": 6},
        splits={"train": 8, "test": 4},
        left=("folders beside train/", 1),
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_table_layout_is_understood_or_refused(tmp_path, name):
    read_or_refused(tmp_path, TABLES[name])


def commands(text):
    """The values of each flag in a message that was meant to be pasted."""
    words = shlex.split(text.replace(",", " , "))
    return {w: words[n + 1] for n, w in enumerate(words[:-1]) if w.startswith("--")}


def test_names_with_blanks_are_quoted_and_work(tmp_path):
    build(tmp_path, GRADED, GRADES)
    with pytest.raises(DataError) as caught:
        read_layout(tmp_path, ReadingFlags())
    assert "--labels" not in str(caught.value)
    assert "'Grade of it'" in str(caught.value)
    one = {"t b.csv": GRADES["labels/a. Training Labels.csv"]}
    root = build(tmp_path / "one", GRADED[:12], one)
    with pytest.raises(DataError) as caught:
        read_layout(root, ReadingFlags())
    found = commands(str(caught.value).partition("pass ")[2])
    assert found["--labels"] == "t b.csv"
    assert found["--file-column"] == "Image name"
    flags = ReadingFlags(
        labels=found["--labels"], file_column=found["--file-column"], label_column="Grade of it"
    )
    assert read_layout(root, flags).classes == {"g0", "g1"}


def test_one_of_two_folders_is_read_as_told(tmp_path):
    build(tmp_path, TWO_FOLDERS, {"the table.csv": TOLD})
    with pytest.raises(DataError) as caught:
        read_layout(tmp_path, ReadingFlags())
    found = commands(str(caught.value).partition("data set, with ")[2].partition(", or pass")[0])
    for folder in ("raw", "small"):
        layout = read_layout(tmp_path / folder, ReadingFlags(labels=found["--labels"]))
        assert len(layout.entries) == len(EYES)
        assert layout.classes == set(AB)
    assert read_layout(tmp_path, ReadingFlags(labels="folders")).classes == {"raw", "small"}


def test_a_level_that_no_folder_has_is_no_traceback(tmp_path):
    put(tmp_path, *numbered("set/{i}.png", 6))
    with pytest.raises(DataError, match=r"outside class folders"):
        load_dataset(str(tmp_path), reading=ReadingFlags(class_level=2))


def test_lists_in_another_encoding_are_told(tmp_path):
    files = numbered("set/{i}.jpg", 12)
    names = "Müll\nÄste".encode("cp1252")
    table = rows("file,label", *((f"{i}.jpg", i % 2) for i in range(12)))
    build(tmp_path, files, {"t.csv": table, "classes.txt": names})
    notes = read_layout(tmp_path, ReadingFlags()).notes
    assert noted(notes, "classes.txt may hold the names of the classes and is not in UTF-8")
    listed = "\n".join(f"set/{i}.jpg Gerät{i % 2}" for i in range(12)).encode("cp1252")
    build(tmp_path / "list", files, {"list.txt": listed, "readme.txt": names})
    with pytest.raises(DataError, match=r"list.txt is no text in UTF-8"):
        read_layout(tmp_path / "list", ReadingFlags())


def test_a_way_out_with_blanks_can_be_pasted(tmp_path, capsys, monkeypatch):
    root = tmp_path / "my set"
    put(root, *TWO_FOLDERS)
    build(root, tables={"a table.csv": TOLD})
    monkeypatch.setattr("sys.argv", ["augment", "check", str(root), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    problem = json.loads(capsys.readouterr().out)["problems"][0]
    given, table = (
        shlex.split(problem.partition(f"{word} ")[2])[0] for word in ("or give", "--labels")
    )
    monkeypatch.setattr(
        "sys.argv", ["augment", "check", given, "--labels", table.rstrip(","), "--json"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    assert json.loads(capsys.readouterr().out)["classes"] == 2
