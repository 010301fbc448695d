"""The labels of a table: checked to be classes, one an image; whole numbers are given names."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from augment.data.raw import first_names
from augment.data.tables.annotation_files import SEVERAL
from augment.data.tables.columns import Columns, is_integer, plain_name
from augment.data.tables.one_hot import hot_columns
from augment.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

NAME_FILES = re.compile(
    r"(class(es)?|label|categor(y|ies)|synset)?[_-]?(names?|map|mapping|to_name|index|indices|dict)?"
    r"\.(txt|json|csv)|classes\.txt|labels\.txt|idx_to_class\.json|class_to_idx\.json"
    r"|(class(es)?|categor(y|ies))[_-]?list\.(txt|json|csv)|(class(es)?|label)[_-]?ind\.txt"
    r"|label_to_name\.json|cat_to_name\.json",
    re.IGNORECASE,
)
NAME_MAPS = re.compile(r".*(label|class|categor|idx|index).*\.json", re.IGNORECASE)
# the first line of a list of names that is none
HEADS = set("class classes classname label labels labelname name names category species".split())
PLURALS = set("labels tags findings findinglabels diagnoses classes categories keywords".split())
_DECIMAL = re.compile(r"[+-]?(\d+|\d*[.,]\d+)")
MOST_VALUES = 20  # whole numbers that are classes without a second look


def row_labels(frame: pd.DataFrame, columns: Columns, where: str) -> list[str]:
    """Return the label of each row, "" where there is none; DataError if rows have several."""
    if columns.one_hot:
        hot = hot_columns(frame, columns.one_hot)
        if several := [row for row in hot if len(row) > 1]:
            raise DataError(
                f"{where}: several labels a picture ({' and '.join(several[0][:3])}), which "
                "augment does not learn: choose one column with --label-column"
            )
        return [row[0].strip() if row else "" for row in hot]
    labels = [_without_brackets(cell.strip()) for cell in frame[columns.label]]
    _refuse_several(labels, f"{where} column {columns.label}", plain_name(columns.label))
    _refuse_numbers(labels, f"{where} column {columns.label}")
    return labels


def _without_brackets(cell: str) -> str:
    """Read a list as Python prints it: N for ['N'], N|D for ['N', 'D']."""
    if not re.fullmatch(r"\[\s*(['\"]).*\1\s*\]", cell):
        return cell
    try:
        found = ast.literal_eval(cell)
    except (ValueError, SyntaxError):
        return cell
    return SEVERAL.join(map(str, found))


def _refuse_several(labels: list[str], where: str, column: str) -> None:
    """Raise DataError if labels are sets: A|B, or "A B" where A and B are labels too.

    Of a `column` that is called after several, less is enough.
    """
    distinct = set(labels) - {""}
    way_out = ", and write a name of several words with _"
    plural = column in PLURALS
    for sign in ("|", ";", ",", " ", "&", "+"):
        joined = [label for label in distinct if sign in label.strip(sign)]
        if not joined:
            continue
        parts = {label: [p.strip() for p in label.split(sign) if p.strip()] for label in joined}
        singles = distinct - set(joined)
        uses = Counter(part for each in parts.values() for part in each)
        known = [
            label for label in joined if all(p in singles or uses[p] > 1 for p in parts[label])
        ]
        orders = Counter(frozenset(each) for each in parts.values())
        if sign in "|; " and all(map(is_integer, [*uses, *singles])):  # 16 0 beside 25
            sets = True
        elif sign in "|;":
            stands_alone = any(p in singles or uses[p] > 1 for p in uses)
            sets = plural or stands_alone or max(orders.values()) > 1
        elif sign == " " and plural and _are_tags(parts.values(), singles, column):
            sets = True
        else:  # a name may hold a blank or a comma: all of its parts must be labels themselves
            sets = all(p in singles for each in parts.values() for p in each)
        if sets:
            example = sorted(known or joined)[0]
            raise DataError(
                f"{where}: several labels a picture ('{example}'), which augment does not learn: "
                f"leave one label a picture{way_out if sign == ' ' else ''}"
            )


def _are_tags(rows: Collection[list[str]], singles: set[str], column: str) -> bool:
    """Tell whether labels are tags between blanks: few words, in sets of several lengths.

    In a column called tags one set that stands in another is enough.
    """
    sets = [{*row} for row in rows]
    if column in ("tags", "keywords") and any(a < b for a in sets for b in sets):
        return True
    words = {word for row in rows for word in row}
    lengths = {len(row) for row in rows} | ({1} if singles else set())
    uses = Counter(word for row in rows for word in row)
    recur = sum(uses[word] > 1 or word in singles for word in words)
    return len(lengths) > 1 and len(words) < len(rows) + len(singles) and 2 * recur > len(words)


def _refuse_numbers(labels: list[str], where: str) -> None:
    """Raise DataError if labels are measured numbers and not classes."""
    filled = [label for label in labels if label]
    try:
        values = [float(label.replace(",", ".")) for label in filled]
    except ValueError:
        return
    distinct = set(values)
    whole = all(value.is_integer() for value in distinct)
    gaps = whole and len(distinct) < max(distinct, default=0) - min(distinct, default=0) + 1
    measured = len(distinct) > 2 and not whole and len(distinct) > len(values) / 10
    if measured or (gaps and len(distinct) > MOST_VALUES and len(values) < 4 * len(distinct)):
        raise DataError(
            f"{where}: numbers to predict ({first_names(sorted(set(filled)))}), and augment learns "
            "classes: give a column of classes, or ranges of the number, with --label-column"
        )


def class_order(classes: Iterable[str]) -> list[str]:
    """Sort class names: by value if all are numbers, signed or decimal too; else as text."""
    names = sorted(classes)
    if not all(map(_DECIMAL.fullmatch, map(str.strip, names))):
        return names
    return sorted(names, key=lambda name: Decimal(name.strip().replace(",", ".")))


def names_beside(
    labels: Iterable[str], others: list[str], root: Path
) -> tuple[dict[str, str], str]:
    """Find the names of classes that are numbers in a file beside: number → name, and the file."""
    numbers = {label for label in labels if label}
    if not numbers or not all(map(is_integer, numbers)):
        return {}, ""
    for name in others:
        base = name.rpartition("/")[2]
        if (NAME_FILES.fullmatch(base) or NAME_MAPS.fullmatch(base)) and name.count("/") < 3:
            names = _read_names(root / name, {int(n) for n in numbers})
            if all(map(is_integer, names.values())):
                continue  # counts, or the numbers of other things
            first = 1 if "0" not in numbers and str(len(names)) in numbers else 0
            by_number = {
                str(int(key) + first) if key.isdecimal() else key: value
                for key, value in names.items()
            }
            for found in (names, by_number):
                if {str(int(n)) for n in numbers} <= found.keys():
                    return {n: found[str(int(n))] for n in numbers}, name
    return {}, ""


def unread_names(labels: Iterable[str], others: list[str], root: Path) -> str:
    """Return a file of names of classes, where these are numbers, that is not in UTF-8; or ""."""
    numbers = {label for label in labels if label}
    if not numbers or not all(map(is_integer, numbers)):
        return ""
    for name in others:
        if NAME_FILES.fullmatch(name.rpartition("/")[2]) and (root / name).is_file():
            try:
                (root / name).read_bytes().decode("utf-8-sig")
            except UnicodeDecodeError:
                return name
    return ""


def _read_names(file: Path, numbers: set[int]) -> dict[str, str]:
    """Read names of classes by number: a line each, "3 name" lines, or JSON; {} if it has none.

    `numbers`: those that occur, which tell whether a first line such as "name" is a class.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix.lower() == ".json":
            found = json.loads(text)
            if isinstance(found, list):  # of names, not the rows of a table
                found = dict(enumerate(found)) if all(isinstance(v, str) for v in found) else {}
            pairs = [(str(k), str(v)) for k, v in found.items()]
            pairs = pairs if all(is_integer(k) for k, _ in pairs) else [(v, k) for k, v in pairs]
            return {k: v for k, v in pairs if is_integer(k)}
    except (OSError, ValueError, AttributeError):
        return {}
    rows = [*csv.reader(text.splitlines())] if file.suffix.lower() == ".csv" else []
    if rows and len(rows[0]) > 2:
        return _names_in_columns(rows[1:])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    split = [re.fullmatch(r"(\d+)[\s,;:=]+(.+)|(.+)[\s,;:=]+(\d+)", line) for line in lines]
    numbered = [m for m in split if m]
    if numbered and len(numbered) >= len(lines) - 1:  # a head line may stand first
        pairs = [(m[1] or m[4], (m[2] or m[3]).strip(" \t,;")) for m in numbered]
        if len({number for number, _ in pairs}) == len(pairs):
            return {str(int(number)): name for number, name in pairs}
    # without a head there are as many names as classes, or one up to the highest number
    counts = (len(numbers), max(numbers) + 1) if 0 in numbers else ()
    if lines and plain_name(lines[0]) in HEADS and len(lines) - 1 in counts:
        del lines[0]
    return {str(n): line for n, line in enumerate(lines)}


def _names_in_columns(rows: list[list[str]]) -> dict[str, str]:
    """Read a table of classes: its first column of numbers, and of names, that do not repeat."""
    columns = [[cell.strip() for cell in column] for column in zip(*rows, strict=False)]
    unique = [column for column in columns if len(set(column)) == len(column)]
    numbers = next((column for column in unique if all(map(is_integer, column))), [])
    names = next((column for column in unique if not any(map(is_integer, column))), [])
    return {str(int(n)): name for n, name in zip(numbers, names, strict=False)}
