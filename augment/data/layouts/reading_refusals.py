"""Why a set is not read: its labels or its pictures lie where they are not looked for."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path, PurePosixPath

from augment.data.layouts.folder_layout import FolderLayout
from augment.data.layouts.folder_words import tokens
from augment.data.layouts.listing import Listing
from augment.data.layouts.reading_flags import FOLDERS, ReadingFlags
from augment.data.pictures.decode import SUFFIXES
from augment.data.raw import first_names
from augment.data.tables.columns import (
    LABEL_NAMES,
    are_records,
    is_group_name,
    is_number,
    plain_name,
)
from augment.data.tables.image_annotations import annotated_images
from augment.data.tables.label_tables import LabelTable
from augment.data.tables.table_search import FoundTables
from augment.data.tables.table_siblings import tables_of_splits

SHEETS = (".xlsx", ".xls", ".ods", ".mat", ".labels")  # tables that are not read
ARCHIVED = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")
# what holds pictures and is not read; a number of the part may follow
_STORES = re.compile(
    r"\.(tfrecords?|tfrec|h5|hdf5|lmdb|mdb|pkl|pickle|npy|mat|rec|bin|pt|pth|arrow)(-\d+-of-\d+)?$",
    re.IGNORECASE,
)
LEAST_IN_ORDER = 10  # labels of a table that are taken for those of as many images
MANY_NUMBERS = 64  # in a cell, or columns of them, are pixels
_AS_FILES = "write each picture as a PNG file in a folder of its class, or all as an .npz file"


def unread_labels(
    listing: Listing,
    labels: dict[str, str],
    folders: FolderLayout,
    found: FoundTables,
    flags: ReadingFlags,
) -> str:
    """Say where labels may lie that are not read, if no table tells them; or ""."""
    root = listing.root
    folders_tell = len(set(labels.values())) > 1 and not folders.refusal
    if not folders_tell:
        if found.boxes:
            return (
                f"{root / found.boxes} holds boxes, and no class a picture: --task detect learns "
                "boxes of COCO, Pascal VOC and YOLO; for classes export the set for "
                "classification (Roboflow: Folder Structure), or name a table with --labels"
            )
        if reason := _unsaid_label(found):
            return reason
    if not (found.is_metadata or flags.labels or flags.class_level):
        known = labels if folders_tell else {}
        if reason := annotated_images(root, listing.images, listing.others, known):
            return f"{root}: {reason}"
        if reason := _labels_in_order(found.apart, known or dict.fromkeys(listing.images, "")):
            return reason
    if not folders_tell and not folders.refusal and found.unread:
        return found.unread[0]
    if not folders_tell and found.foreign:
        return (
            f"{root / found.foreign[0]} names the images, in a form that is not read: write the "
            "class of each image into a table with the columns file_name and label and name it "
            "with --labels"
        )
    return ""


def described_folders(tables: list[LabelTable], labels: dict[str, str]) -> str:
    """Say that a table that names no images describes the folders, among other things; or "".

    So do tables of wells and plates, whose folders have numbers and are no classes without a word.
    `labels` holds the class of an image by path, as folders tell it.
    """
    folders = {label.lower() for label in labels.values()}
    if not all(re.search(r"\d", name) and re.search(r"[^\W\d]", name) for name in folders):
        return ""  # words and grades are classes
    for table in tables:
        for column in table.frame.columns if len(table.frame) >= len(labels) / 10 else ():
            cells = [cell.strip().lower() for cell in table.frame[column]]
            recur = len(set(cells)) < len(cells) and len(table.frame.columns) > 2
            known = len(folders & set(cells)) >= 0.9 * len(folders)
            if recur and known and plain_name(column) not in LABEL_NAMES:
                return (
                    f"{table.path} has the folders {first_names(sorted(set(labels.values())))} in "
                    f"its column {column}, and may tell other classes, but none of its columns "
                    "names images: write the path of each into a column file_name, or pass "
                    f"--labels {FOLDERS} if the folders are the classes"
                )
    return ""


def unread_images(listing: Listing) -> str:
    """Say what a set without image files holds instead, and the way out; "" for nothing known."""
    root = listing.root
    packed = [name for name in listing.others if name.lower().endswith(ARCHIVED)]
    if packed:
        each = "unpack it" if len(packed) == 1 else "unpack each into a folder of its own"
        more = f" and {len(packed) - 1} more" if len(packed) > 1 else ""
        return f"{root} holds no images, but {packed[0]}{more}: {each}"
    if arrays := [name for name in listing.others if name.lower().endswith(".npz")]:
        return f"{root} holds no images, but {arrays[0]}: give its path"
    if stores := [name for name in listing.others if _STORES.search(name)]:
        return f"{root} holds no images, but {stores[0]}, which augment does not read: {_AS_FILES}"
    bare = [name for name in listing.others if not PurePosixPath(name).suffix]
    if bare and _is_dicom(root / bare[0]):
        return (
            f"{root} holds no images but DICOM files without a suffix, such as {bare[0]}: give "
            "them the suffix .dcm"
        )
    for name in listing.others:
        is_table = PurePosixPath(name).suffix.lower() in (".csv", ".tsv", ".txt")
        if is_table and (where := _pixels_in(root / name)):
            return f"{root} holds no images, but pixels in {where} of {name}: {_AS_FILES}"
    return ""


def _is_dicom(file: Path) -> bool:
    """Tell whether a file has the mark of DICOM, after its first 128 bytes."""
    with file.open("rb") as opened:
        return opened.read(132)[128:] == b"DICM"


def _pixels_in(file: Path) -> str:
    """Name the column, or the columns, of a table whose cells are pixels; or ""."""
    with file.open(encoding="utf-8", errors="ignore") as opened:
        head, row = opened.readline(1_000_000), opened.readline(1_000_000)
    sign = max(",;\t", key=head.count)
    names, cells = ([c.strip().strip('"') for c in line.split(sign)] for line in (head, row))
    for name, cell in zip(names, cells, strict=False):
        numbers = re.split(r"[\s,]+", cell.strip(" []"))
        if len(numbers) >= MANY_NUMBERS and all(map(is_number, numbers)):
            return f"the column {name}"
    if len(cells) > MANY_NUMBERS and sum(map(is_number, cells)) > MANY_NUMBERS:
        return f"the columns {first_names(names[1:])}"
    return ""


def _labels_in_order(tables: list[LabelTable], labels: dict[str, str]) -> str:
    """Say that a table has a label for each image of a folder, or of all, and names none; or "".

    `labels` holds the class of an image by path, as folders tell it, or "".
    """
    sizes = {len(labels), *Counter(labels.values()).values()}
    for table in tables:
        frame = table.frame
        for column in frame.columns if len(frame) in sizes and len(frame) >= LEAST_IN_ORDER else ():
            called = plain_name(table.stem if table.headless else column)
            if called in LABEL_NAMES and 1 < frame[column].nunique() <= len(frame) / 2:
                folders = f", or pass --labels {FOLDERS} if the folders are the classes"
                return (
                    f"{table.path} has {len(frame)} labels (column {column}), as many as there are "
                    "images, and names none of these: write the path of each into a column "
                    f"file_name{folders if any(labels.values()) else ''}"
                )
    return ""


def _unsaid_label(found: FoundTables) -> str:
    """Say which columns may be the label, where a table names the images and none is surely it."""
    tables = [*found.lists, *found.tables]
    for named in sorted(tables, key=lambda each: -each.table.frame[each.columns.file].nunique()):
        columns, table = named.columns, named.table
        records = [name for name in table.frame if are_records(table.frame[name])]
        choices = columns.labels or [
            name
            for name in columns.unused(table.frame)
            if 1 < table.frame[name].nunique() <= max(20, len(table.frame) // 4)
            and table.frame[name].nunique() < len(table.frame)
        ]
        if table.headless and "1" in choices and all(map(is_number, table.frame["1"])):
            choices.remove("1")  # of a patient, or of the row
        choices = [
            name for name in choices if name not in records and not _names_files(table, name)
        ]
        given = ""
        if columns.file.lower() != "file_name":
            given = f" --file-column {shlex.quote(columns.file)}"
        if table.headless or not tables_of_splits(named, tables):
            given = f" --labels {shlex.quote(named.place)}{given}"
        head = {column.lower() for column in table.frame.columns}
        missing = " and ".join(sorted({"file_name", "label"} - head))
        lacks = (
            f"lacks the column {missing}"
            if found.is_metadata
            else "has no column that is surely the label"
        )
        if records and not columns.labels:
            return (
                f"{table.path} has JSON in its cells (column {first_names(records)}), where the "
                "label is not looked for: write the class into a column of its own, and name it "
                f"with{given} --label-column"
            )
        numeric = _numeric(columns.unused(table.frame), choices, table)
        if choices:
            return (
                f"{table.path} {lacks}, and its column {columns.file} names the images: pass"
                f"{given} --label-column with one of "
                f"{', '.join(map(shlex.quote, choices))}{numeric}"
            )
        if found.is_metadata:
            return f"{table.path} {lacks}, and no folders tell the classes"
    return ""


def _names_files(table: LabelTable, name: str) -> bool:
    """Tell whether a column names pictures, or the folders of such."""
    if "path" in tokens(name):
        return True
    cells = [cell.strip().lower() for cell in table.frame[name]]
    return any(cells) and all(cell.endswith(SUFFIXES) for cell in cells if cell)


def _numeric(names: list[str], choices: list[str], table: LabelTable) -> str:
    """Name the columns of numbers that are too many to be classes, or return ""."""
    rest = [name for name in names if name not in choices and not is_group_name(name)]
    numbers = [
        name for name in rest if any(table.frame[name]) and all(map(is_number, table.frame[name]))
    ]
    if not numbers:
        return ""
    return f" (augment learns classes, not the numbers of {first_names(numbers)})"
