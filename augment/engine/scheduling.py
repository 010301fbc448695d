"""Which cells can begin: stages that cells share are made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from augment.experiment.cells import Cell

if TYPE_CHECKING:
    pass


def ready(cells: list[Cell], waiting: list[int], running: list[int], made: set[str]) -> list[int]:
    """Cells that can begin, most urgent first: nobody else is making what they need."""
    busy = {key for number in running for key in stage_keys(cells[number])}
    found = []
    for number in sorted(waiting, key=lambda n: urgency(cells[n], made)):
        if not busy & (stage_keys(cells[number]) - made):
            found.append(number)
            busy |= stage_keys(cells[number])
    return found


def urgency(cell: Cell, made: set[str]) -> int:
    """Cells that train a generator first: begun last, it would leave the other processes idle."""
    if cell.generator is None:
        return 2
    return int(made.issuperset(generator_keys(cell)))


def stage_keys(cell: Cell) -> set[str]:
    """Names of the stages that a cell shares with others and that are long in the making.

    The classifier that judges is none of them: whoever comes second waits for it (`Store.making`),
    which costs less than to hold a whole cell back.
    """
    if cell.generator is None:
        return set()
    own = {*generator_keys(cell)}
    for candidate in cell.candidates:  # the arms of a trial choose with the same generators
        own |= {*generator_keys(candidate), f"folds of {generator_keys(candidate)[0]}"}
    return own


def generator_keys(cell: Cell) -> tuple[str, str]:
    """Names of a cell's generator and of its synthetic set."""
    model = repr((cell.trial, cell.size, cell.entry, cell.learnt_settings, cell.classic))
    return model, model + repr((cell.ratio, cell.generator_settings))
