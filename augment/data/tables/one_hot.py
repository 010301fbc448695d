"""Columns that say yes or no, a class each, or an attribute each of which a picture has several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from augment.data.layouts.folder_words import tokens

if TYPE_CHECKING:
    import pandas as pd

COUNTS = ("count", "id", "index", "number")  # last word of a column that tells no class
MOST_CLASSES = 20  # of a column of words beside attributes
_WORDS = {"true", "false", "yes", "no", "unk", "unknown", ""}  # of attributes


def one_hot_columns(frame: pd.DataFrame, names: list[str]) -> list[str]:
    """List the columns that say yes or no of a class each, two at least; else none."""
    names = [n for n in names if tokens(n)[-1:] not in ([word] for word in COUNTS)]
    binary = [n for n in names if {_number(c) for c in frame[n]} <= {"0", "1", "-1", ""}]
    binary = [n for n in binary if frame[n].nunique() > 1 or set(frame[n]) <= {"0", "0.0"}]
    told = any(frame[n].nunique() > 1 for n in binary)  # not columns of 0 alone
    return binary if len(binary) > 1 and told else []


def _number(cell: str) -> str:
    """Return a cell as a whole number, "1" for "1.0" and "True", where it is one."""
    cell = cell.strip().lower()
    return {"true": "1", "false": "0"}.get(cell, cell.removesuffix(".0"))


def hot_columns(frame: pd.DataFrame, names: list[str]) -> list[list[str]]:
    """List the classes that each row says yes to."""
    marks = [[_number(cell) == "1" for cell in frame[name]] for name in names]
    return [
        [n for n, yes in zip(names, row, strict=True) if yes] for row in zip(*marks, strict=True)
    ]


def classes_beside(frame: pd.DataFrame, names: list[str], hot: list[str]) -> list[str]:
    """List the columns of words that may be the class where `hot` are attributes; else [].

    Attributes are written True and False, and some pictures have several.
    """
    cells = {cell.strip().lower() for name in hot for cell in frame[name]}
    if not cells <= _WORDS or all(len(row) < 2 for row in hot_columns(frame, hot)):
        return []
    return [name for name in names if name not in hot and _are_classes([*frame[name]])]


def _are_classes(cells: list[str]) -> bool:
    """Tell whether cells are words, none empty, of a few kinds that each recur."""
    kinds = {cell.strip() for cell in cells}
    words = all(any(map(str.isalpha, kind)) for kind in kinds)
    several = 1 < len(kinds) <= min(MOST_CLASSES, len(cells) / 2)
    return words and several and not {kind.lower() for kind in kinds} <= _WORDS
