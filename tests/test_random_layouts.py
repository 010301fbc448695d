"""Random trees, tables and splits against a slow reader: the same answer, or a refusal.

The reference knows how each set was made; it never looks at how the reader works. What it was
made as is the only right answer, so anything else must be refused in a sentence.
"""

import csv
import io
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from augment.data.layouts.reading import read_layout
from augment.data.layouts.reading_flags import ReadingFlags
from augment.errors import AugmentError

CLASSES = ["cat", "dog", "leaf rust", "no finding", "Ärger", "0", "1", "2", "10", "type_1", "=A1"]
PARTS = {"train": 6, "val": 3, "test": 3}


@dataclass
class Made:
    """A set as it was meant: path → (class, split, group), and its tables."""

    meant: dict = field(default_factory=dict)
    tables: dict = field(default_factory=dict)
    others: list = field(default_factory=list)  # that must not count
    groups: bool = False  # whether groups must be found


@st.composite
def sets(draw):
    """Choose a layout of class folders or of a table, and what lies around it."""
    classes = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True))
    kind = draw(st.sampled_from(["folders", "split", "split below", "video", "patient", "table"]))
    top = draw(st.sampled_from(["", "", "set/", "My data/archive/"]))
    named = draw(st.sampled_from(["{n}.png", "IMG_{n:04d}.JPG", "{c}-{n}.jpeg", "photo {n}.tif"]))
    made, n = Made(), 0
    for c in classes:
        for part, count in PARTS.items() if kind in ("split", "split below") else [("", 6)]:
            for k in range(count):
                n += 1
                name = named.format(n=n, c=c)
                video, patient = f"video{n // 3:03d}", f"patient_{k % 3:02d}"
                path, group = {
                    "folders": (f"{c}/{name}", ""),
                    "split": (f"{part}/{c}/{name}", ""),
                    "split below": (f"{c}/{part}/{name}", ""),
                    "video": (f"{c}/{c[0]}_{video}/{name}", f"{c}/{c[0]}_{video}"),
                    "patient": (f"{patient}/{c}/{name}", patient),
                    "table": (f"pictures/{name}", f"P{n // 2}"),
                }[kind]
                made.meant[top + path] = (c, part, group)
    made.groups = kind in ("video", "patient")
    if kind == "table":
        add_table(draw, made, top)
    add_clutter(draw, made, top, [*classes] if kind == "folders" else [])
    return made


def add_table(draw, made, top):
    """Write the labels into a table of some form, with groups or splits or neither."""
    columns = draw(st.sampled_from(["", "group", "split", "patient_id"]))
    form = draw(st.sampled_from([",", ";", "\t", "jsonl", "json"]))
    naming = draw(st.sampled_from(["path", "name", "stem"]))
    metadata = draw(st.booleans())
    head = ["file_name" if metadata else draw(st.sampled_from(["image", "filename", "id_code"]))]
    head += ["label" if metadata else draw(st.sampled_from(["label", "class", "diagnosis"]))]
    head += [columns] if columns else []
    rows = []
    for number, (path, (label, _, group)) in enumerate(made.meant.items()):
        split = "train" if number % 4 else "test"
        cell = path.removeprefix(top)
        cell = cell if naming == "path" else cell.rpartition("/")[2]
        cell = cell.rpartition(".")[0] if naming == "stem" else cell
        rows.append([cell, label, *([split if columns == "split" else group] if columns else [])])
        split, group = split if columns == "split" else "", group if columns in head[2:] else ""
        made.meant[path] = (label, split, "" if columns == "split" else group)
    made.groups = columns in ("group", "patient_id")
    stem = "metadata" if metadata else "my labels"
    if form.startswith("json"):
        records = [dict(zip(head, row, strict=True)) for row in rows]
        text = "\n".join(map(json.dumps, records)) if form == "jsonl" else json.dumps(records)
        made.tables[f"{top}{stem}.{form}"] = text
    else:
        text = io.StringIO()
        csv.writer(text, delimiter=form).writerows([head, *rows])
        made.tables[f"{top}{stem}.{'tsv' if form == chr(9) else 'csv'}"] = text.getvalue()


def add_clutter(draw, made, top, classes):
    """Add what lies about: hidden folders, read-me files, masks, a copy of the set in itself."""
    if draw(st.booleans()):
        made.others += ["__MACOSX/a/1.png", ".cache/2.png", f"{top}.DS_Store"]
    if draw(st.booleans()):
        made.tables |= {"README.txt": "About this set.\nIt is ours.", "licence.pdf": "x"}
    if draw(st.booleans()):
        made.tables["info.csv"] = "date,place\n2024-01-01,here\n2024-01-02,there\n"
    if classes and draw(st.booleans()):
        made.others += [f"{p.rpartition('.')[0]}_mask.png" for p in list(made.meant)[:3]]
    if classes and draw(st.booleans()):
        made.others += [f"{top}copy/{path.removeprefix(top)}" for path in made.meant]


def write(root, made):
    for name in [*made.meant, *made.others, *made.tables]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(made.tables.get(name, ""), encoding="utf-8")


@given(made=sets())
@settings(max_examples=300, deadline=None)
def test_random_set_is_read_as_it_was_meant_or_refused(made):
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), made)
        refusal, entries = None, []
        try:
            entries = read_layout(Path(folder), ReadingFlags()).entries
        except AugmentError as error:
            refusal = error
    if refusal is not None:
        assert refusal.exit_code == 3
        assert "\n" not in str(refusal)
        return
    found = {entry.name: entry for entry in entries}
    assert found.keys() == made.meant.keys()
    for path, (label, split, group) in made.meant.items():
        assert (found[path].label, found[path].split) == (label, split)
        if made.groups:
            assert found[path].group == group


WORDS = """
    train test val images masks cat dog patient_1 patient_2 fold1 fold2 part_a set 0 1 0001 class_1
    Test seg_train seg_test a.b mask copy data
""".split()
FOLDERS = st.lists(st.sampled_from(WORDS), max_size=4).map("/".join)
NAMES = st.sampled_from(
    ["1.png", "2.jpg", "1_mask.png", "patient1_2.png", "x.gif", "a.txt", "b.nii"]
)
CELLS = st.sampled_from(
    ["1.png", "1", "x", "cat", "a|b", "", "0", "2.5", "train", "../1.png", "\0", '"']
)
TABLES = st.tuples(
    FOLDERS,
    st.sampled_from("metadata.csv labels.csv train.txt images.txt x.json metadata.jsonl".split()),
    st.lists(
        st.sampled_from(["file_name", "label", "group", "split", "image", "dx", "source"]),
        max_size=4,
    ),
    st.lists(st.lists(CELLS, max_size=4), max_size=5),
    st.sampled_from([",", ";", "\t", " "]),
)


@given(
    paths=st.lists(st.tuples(FOLDERS, NAMES), max_size=25, unique=True),
    tables=st.lists(TABLES, max_size=2),
    flags=st.sampled_from([{}, {"class_level": 1}, {"group_by": "name"}, {"labels": "folders"}]),
)
@settings(max_examples=300, deadline=None)
def test_any_tree_is_read_whole_or_refused(paths, tables, flags):
    """Each image is read or counted among what was left out; no label comes out of nowhere."""
    files = {"/".join(filter(None, pair)): "" for pair in paths}
    cells = set()
    for folder, name, head, lines, sign in tables:
        text = "\n".join(sign.join(line) for line in [head, *lines])
        if name.endswith(("json", "jsonl")):
            text = json.dumps([dict(zip(head, line, strict=False)) for line in lines])
        files["/".join(filter(None, (folder, name)))] = text
        cells |= {cell.strip() for line in [head, *lines] for cell in line}
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            (Path(root) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(root) / name).write_text(text)
        refusal, layout = "", None
        try:
            layout = read_layout(Path(root), ReadingFlags(**flags))
        except AugmentError as error:
            refusal = str(error)
    if layout is None:
        assert refusal
        assert "\n" not in refusal
        return
    images = {name for name in files if name.endswith((".png", ".jpg", ".gif"))}
    found = [entry.name for entry in layout.entries]
    assert len(found) == len(set(found))
    beside = {f"{folder}/" for folder in layout.left_out["folders beside train/"]}
    left = {name for names in layout.left_out.values() for name in names}
    for name in images - set(found) - left:
        assert any(f"/{folder}" in f"/{name}" for folder in beside), name
    assert {entry.label for entry in layout.entries} <= cells | set("/".join(files).split("/"))
