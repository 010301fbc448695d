"""Tables beside images, of any of the usual kinds, as text in one DataFrame each.

CSV with comma, semicolon, tab or bar, JSON (lines), parquet, and lists in .txt files. Cells stay
text: a class may be called NA, None or 007.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from augment.data.pictures.decode import SUFFIXES
from augment.data.tables.annotation_files import read_json, read_xml, text_frame
from augment.data.tables.text_frames import rows_frame
from augment.errors import DataError, MachineError

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = (",", ";", "\t", "|")
VIDEOS = (".avi", ".mp4", ".mov", ".mkv", ".webm", ".mpg", ".mpeg")  # whose frames are a folder


@dataclass
class LabelTable:
    """A table with one row an image."""

    path: Path
    folder: str  # that its file names are relative to: "" or with a slash
    frame: pd.DataFrame  # text
    lines: list[int]  # of the file, one a row
    headless: bool = False  # columns are numbered from 1

    @property
    def stem(self) -> str:
        """Name of the file without its suffix."""
        return self.path.stem

    def where(self, row: int) -> str:
        """Name a row for a message."""
        return f"{self.path} line {self.lines[row]}"


def read_table(path: Path, folder: str = "") -> LabelTable:
    """Read a table by its suffix; DataError where it is damaged or of no known kind."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is no table that can be read: {', '.join(READERS)} are")
    try:
        frame, lines = reader(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    from augment.storage.tables import unguarded  # which loads pandas

    headless = bool(len(frame.columns)) and frame.columns[0] == "1"
    for column in frame.columns:
        frame[column] = [unguarded(cell) for cell in frame[column]]
    return LabelTable(path, folder, frame, lines, headless)


def decode_text(path: Path, what: str) -> str:
    """Read a text file in UTF-8, or in UTF-16 with its mark; DataError for another encoding."""
    raw = path.read_bytes()
    try:
        return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no {what} in UTF-8: {error}: save it as UTF-8 (a spreadsheet calls it CSV "
            "UTF-8)"
        ) from None


def _read_csv(path: Path) -> tuple[pd.DataFrame, list[int]]:
    """Read a table with a head line, by whichever delimiter that has."""
    text = decode_text(path, "CSV")
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep="):  # a spreadsheet's own first line
        text, first = rest, rest.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)  # the comma if there is none
    if not first.count(delimiter) and _has_blanks_between(text):
        return _read_list(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path} is no CSV in UTF-8: {error}") from None
    head = [name.strip() for name in rows[0]] if rows else []
    lower = [name.lower() for name in head]
    if repeats := [name for name in lower if name and lower.count(name) > 1]:
        raise DataError(f"{path} has the column {repeats[0]} twice: leave one")
    for row, line in zip(rows[1:], lines[1:], strict=True):
        if len(row) != len(head):
            raise DataError(f"{path} line {line} has another number of cells than the head line")
    frame = rows_frame(rows[1:], range(len(head)))
    empty = {n for n, name in enumerate(head) if not name and not any(map(str.strip, frame[n]))}
    frame = frame.drop(columns=[*empty])  # commas at the ends of all lines
    frame.columns = [name or f"column {n + 1}" for n, name in enumerate(head) if n not in empty]
    return frame, lines[1:]


def _has_blanks_between(text: str) -> bool:
    """Tell whether lines have cells between blanks, as many each, the first a picture or video."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    width = len(rows[0]) if rows else 0
    named = sum(row[0].lower().endswith((*SUFFIXES, *VIDEOS)) for row in rows)
    return width > 1 and {*map(len, rows)} == {width} and named >= max(1, len(rows) - 1)


def _read_list(path: Path) -> tuple[pd.DataFrame, list[int]]:
    """Read lines of cells between blanks, tabs or commas, without a head; # begins a comment."""
    rows, lines = [], []
    for number, line in enumerate(decode_text(path, "text").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            separator = next((each for each in ("\t", ",", ";") if each in line), None)
            cells = next(csv.reader([line], delimiter=separator)) if separator else line.split()
            rows.append([cell.strip() for cell in cells])
            lines.append(number)
    if found := _counted(rows):
        return rows_frame(rows[2:], found), lines[2:]
    width = max(map(len, rows), default=0)
    if _is_head(rows, width):
        rows = [row + [""] * (width - len(row)) for row in rows]
    if any(len(row) != width for row in rows):  # file names with blanks: one cell a line
        rows = [[" ".join(row)] for row in rows]
        width = 1
    return rows_frame(rows, [str(n + 1) for n in range(width)]), lines


def _is_head(rows: list[list[str]], width: int) -> bool:
    """Tell whether the first line is a head, of words alone, and later lines may end early.

    Most of these lines begin with what has a digit, as names and numbers of images do.
    """
    if len(rows) < 3 or len(rows[0]) != width or width < 2:
        return False
    words = all(re.fullmatch(r"[^\W\d]\w*( \w+)*", cell) for cell in rows[0])
    numbered = sum(any(map(str.isdigit, row[0])) for row in rows[1:])
    return words and len(set(rows[0])) == width and numbered >= 0.9 * (len(rows) - 1)


def _counted(rows: list[list[str]]) -> list[str]:
    """Return the columns of a list as CelebA has it, else []: a count, names of columns, rows.

    Its first column, of files, may have no name.
    """
    if len(rows) < 3 or rows[0] != [str(len(rows) - 2)]:
        return []
    names, widths = rows[1], {len(row) for row in rows[2:]}
    if widths == {len(names) + 1}:
        return ["image_id", *names]
    return names if widths == {len(names)} and len(names) > 1 else []


def _read_parquet(path: Path) -> tuple[pd.DataFrame, list[int]]:
    """Read a parquet file; pictures inside it are refused."""
    if find_spec("pyarrow") is None:
        raise MachineError(f"{path} needs pyarrow: pip install 'augment-compare[parquet]'")
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # pyarrow raises its own for damaged bytes
        raise DataError(f"{path} is no parquet file: {str(error).partition('.')[0]}") from None
    for column in frame.columns:
        if any(isinstance(cell, dict) and "bytes" in cell for cell in frame[column][:3]):
            raise DataError(
                f"{path} holds the pictures themselves (column {column}): save them as files with "
                "a table beside them"
            )
    return text_frame(frame), list(range(1, len(frame) + 1))


READERS: dict[str, Callable[[Path], tuple[pd.DataFrame, list[int]]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".tab": _read_csv,  # of Dataverse
    ".txt": _read_list,
    ".lst": _read_list,
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".manifest": read_json,  # of Amazon SageMaker Ground Truth
    ".json": read_json,
    ".geojson": read_json,
    ".parquet": _read_parquet,
    ".xml": read_xml,
}
MAX_TABLES = 20  # in one folder; more are annotations, one a picture


def tables_beside(others: list[str], base: str) -> list[str]:
    """List the files that may be tables of the set: not more than MAX_TABLES of a kind a folder."""
    by_folder: dict[tuple[str, str], list[str]] = {}
    for name in others:
        file = PurePosixPath(name)
        if file.suffix.lower() in READERS:
            by_folder.setdefault((str(file.parent), file.suffix.lower()), []).append(name)
    few = [name for names in by_folder.values() if len(names) <= MAX_TABLES for name in names]
    # the nearest to the top first, then by name
    return sorted(few, key=lambda name: (name.removeprefix(base).count("/"), name))
