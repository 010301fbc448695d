"""The last step of a run, once all of its cells have ended: error columns, then outputs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from augment.experiment.results_table import write_results_table
from augment.report.run_outputs import write_outputs
from augment.report.test_set_error import with_test_set_error


def finish_run(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Fill the columns that need all cells, write results.csv, then the outputs made from it.

    Returns the table as written to results.csv.
    """
    table = with_test_set_error(folder, table)
    write_results_table(folder, table)
    write_outputs(folder, table)
    return table
