"""The last step of a run, once its cells have ended: columns of errors and looks, then outputs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from augment.experiment.results_table import write_results_table
from augment.metrics.intervals import LEAST_TRIALS
from augment.report.run_outputs import write_outputs
from augment.report.test_set_error import with_test_set_error
from augment.storage.run_folder import count_look


def finish_run(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Fill the columns that need all cells, write results.csv, then the outputs made from it.

    Returns the table as written to results.csv.
    """
    trials = table.loc[table["status"] == "ok", "seed"].nunique()
    looks = count_look(folder, trials) if trials >= LEAST_TRIALS else 1
    table = with_test_set_error(folder, table.assign(looks=looks))
    write_results_table(folder, table)
    write_outputs(folder, table)
    return table
