"""CSV files whose numbers stay exact and whose text cells no spreadsheet runs."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from augment.storage.atomic import write_atomic

NEW_PANDAS = tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)  # exact, and warns if asked


TO_LAST_DIGIT: dict[str, Any] = {} if NEW_PANDAS else {"float_precision": "round_trip"}


RISKY = tuple("=+-@\t\r")  # a spreadsheet would run a text cell that begins so


def risky(text: object) -> bool:
    """Whether a spreadsheet might run this cell, or it might be taken for a guarded one."""
    return isinstance(text, str) and text.lstrip("'").startswith(RISKY)


def unguarded(cell: Any) -> Any:
    """A text cell as it was before `write_csv` put an apostrophe before it."""
    return cell[1:] if risky(cell) and cell[0] == "'" else cell


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """A CSV whose text cells no spreadsheet runs; numbers stay numbers, to their last digit."""
    safe, returns = table.copy(), False
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = ["'" + v if risky(v) else v for v in safe[column]]
            returns = returns or any(isinstance(v, str) and "\r" in v for v in safe[column])
    # Python < 3.13 leaves a carriage return unquoted, and a reader then ends the line there
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    write_atomic(path, safe.to_csv(index=False, quoting=quoting, lineterminator="\n"))


def read_csv(path: Path, text: Iterable[str] = ()) -> pd.DataFrame:
    """What `write_csv` wrote, with the guarding apostrophes taken off the `text` columns.

    Only an empty cell is missing: a class may be called `NA` or `None`.
    """
    types = dict.fromkeys(text, str)
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""], **TO_LAST_DIGIT)
    for column in set(text) & set(table.columns):
        table[column] = [unguarded(v) for v in table[column]]
    return table
