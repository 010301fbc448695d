"""What is done once all cells of a run have ended."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from augment.experiment.results_table import write_results_table
from augment.report.run_outputs import write_outputs
from augment.report.test_set_error import with_test_set_error


def finish_run(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Fill what only all cells together tell, write results.csv, then the outputs made from it.

    Returns the table as results.csv has it then.
    """
    table = with_test_set_error(folder, table)
    write_results_table(folder, table)
    write_outputs(folder, table)
    return table
