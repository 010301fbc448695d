"""CSV files whose numbers stay exact and whose text cells no spreadsheet runs."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from augment.storage.atomic import write_atomic

# pandas from 3.1 on reads floats to their last digit, and warns if it is asked to
_READS_EXACTLY = tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)
_FLOAT_OPTIONS: dict[str, Any] = {} if _READS_EXACTLY else {"float_precision": "round_trip"}

FORMULA_STARTS = tuple("=+-@\t\r")  # a spreadsheet would run a text cell that begins so
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")  # but not a plain number, a class say


def _is_risky(text: object) -> bool:
    """Tell whether a spreadsheet might run this cell, or it be taken for a guarded one."""
    return isinstance(text, str) and text.lstrip("'").startswith(FORMULA_STARTS)


def _guarded(cell: Any) -> Any:
    """Put an apostrophe before a text cell that a spreadsheet might run."""
    return "'" + cell if _is_risky(cell) and not _NUMBER.fullmatch(cell) else cell


def unguarded(cell: Any) -> Any:
    """Return a text cell as it was before `write_csv` put an apostrophe before it."""
    return cell[1:] if _is_risky(cell) and cell[0] == "'" else cell


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV whose text cells no spreadsheet runs; numbers stay numbers, to the last digit."""
    safe, has_returns = table.copy(), False
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            guarded = [_guarded(v) for v in safe[column]]
            # as objects: pandas has text in pyarrow where there is one, and it holds no surrogates
            safe[column] = pd.Series(guarded, safe.index, dtype=object)
            has_returns = has_returns or any(isinstance(v, str) and "\r" in v for v in safe[column])
    # Python < 3.13 leaves a carriage return unquoted, and a reader then ends the line there
    quoting = csv.QUOTE_NONNUMERIC if has_returns else csv.QUOTE_MINIMAL
    write_atomic(path, safe.to_csv(index=False, quoting=quoting, lineterminator="\n"))


def read_csv(path: Path, text: Iterable[str] = ()) -> pd.DataFrame:
    """Read what `write_csv` wrote, with the guarding apostrophes taken off the `text` columns.

    Only an empty cell is missing: a class may be called `NA` or `None`.
    """
    types = dict.fromkeys(text, str)
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""], **_FLOAT_OPTIONS)
    for column in set(text) & set(table.columns):
        table[column] = [unguarded(v) for v in table[column]]
    return table
