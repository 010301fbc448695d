"""Tables of other forms, brought to one row an image: without a head line, or a row a folder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from augment.data.layouts.file_index import FileIndex
from augment.data.pictures.decode import SUFFIXES
from augment.data.tables.columns import is_group_name
from augment.data.tables.label_tables import VIDEOS, LabelTable
from augment.data.tables.text_frames import rows_frame

LISTS = (".txt", ".lst")  # whose cells stand between blanks
_HEAD_BYTES = 100_000  # of a file that is no table
_SAMPLE = 300  # rows that are looked at first
_SUFFIXES = "|".join(re.escape(suffix) for suffix in SUFFIXES)
_PICTURE = re.compile(rf"\w(?:{_SUFFIXES})(?![\w.])", re.IGNORECASE)
MIN_FOLDERS, MIN_PARTS = 0.5, 0.9  # share of the rows that must name a folder, a part of a name
MIN_HEADLESS = 0.9  # share of a column that must name images for its head to be one
CELEBA = {"0": "train", "1": "val", "2": "test"}  # as its README says


def with_head(table: LabelTable, index: FileIndex) -> LabelTable:
    """Take the head line for a row where it names an image: such a table has no head."""
    names = [str(name) for name in table.frame.columns]
    if table.headless:
        return _named_columns(_name_and_label(table, index), index)
    if table.path.suffix not in (".csv", ".tsv", ".tab"):
        return table
    if not any(_is_image(name, table.frame[name], table.folder, index) for name in names):
        return table
    columns = [str(n) for n in range(1, len(names) + 1)]
    rows = [names, *table.frame.itertuples(index=False, name=None)]
    frame = rows_frame(rows, columns)
    return LabelTable(table.path, table.folder, frame, [1, *table.lines], headless=True)


def _is_image(name: str, cells: Iterable[str], folder: str, index: FileIndex) -> bool:
    """Tell whether the head of a column is an image: with a suffix, or as those below it are."""
    if not re.search(r"[\d.]", name) or len(index.find(name, folder)) != 1:
        return False
    found = [bool(index.find(cell, folder)) for cell in islice(cells, _SAMPLE)]
    return "." in name or sum(found) >= MIN_HEADLESS * max(1, len(found))


def _name_and_label(table: LabelTable, index: FileIndex) -> LabelTable:
    """Part the lines of a list whose names of images have blanks, or whose labels have."""
    if table.path.suffix not in LISTS or not len(table.frame):
        return table
    lines = [" ".join(row) for row in table.frame.itertuples(index=False, name=None)]
    if len(table.frame.columns) > 1:  # paths of the set must begin most lines, one with blanks
        known = [_named_first(line, table.folder, index, exactly=True) for line in lines[:_SAMPLE]]
        if 2 * sum(map(bool, known)) < len(known) or not any(" " in name for name in known):
            return table
    names = [_named_first(line, table.folder, index) for line in lines[:_SAMPLE]]
    if 2 * sum(map(bool, names)) < len(names):
        return table
    names += [_named_first(line, table.folder, index) for line in lines[_SAMPLE:]]
    rests = [line[len(name) :].strip() for line, name in zip(lines, names, strict=True) if name]
    if all(rests):  # an image that is missing ends at the last blank
        ends = [name or line.rpartition(" ")[0] for name, line in zip(names, lines, strict=True)]
    elif any(rests):
        return table
    else:
        ends = lines
    rows = [(end, line[len(end) :].strip()) for end, line in zip(ends, lines, strict=True)]
    frame = rows_frame(rows, ["1", "2"])
    frame = frame if all(rests) else frame[["1"]]
    return LabelTable(table.path, table.folder, frame, table.lines, headless=True)


def _named_first(line: str, folder: str, index: FileIndex, *, exactly: bool = False) -> str:
    """Return the longest beginning of a line, up to a blank, that is one image; or ""."""
    name = line
    while name:
        if exactly and (name in index.images or folder + name in index.images):
            return name
        if not exactly and len(index.find(name, folder)) == 1:
            return name
        name = name.rpartition(" ")[0]
    return ""


def names_pictures(table: LabelTable) -> bool:
    """Tell whether at least half of the rows name pictures, be they of the set or not."""
    rows = table.frame.head(_SAMPLE).itertuples(index=False, name=None)
    named = [bool(_PICTURE.search(" ".join(row))) for row in rows]
    return bool(named) and 2 * sum(named) >= len(named)


def numbers_videos(table: LabelTable, column: str) -> bool:
    """Tell whether a column numbers the classes of videos, which another one names."""
    others = [name for name in table.frame if name != column]
    numbers = all(map(str.isdecimal, table.frame[column]))
    return numbers and any(_are_videos(table.frame[name]) for name in others)


def names_videos(table: LabelTable) -> bool:
    """Tell whether a column of a table names videos, be their frames of the set or not."""
    return any(_are_videos(table.frame[name]) for name in table.frame)


def _are_videos(cells: Iterable[str]) -> bool:
    """Tell whether cells name videos, whose frames are in folders of their names."""
    ends = [cell.strip().lower().endswith(VIDEOS) for cell in cells]
    return bool(ends) and all(ends)


def names_pictures_in(file: Path) -> bool:
    """Tell whether most lines of a text file of another encoding than UTF-8 name pictures."""
    raw = file.read_bytes()[:_HEAD_BYTES]
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        lines = raw.decode("latin-1").split("\n")
        named = sum(bool(_PICTURE.search(line)) for line in lines)
        return error.end < len(raw) and 2 * named >= len(lines)
    return False


def _named_columns(table: LabelTable, index: FileIndex) -> LabelTable:
    """Take the first row of a list for its head where it names no image and all others do."""
    frame = table.frame
    names = [cell.strip() for cell in frame.iloc[0]] if len(frame) > 1 else []
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        return table
    for column, name in zip(frame.columns, names, strict=True):
        first, *rest = frame[column]
        if "." in name or index.find(first, table.folder):
            continue  # the name of a file that is missing is no head
        if all(index.find(cell, table.folder) for cell in rest):
            break
    else:
        return table
    frame = frame.iloc[1:].set_axis(names, axis=1).reset_index(drop=True)
    return LabelTable(table.path, table.folder, frame, table.lines[1:])


def with_splits(table: LabelTable) -> LabelTable:
    """Write CelebA's list_eval_partition as words: 0 is train, 1 is val, 2 is test."""
    names = list(table.frame.columns)
    if table.stem != "list_eval_partition" or len(names) != 2:
        return table
    cells = [cell.strip() for cell in table.frame[names[1]]]
    if not set(cells) <= CELEBA.keys():
        return table
    parts = [CELEBA[cell] for cell in cells]
    frame = rows_frame([*zip(table.frame[names[0]], parts, strict=True)], ["image_id", "partition"])
    return LabelTable(table.path, table.folder, frame, table.lines)


def row_an_image(table: LabelTable, index: FileIndex, column: str = "") -> LabelTable | None:
    """Repeat each row for all images that it names by a folder, or by a part of their names.

    The folder may stand in a path, as of DICOM files that were converted; of a patient's folder a
    part may be named. A label that holds for a whole folder, of a patient say, makes that folder a
    group. `column`: the one to look at. Returns None if rows name neither.
    """
    columns = [n for n in table.frame.columns if not column or n.lower() == column.lower()]
    for images, least in (
        (index.by_folder, MIN_FOLDERS),
        (index.by_part, MIN_PARTS),
        (index.by_folder_part, MIN_PARTS),
    ):
        if (found := _repeated(table, columns, images, least)) is not None:
            return found
    return None


def _key(cell: str, images: dict[str, list[str]]) -> str:
    """Return what a cell names images by: itself, or the last folder in a path that is known.

    The frames of a video, CLASS/clip.avi, lie in a folder of its name.
    """
    cell = cell.strip().lower().replace("\\", "/")
    if "/" not in cell or cell in images:
        return cell
    if cell.endswith(VIDEOS):  # not that of its class
        return cell.rpartition("/")[2].rpartition(".")[0]
    return next((name for name in reversed(cell.split("/")[:-1]) if name in images), cell)


def _repeated(
    table: LabelTable, columns: list[str], images: dict[str, list[str]], least: float
) -> LabelTable | None:
    """Repeat each row for the images that a cell of it names; None if fewer than `least` do."""
    best, matched = "", 1
    for column in columns:
        cells = {_key(cell, images) for cell in table.frame[column]}
        named = cells & images.keys()
        if len(named) > matched and len(named) >= least * len(cells):
            best, matched = column, len(named)
    rest = [name for name in table.frame.columns if name != best]
    told = any(1 < table.frame[n].nunique() < len(table.frame) for n in rest)
    if not best or not (told or _are_videos(table.frame[best])):
        return None  # or a list of the classes themselves
    cells = [_key(cell, images) for cell in table.frame[best]]
    picks = [(n, path) for n, cell in enumerate(cells) for path in images.get(cell, ())]
    if len({path for _, path in picks}) < len(picks):
        return None  # a folder that stands in another one, or in two rows
    frame = table.frame.iloc[[n for n, _ in picks]].reset_index(drop=True)
    if not any(map(is_group_name, frame.columns)):
        frame = frame.rename(columns={best: "group"})
    frame.insert(0, "file_name", [path for _, path in picks])
    return LabelTable(table.path, "", frame, [table.lines[n] for n, _ in picks])
