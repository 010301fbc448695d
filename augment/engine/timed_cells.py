"""Cells that are run in several batches, and the seconds that they take of a time budget.

The seconds are kept in the run folder: whoever goes on with a run that was stopped decides by the
same figures, and so comes to the same decisions.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from augment.engine.cell_runner import ResultRow
from augment.engine.executors import Executor
from augment.engine.status import CELL, Status
from augment.errors import RunFolderError
from augment.experiment.cells import Cell
from augment.experiment.context import RunContext
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.progress import Progress
from augment.storage.artifacts import signature
from augment.storage.atomic import write_atomic
from augment.storage.run_folder import STATUS_FILE

TIMING_FILE = "timing.json"


@dataclass
class TimedCells:
    """Runs batches of cells; `used` is how many seconds they took, of earlier tries too."""

    executor: Executor
    data: DatasetCache
    context: RunContext
    planned: int = 0  # cells in all, as far as is known: for the progress
    used: float = 0.0
    status: Status = field(default_factory=Status)

    def __post_init__(self) -> None:
        self.file = self.context.store.root / TIMING_FILE
        try:
            known = json.loads(self.file.read_text()) if self.file.is_file() else {}
            self.cells: dict[str, dict[str, float]] = known.get("cells", {})
            self.generators: dict[str, float] | None = known.get("generators")
        except (ValueError, AttributeError):
            raise RunFolderError(
                f"{self.file} is damaged: delete it, and the time is counted anew"
            ) from None

    def seconds(self, cell: Cell) -> float:
        """Return the seconds that a cell took when it was first run."""
        return self.cells[_key(cell)]["seconds"]

    def save(self) -> None:
        """Write the seconds to the run folder."""
        timing = {"generators": self.generators, "cells": self.cells}
        write_atomic(self.file, json.dumps(timing, indent=1))

    def run(self, cells: list[Cell]) -> Generator[Progress, None, list[ResultRow]]:
        """Run cells, with progress; returns their rows. Cells that are finished are only read."""
        first = len(self.status.ended)
        self.planned = max(self.planned, first + len(cells))
        rows: dict[int, ResultRow] = {}
        begun: dict[int, float] = {}
        found = [self.cells[_key(cell)]["at"] for cell in cells if _key(cell) in self.cells]
        start = time.monotonic() - max([self.used, *found])  # of the budget
        try:
            yield self._counted(Progress(CELL, "", first, self.planned))
            for number, event in self.executor.run(cells, self.data, self.context):
                if isinstance(event, Progress):
                    begun.setdefault(number, time.monotonic())
                    yield self._counted(_of_race(event, cells[number], first + number))
                    continue
                rows[number] = event
                self._note(cells[number], begun.get(number), start)
                failed = {"failed": float(event["status"] != "ok")}
                done = first + len(rows)
                yield self._counted(
                    Progress(
                        CELL, cells[number].name, done, self.planned, failed, number=first + number
                    )
                )
        finally:
            write_atomic(self.context.store.root / STATUS_FILE, self.status.record(going=False))
        self.used = max([self.used, *(self.cells[_key(cell)]["at"] for cell in cells)])
        return [rows[number] for number in range(len(cells))]

    def _counted(self, step: Progress) -> Progress:
        """Count a step in status.json, which is written when a cell has ended."""
        self.status.take(step)
        if step.stage == CELL:
            write_atomic(self.context.store.root / STATUS_FILE, self.status.record(going=True))
        return step

    def _note(self, cell: Cell, begun: float | None, start: float) -> None:
        """Keep the seconds of a cell that was run for the first time."""
        now = time.monotonic()
        if _key(cell) not in self.cells:
            self.cells[_key(cell)] = {"seconds": now - (begun or now), "at": now - start}
            self.save()


def _key(cell: Cell) -> str:
    """Name a cell in the file: all of its settings, hashed."""
    return signature({"cell": repr(cell)})


def _of_race(event: Progress, cell: Cell, number: int) -> Progress:
    """Number an event; leave out what the race itself finds out, that synthetic images are poor."""
    silent: dict[str, Any] = {"warning": ""} if cell.fold and event.stage == "quality" else {}
    return dataclasses.replace(event, number=number, **silent)
