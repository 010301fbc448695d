"""The last step of a run, once its cells have ended: columns of errors and looks, then outputs."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from augment.experiment.results_table import write_results_table
from augment.metrics.intervals import LEAST_TRIALS
from augment.report.run_outputs import write_outputs
from augment.report.test_set_error import with_test_set_error
from augment.storage.run_folder import count_look


def finish_run(folder: Path, table: pd.DataFrame, until: float | None = None) -> pd.DataFrame:
    """Fill the columns that need all cells, write results.csv, then the outputs made from it.

    `until` is half the width of the interval, in points, up to which trials are added. Returns the
    table as written to results.csv.
    """
    trials = table.loc[table["status"] == "ok", "seed"].nunique()
    looks, until = count_look(folder, trials, until) if trials >= LEAST_TRIALS else (1, until)
    table = table.assign(looks=looks, until=math.nan if until is None else until)
    table = with_test_set_error(folder, table)
    write_results_table(folder, table)
    write_outputs(folder, table)
    return table
