"""One cell, whose fault becomes a row."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.errors import AugmentError, Diverged
from augment.experiment.cells import Cell
from augment.experiment.context import Bench, Progress
from augment.experiment.method import run_cell
from augment.experiment.rows import identity
from augment.training.recovery import out_of_memory

if TYPE_CHECKING:
    from augment.experiment.context import Shelf


NO_MEMORY = (
    "out of memory: give --jobs 1, a smaller --size, or a smaller network or batch, e.g. "
    "--set generator.width=16 --set classifier.batch=16"
)


Row = dict[str, Any]


News = Iterator[tuple[int, Progress | Row]]  # of a cell by its number: progress, in the end its row


def guarded(cell: Cell, data: Shelf, bench: Bench, folder: Path) -> Iterator[Progress | Row]:
    """One cell, its row last; a fault of its own makes a row that says so, and the others go on."""
    try:
        yield (yield from run_cell(cell, data.of(cell), bench))
    except Diverged as error:
        yield {**identity(cell), "status": "diverged", "error": str(error)}
    except AugmentError:
        raise  # the same fault waits for every cell: stop with its sentence
    except Exception as error:
        with (folder / "errors.log").open("a") as log:
            log.write(f"{cell.name}\n{traceback.format_exc()}\n")
        said = NO_MEMORY if out_of_memory(error) else f"{type(error).__name__}: {error}"
        yield failed(cell, said)


def failed(cell: Cell, why: str) -> Row:
    """The row of a cell that could not be run."""
    return {**identity(cell), "status": "failed", "error": why}
