"""`metadata.csv` of a folder of images: file_name,label[,group][,split], one line an image.

The columns may stand in any order and case; others are ignored. File names are relative to the
folder and may not lead out of it.
"""

from __future__ import annotations

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from augment.data.entries import SPLITS, ImageEntry, image_files, lies_inside
from augment.errors import DataError
from augment.storage.tables import unguarded

METADATA_COLUMNS = ("file_name", "label", "group", "split")


def metadata_entries(root: Path) -> list[ImageEntry]:
    """Read `metadata.csv`; DataError names the line at fault, or a file that has two lines."""
    entries = list(_read_rows(root))
    _refuse_repeats(root, entries)
    return entries


def unnamed_images(root: Path, entries: list[ImageEntry]) -> list[str]:
    """List the images in the folder that no entry names."""
    named = {os.path.normpath(entry.path) for entry in entries}
    files = image_files(root, root, defaultdict(list))
    return [f.relative_to(root).as_posix() for f in files if os.path.normpath(f) not in named]


def _refuse_repeats(root: Path, entries: list[ImageEntry]) -> None:
    """Raise DataError if a file has two lines: it would count twice, or under two labels."""
    counts = Counter(os.path.normpath(entry.path) for entry in entries)
    if repeats := [e.name for e in entries if counts[os.path.normpath(e.path)] > 1]:
        raise DataError(f"{root / 'metadata.csv'} names {repeats[0]} twice: leave one line of it")


def _read_rows(root: Path) -> Iterator[ImageEntry]:
    """Yield an entry a row."""
    table = root / "metadata.csv"
    try:
        # utf-8-sig: a spreadsheet puts a byte order mark first
        with table.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            columns = [name.strip().lower() for name in reader.fieldnames or []]
            if repeats := [name for name in METADATA_COLUMNS if columns.count(name) > 1]:
                raise DataError(f"{table} has the column {repeats[0]} twice: leave one")
            reader.fieldnames = columns
            missing = {"file_name", "label"} - set(columns)
            if missing:
                raise DataError(f"{table} lacks the column {' and '.join(sorted(missing))}")
            for row in reader:
                yield _parse_row(root, f"{table} line {reader.line_num}", row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{table} is no CSV in UTF-8: {error}") from None


def _parse_row(root: Path, where: str, row: dict[str, str]) -> ImageEntry:
    """Parse one row; DataError names its line, `where`."""
    # csv.DictReader: surplus cells lie under the key None, missing ones are None
    if None in row or None in row.values():
        raise DataError(f"{where} has another number of cells than the head line")
    name, label = row["file_name"], unguarded(row["label"])  # `augment export` guards it
    split = row.get("split", "").strip().lower()
    if not label:
        raise DataError(f"{where}: {name} has no label")
    if "\0" in name or not lies_inside(root / name, root):
        raise DataError(f"{where} names {name!r}, outside its folder")
    if split and split not in SPLITS:
        raise DataError(f"{where}: split '{split}' is none of {', '.join(SPLITS)}")
    return ImageEntry(root / name, name, label, SPLITS.get(split, ""), row.get("group", "").strip())
