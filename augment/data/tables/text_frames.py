"""DataFrames of text.

pandas is loaded where a table is read: it takes as long as to list 20,000 files, and many sets have
no table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def rows_frame(rows: Sequence[Sequence[str]], columns: Iterable[Any]) -> pd.DataFrame:
    """Make a DataFrame of rows of text."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns), dtype=str)


def records_frame(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Make a DataFrame of records, of which a cell may be anything."""
    import pandas as pd

    return pd.DataFrame(records)
