"""Which cells can start: stages that cells share run once."""

from __future__ import annotations

from collections.abc import Iterable

from augment.experiment.cells import Cell
from augment.experiment.setting_types import SELECT


class Schedule:
    """The waiting cells of a run, and the stages that have finished."""

    def __init__(self, cells: list[Cell]) -> None:
        self.cells = cells
        self.waiting = list(range(len(cells)))
        self.finished: set[str] = set()  # keys of stages

    def begin(self, running: Iterable[int], most: int | None = None) -> list[int]:
        """Start cells whose stages no running cell makes, most urgent first; return numbers."""
        started = self._ready(running)[:most]
        self.waiting = [n for n in self.waiting if n not in started]
        return started

    def end(self, number: int, *, ok: bool) -> None:
        """Record that a cell has ended; the next one makes the shared stages of a failed one."""
        if ok:
            self.finished |= stage_keys(self.cells[number])

    def _ready(self, running: Iterable[int]) -> list[int]:
        # stages that a running cell makes or reads; finished ones may be shared freely
        busy = {key for number in running for key in stage_keys(self.cells[number])}
        ready = []
        for number in sorted(self.waiting, key=self._urgency):
            keys = stage_keys(self.cells[number])
            if not busy & (keys - self.finished):
                ready.append(number)
                busy |= keys
        return ready

    def _urgency(self, number: int) -> int:
        """Rank training of generators first: started last, it would leave processes idle."""
        cell = self.cells[number]
        if cell.generator is None:
            return 2
        return int(self.finished.issuperset(generator_keys(cell)))


def stage_keys(cell: Cell) -> set[str]:
    """Name the long stages that a cell shares with others, such as a choice of its trial.

    The classifier that judges is none of them: a second cell waits for it (`Store.making`), which
    costs less than to hold a whole cell back.
    """
    keys = {f"classic of {cell.trial}, {cell.size}"} if cell.classic == SELECT else set[str]()
    if cell.generator is None:
        return keys
    keys |= {*generator_keys(cell)}
    for candidate in cell.candidates:  # the arms of a trial choose with the same generators
        keys |= {*generator_keys(candidate), f"folds of {generator_keys(candidate)[0]}"}
    return keys


def generator_keys(cell: Cell) -> tuple[str, str]:
    """Name a cell's generator and its synthetic set."""
    model = repr((cell.trial, cell.size, cell.entry, cell.training_settings, cell.classic))
    sampled = repr((cell.use.signed("synthetic"), cell.generator_settings))
    return model, model + sampled
