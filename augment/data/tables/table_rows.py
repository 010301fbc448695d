"""The rows of tables as entries: found on the disk, with label, split and group, or refused."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

from augment.data.layouts.entries import SPLITS, ImageEntry
from augment.data.layouts.file_index import FileIndex
from augment.data.layouts.folder_words import MORE_SPLITS, split_word
from augment.data.layouts.listing import lies_inside
from augment.data.layouts.reading_flags import FOLDERS
from augment.data.layouts.two_images import two_images
from augment.data.tables.columns import Columns
from augment.data.tables.label_tables import LabelTable, read_table
from augment.data.tables.label_values import row_labels
from augment.errors import DataError


@dataclass
class NamedTable:
    """A table of images with its columns, and the split that its name or folder tells."""

    table: LabelTable
    columns: Columns
    split: str = ""

    @property
    def labelled(self) -> bool:
        """Whether it tells the class of its images."""
        return bool(self.columns.label or self.columns.one_hot)

    @property
    def place(self) -> str:
        """Path of the file below the set, as --labels takes it."""
        return f"{self.table.folder}{self.name}"

    @property
    def name(self) -> str:
        """Name of the file, for sentences."""
        return self.table.path.name


@dataclass
class Rows:
    """What tables say, row by row."""

    entries: list[ImageEntry] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)  # "FILE line N: IMAGE"
    missing: list[tuple[str, str]] = field(default_factory=list)  # image, line of the table
    synthetic: int = 0
    by_name: int = 0  # images that were found by their name, not by their path


def read_rows(
    root: Path, tables: list[NamedTable], index: FileIndex, folder_labels: dict[str, str]
) -> Rows:
    """Read the rows of tables; DataError names the line at fault.

    `folder_labels` holds the class of an image by path, for tables that tell none.
    """
    rows = Rows()
    seen: dict[str, ImageEntry] = {}
    torn: dict[str, str] = {}  # image → its labels, where rows tell several
    for named in tables:
        columns, table = named.columns, named.table
        cells = table.frame[columns.file].tolist()
        labels = row_labels(table.frame, columns, str(table.path)) if named.labelled else None
        splits = _row_splits(named)
        groups = _column(named, columns.group)
        sources = _column(named, columns.source)
        for number, cell in enumerate(cells):
            path = _find(root, named, index, number, cell)
            label = labels[number] if labels is not None else folder_labels.get(path, "")
            if not label:
                rows.unlabelled.append(f"{table.where(number)}: {cell}")
                continue
            if not path:
                rows.missing.append((cell, table.where(number)))
                continue
            split = "synthetic" if sources[number] == "synthetic" else splits[number]
            rows.synthetic += split == "synthetic"
            rows.by_name += path not in (cell, table.folder + cell)
            entry = ImageEntry(root / path, path, label, split, groups[number])
            key = os.path.normpath(path)
            if key not in seen:
                seen[key] = entry
                rows.entries.append(entry)
            elif entry.label != seen[key].label:
                both = " and as ".join(sorted({entry.label, seen[key].label}))
                torn.setdefault(key, f"{table.path} names {cell} twice, as {both}")
            elif table.stem == "metadata" or entry != seen[key]:
                folders = f", or pass --labels {FOLDERS}" if table.stem != "metadata" else ""
                raise DataError(f"{table.path} names {cell} twice: leave one line of it{folders}")
    if torn:
        more = f" ({len(torn)} images have several labels)" if len(torn) > 1 else ""
        which = "each, or leave these images out" if more else "it"
        raise DataError(f"{next(iter(torn.values()))}{more}: leave one line of {which}")
    return rows


def _column(named: NamedTable, name: str) -> list[str]:
    """Return the cells of a column without blanks around them; empty ones if there is none."""
    frame = named.table.frame
    return [cell.strip() for cell in frame[name]] if name else [""] * len(frame)


def _row_splits(named: NamedTable) -> list[str]:
    """Return the split of each row, by the column or by the table's own name."""
    if not named.columns.split:
        return [named.split] * len(named.table.frame)
    found = []
    for number, cell in enumerate(_column(named, named.columns.split)):
        split = MORE_SPLITS.get(cell.lower(), "")
        if cell and split not in SPLITS.values():
            raise DataError(
                f"{named.table.where(number)}: split '{cell}' is none of {', '.join(SPLITS)}"
            )
        found.append(split)
    return found


def _find(root: Path, named: NamedTable, index: FileIndex, row: int, cell: str) -> str:
    """Find the image of a row, relative to the root; "" where it does not exist."""
    found = index.find(cell, named.table.folder)
    if len(found) > 1 and named.split:  # train.csv and test.csv may both name 1.png
        words = [[split_word(each) for each in path.split("/")[:-1]] for path in found]
        fits = [any(word and word[0] == named.split for word in each) for each in words]
        found = list(compress(found, fits)) or found
    if len(found) > 1:
        raise DataError(two_images(root, named.table, f"{named.table.where(row)}: {cell}", found))
    if found:
        return found[0]
    path = named.table.folder + cell
    if "\0" in cell or not lies_inside(root / path, root):
        raise DataError(f"{named.table.where(row)} names {cell!r}, outside its folder")
    # a file of another suffix, in a hidden folder or no file at all: whoever opens it will tell
    return path if os.path.lexists(root / path) else ""


def cub_splits(named: NamedTable, rows: Rows) -> dict[str, str]:
    """Read train_test_split.txt beside images.txt, both by number: 1 is train, 0 is test."""
    file = named.table.path.with_name("train_test_split.txt")
    if not (named.table.headless and named.table.path.name == "images.txt" and file.is_file()):
        return {}
    marks = read_table(file).frame
    if len(marks.columns) != 2 or len(rows.entries) != len(named.table.frame):
        return {}
    is_train = dict(zip(marks["1"], marks["2"], strict=True))
    numbers = named.table.frame["1"]
    return {
        entry.name: "train" if is_train.get(number) == "1" else "test"
        for entry, number in zip(rows.entries, numbers, strict=True)
    }
