"""The tables of a set: metadata.csv and its kin, or any other that names its images.

Which of several tables counts is decided in `table_choice`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from augment.data.layouts.file_index import FileIndex
from augment.data.layouts.folder_words import split_word, tokens
from augment.data.layouts.reading_flags import FOLDERS, ReadingFlags
from augment.data.layouts.two_images import ambiguous_cell
from augment.data.raw import first_names
from augment.data.tables.columns import Columns, find_columns
from augment.data.tables.label_tables import LabelTable, read_table, tables_beside
from augment.data.tables.label_values import NAME_FILES
from augment.data.tables.table_forms import (
    names_pictures,
    names_pictures_in,
    names_videos,
    numbers_videos,
    row_an_image,
    with_head,
    with_splits,
)
from augment.data.tables.table_rows import NamedTable
from augment.errors import DataError, MachineError, UsageError

METADATA = re.compile(r"metadata\.(csv|tsv|jsonl|ndjson|json|parquet)", re.IGNORECASE)
ROBOFLOW = "_classes.csv"  # in each split's folder
BOXES = "_annotations."  # .coco.json, .csv and the like: Roboflow's exports for detection
TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".parquet")
RECORDS = (".json", ".geojson", ".jsonl", ".ndjson")
OFTEN_OTHERS = (".txt", ".xml", ".json", ".manifest")
MAX_TABLE_BYTES = 100_000_000  # of a table that nobody named
MIN_COVERED = 0.9  # share of all images that metadata.csv files of sub-folders must name
MIN_FOUND = 0.5  # share of the rows, or of the images, that a table names to be one of the set


@dataclass
class FoundTables:
    """The tables of a set that name its images."""

    tables: list[NamedTable] = field(default_factory=list)
    lists: list[NamedTable] = field(default_factory=list)  # without a label
    is_metadata: bool = False
    notes: list[str] = field(default_factory=list)  # of tables that are not used
    unread: list[str] = field(default_factory=list)  # why tables are not read
    boxes: str = ""  # a file of boxes, for detection
    apart: list[LabelTable] = field(default_factory=list)  # of which no column names images
    foreign: list[str] = field(default_factory=list)  # files that name images in another form
    # of which a cell may mean two images
    twofold: list[tuple[LabelTable, Columns]] = field(default_factory=list)


def named_table(root: Path, flags: ReadingFlags, index: FileIndex) -> FoundTables:
    """Read the table of --labels, a path in the data set or on its own; UsageError if missing."""
    given = Path(str(flags.labels))
    path = next((p for p in (root / given, given) if p.is_file()), None)
    if path is None:
        raise UsageError(f"--labels {given}: no such file in {root}, nor by itself")
    inside = path.resolve().is_relative_to(root.resolve())
    folder = path.resolve().relative_to(root.resolve()).parent.as_posix() if inside else "."
    table = with_splits(read_table(path, "" if folder == "." else f"{folder}/"))
    table = with_head(table, index)
    columns = find_columns(table, index, flags)
    unnamed = (
        columns is None
        or not any(index.find(cell, table.folder) for cell in table.frame[columns.file])
        or numbers_videos(table, columns.file)
    )
    by_folder = row_an_image(table, index, flags.file_column or "") if unnamed else None
    if by_folder is not None:
        found_there = replace(flags, file_column=None)
        table, columns = by_folder, find_columns(by_folder, index, found_there)
    if columns is None:
        raise DataError(
            f"{path}: no column names images of {root}: say which with --file-column "
            f"({', '.join(map(str, table.frame.columns)) or 'it has none'})"
        )
    return FoundTables([NamedTable(table, columns)])


def metadata_tables(
    root: Path, others: list[str], index: FileIndex, flags: ReadingFlags
) -> FoundTables:
    """Read metadata.csv (.tsv, .jsonl, .parquet) of the root, else those of the folders below."""
    named = [name for name in others if METADATA.fullmatch(name.rpartition("/")[2])]
    top = [name for name in named if "/" not in name]
    roboflow = [name for name in others if name.rpartition("/")[2] == ROBOFLOW]
    found = FoundTables(is_metadata=bool(top or named or roboflow))
    for name in top[:1] or named or roboflow:
        folder = name.rpartition("/")[0]
        table = read_table(root / name, f"{folder}/" if folder else "")
        columns = find_columns(table, index, flags)
        if columns is None:
            head = {column.lower() for column in table.frame.columns}
            missing = sorted({"file_name", "label"} - head)
            raise DataError(
                f"{table.path} lacks the column {' and '.join(missing)}, and no other column names "
                "the images: write the path of each image into a column file_name, or pass "
                f"--labels {FOLDERS} if the folders tell the classes"
            )
        if not len(table.frame):
            continue
        (found.tables if columns.label or columns.one_hot else found.lists).append(
            NamedTable(table, columns, _split_of(folder.rpartition("/")[2] or folder))
        )
    if top[1:]:
        found.notes.append(f"not used: {', '.join(top[1:])}, beside {top[0]}")
    if named and not top and _share_named(found, index) < MIN_COVERED:
        return FoundTables()  # of a folder here and there
    used = [*named, *roboflow]
    sheets = [name for name in tables_beside(others, "") if name.endswith(TABLE_SUFFIXES)]
    if used and (rest := [n for n in sheets if n not in used and "submission" not in tokens(n)]):
        found.notes.append(f"not used: {first_names(rest)}, beside {used[0]}")
    return found


def _share_named(found: FoundTables, index: FileIndex) -> float:
    """Return the share of all images that tables name."""
    named = {
        path
        for each in (*found.tables, *found.lists)
        for cell in each.table.frame[each.columns.file]
        for path in index.find(cell, each.table.folder)
    }
    return len(named) / max(1, len(index.images))


def other_tables(
    root: Path, others: list[str], index: FileIndex, flags: ReadingFlags
) -> FoundTables:
    """Read the tables, of whatever name, whose rows name images of the set."""
    found = FoundTables()
    for name in tables_beside(others, ""):
        if NAME_FILES.fullmatch(name.rpartition("/")[2]) and name.endswith((".txt", ".json")):
            continue
        folder = name.rpartition("/")[0]
        if name.rpartition("/")[2].startswith(BOXES):
            found.boxes = found.boxes or name
            continue
        if "submission" in tokens(name):  # what a competition wants to have filled in
            found.notes.append(f"not used: {name}")
            continue
        if (root / name).stat().st_size > MAX_TABLE_BYTES:
            most = MAX_TABLE_BYTES // 10**6
            found.notes.append(f"not used: {name}, which is larger than {most} MB")
            continue
        try:
            table = with_splits(read_table(root / name, f"{folder}/" if folder else ""))
            table = with_head(table, index)
            columns = find_columns(table, index, flags)
            unnamed = columns is None or not _names_images(table, columns.file, index)
            if columns is None or unnamed or numbers_videos(table, columns.file):
                by_folder = row_an_image(table, index)
                if by_folder is None and unnamed:
                    found.apart.append(table)
                    if name.endswith(RECORDS) and index.named_in(root / name):
                        found.foreign.append(name)
                        continue
                    what = f"not used: {name}, whose rows name no pictures here, or too few"
                    found.notes += [what] if names_pictures(table) or names_videos(table) else []
                    continue
                if by_folder is not None:
                    table, columns = by_folder, find_columns(by_folder, index, flags)
        except (DataError, MachineError) as error:
            if name.endswith(RECORDS) and index.named_in(root / name):
                found.foreign.append(name)
            # of these kinds are many other things
            if not name.endswith(OFTEN_OTHERS) or names_pictures_in(root / name):
                found.notes.append(f"not used: {error}")
                found.unread.append(str(error))
            continue
        except UsageError:
            continue  # without the column that a flag names
        if columns is None:
            continue
        split = _split_of(table.stem) or _split_of(folder.rpartition("/")[2])
        named = NamedTable(table, columns, split)
        row, several = ambiguous_cell(table, columns, index)
        if several and not named.split:
            cell = table.frame[columns.file].iloc[row]
            found.notes.append(f"not used: {name}, where {cell} may be {' or '.join(several[:2])}")
            found.twofold.append((table, columns))
        else:
            (found.tables if named.labelled else found.lists).append(named)
    return found


def _split_of(name: str) -> str:
    """Return the split that a table or its folder is named after, or ""."""
    word = split_word(name)
    return word[0] if word and word[0] != "unlabelled" else ""


def _names_images(table: LabelTable, column: str, index: FileIndex) -> bool:
    """Tell whether a table is one of this set: its rows name images, or most images are named."""
    cells = table.frame[column].tolist()
    hits = {path for cell in cells if cell for path in index.find(cell, table.folder)[:1]}
    if len(hits) < 2:
        return False
    return len(hits) >= MIN_FOUND * min(len(set(cells)), len(index.images)) or (
        len(hits) >= 0.1 * len(index.images) and len(hits) >= 0.9 * len(set(cells))
    )
