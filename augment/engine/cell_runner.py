"""Run one cell; its failure becomes a row of results.csv that says why."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

from augment.errors import AugmentError, Diverged
from augment.experiment.cells import Cell
from augment.experiment.context import RunContext
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.method import run_cell
from augment.experiment.progress import Progress
from augment.experiment.results_table import identity
from augment.training.recovery import no_memory, out_of_memory

ResultRow = dict[str, Any]  # of results.csv
CellEvent = Progress | ResultRow  # progress of a cell, in the end its row
CellEvents = Iterator[tuple[int, CellEvent]]  # by the cell's number in the run


def run_cell_catching(cell: Cell, data: DatasetCache, context: RunContext) -> Iterator[CellEvent]:
    """Yield the progress of a cell, then its row; a failure makes a row, so that others go on."""
    try:
        yield (yield from run_cell(cell, data.of(cell), context))
    except Diverged as error:
        yield {**identity(cell), "status": "diverged", "error": str(error)}
    except AugmentError:
        raise  # the same fault waits for every cell: stop with its sentence
    except Exception as error:
        with (context.store.root / "errors.log").open("a") as log:
            log.write(f"{cell.name}\n{traceback.format_exc()}\n")
        why = no_memory(error) if out_of_memory(error) else f"{type(error).__name__}: {error}"
        yield failed_row(cell, why)


def failed_row(cell: Cell, why: str) -> ResultRow:
    """Build the row of a cell that could not be run."""
    return {**identity(cell), "status": "failed", "error": why}
