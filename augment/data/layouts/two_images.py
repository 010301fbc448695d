"""Cells of a table that may mean two images, as 1.jpg where raw/1.jpg and resized/1.jpg exist."""

from __future__ import annotations

import shlex
from itertools import takewhile
from pathlib import Path

from augment.data.layouts.file_index import FileIndex
from augment.data.layouts.reading_flags import FOLDERS
from augment.data.tables.columns import Columns
from augment.data.tables.label_tables import LabelTable

MOST_NAMED_ONCE = 0.9  # share of the rows; names that recur are counted anew in each folder


def two_images(root: Path, table: LabelTable, where: str, paths: list[str]) -> str:
    """Say which two images a cell may mean, and how to read the table for one folder alone."""
    one, other = (path.split("/")[:-1] for path in paths[:2])
    pairs = zip(one, other, strict=False)
    n_shared = len([*takewhile(lambda pair: pair[0] == pair[1], pairs)])
    tops = ["/".join(dirs[: n_shared + 1]) for dirs in (one, other) if len(dirs) > n_shared]
    folders = " or ".join(shlex.quote(str(root / top)) for top in tops)
    alone = (
        f", or give {folders} as the data set, with --labels {shlex.quote(str(table.path))}"
        if tops
        else ""
    )
    return f"{where} may be {paths[0]} or {paths[1]}: write its path into the table{alone}"


def ambiguous_cell(table: LabelTable, columns: Columns, index: FileIndex) -> tuple[int, list[str]]:
    """Return the first row that may mean several images, and these; none: row -1."""
    for row, cell in enumerate(table.frame[columns.file]):
        if len(found := index.find(cell, table.folder)) > 1:
            return row, found
    return -1, []


def adds_labels(
    table: LabelTable, columns: Columns, index: FileIndex, labels: dict[str, str]
) -> bool:
    """Tell whether a table with such cells tells classes that the folders do not.

    `labels` holds the class of an image by path, as folders tell it.
    """
    files = table.frame[columns.file]
    if files.nunique() < MOST_NAMED_ONCE * len(files):
        return False
    if not columns.label:
        return bool(columns.one_hot or columns.labels)
    told = [cell.strip() for cell in table.frame[columns.label]]
    pairs = {
        (labels.get(path, ""), label)
        for cell, label in zip(files, told, strict=True)
        for path in index.find(cell, table.folder)
    }
    return not len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def unclear_labels(
    root: Path, tables: list[tuple[LabelTable, Columns]], index: FileIndex, labels: dict[str, str]
) -> str:
    """Say that a table tells labels by names that two folders hold, which do not; or ""."""
    for table, columns in tables:
        row, paths = ambiguous_cell(table, columns, index)
        if paths and adds_labels(table, columns, index, labels):
            where = f"{table.where(row)}: {table.frame[columns.file].iloc[row]}"
            folders = f", or pass --labels {FOLDERS} if the folders tell the classes"
            return two_images(root, table, where, paths) + folders
    return ""
