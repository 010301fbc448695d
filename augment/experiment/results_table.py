"""results.csv: written row by row as cells end, and read back with its faults told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from augment.errors import UsageError
from augment.experiment.arms import ARMS
from augment.experiment.cells import Cell
from augment.experiment.rows import KEY_COLUMNS, NEWER_COLUMNS, RESULTS_COLUMNS, TEXT_COLUMNS
from augment.storage.tables import read_csv, write_csv


def write_results(folder: Path, cells: list[Cell], rows: dict[int, dict[str, Any]]) -> pd.DataFrame:
    """Write results.csv of the finished cells, in the recipe's order whatever order they ended in.

    Returns the table.
    """
    lines = [{"run": folder.name, **rows[n]} for n in range(len(cells)) if n in rows]
    table = pd.DataFrame(lines, columns=RESULTS_COLUMNS)
    write_results_table(folder, table)
    return table


def write_results_table(folder: Path, table: pd.DataFrame) -> None:
    """Write results.csv: one row for each finished cell."""
    write_csv(folder / "results.csv", table)


def read_results(file: Path) -> pd.DataFrame:
    """Read a results.csv; UsageError if it is another table."""
    table = read_csv(file, TEXT_COLUMNS)
    missing = set(RESULTS_COLUMNS) - set(table.columns) - set(NEWER_COLUMNS)
    if missing:
        raise UsageError(f"{file} is no results table: it lacks {', '.join(sorted(missing))}")
    others = table.columns.difference(RESULTS_COLUMNS, sort=False)
    table = table.reindex(columns=[*RESULTS_COLUMNS, *others])
    _check_results(file, table)
    return table


def _check_results(file: Path, table: pd.DataFrame) -> None:
    """Raise UsageError for what no run writes: rows twice, unknown arms, impossible scores."""
    twice = table.duplicated([*KEY_COLUMNS, "preset", "classifier"])
    scores = pd.to_numeric(table["accuracy"], errors="coerce")
    impossible = table["status"].eq("ok") & ~scores.between(0, 1)
    unknown = ~table["arm"].isin(ARMS)
    for rows, fault in (
        (twice, "a second row of a cell"),
        (impossible, "an accuracy outside 0…1"),
        (unknown, "an unknown arm"),
    ):
        if rows.any():
            raise UsageError(
                f"{file} line {int(rows.argmax()) + 2}: {fault}; augment resume writes it anew"
            )
