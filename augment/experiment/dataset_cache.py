"""DatasetCache: the data sets of a run by name and options."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from augment.data.check import findings
from augment.data.datasets import load_dataset
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.pictures.framing import AFFORDED_SIDE, SIDES, Framing
from augment.data.split import Dataset
from augment.errors import UsageError
from augment.experiment.cells import Cell
from augment.experiment.recipe import DETECT, Recipe
from augment.experiment.setting_types import AUTO


class DatasetCache:
    """The data sets of a run, each loaded once.

    `affords` is the longest side that is chosen where none is asked for; None: as in 0.3, when
    large pictures were stretched to 32 pixels.
    """

    def __init__(self, data_dir: Path | None, affords: int | None = AFFORDED_SIDE) -> None:
        self.data_dir, self.affords = data_dir, affords
        self.loaded: dict[tuple[Any, ...], Dataset[Any]] = {}
        self.classic_given = False

    def of(self, cell: Cell) -> Dataset[Any]:
        """Return the cell's data set; load it at the first call."""
        self.classic_given = cell.classic != AUTO  # the same in all cells of a run
        return self._load(cell.dataset, cell, cell.reading)

    def task_of(self, recipe: Recipe) -> str:
        """Return what is learnt of a recipe's data sets; UsageError if not the same of all."""
        reading = recipe.reading()
        tasks = {self._load(name, recipe, reading).task: name for name in recipe.dataset}
        if len(tasks) > 1:
            raise UsageError(
                f"--dataset: {tasks[DETECT]} has boxes and others have classes: compare them in "
                "two runs"
            )
        return next(iter(tasks))

    def _load(self, name: str, asked: Cell | Recipe, reading: ReadingFlags) -> Dataset[Any]:
        """Load a data set at the first call. All that its content depends on is in the key.

        Subsets of the pool are drawn by `Trial.prepare`.
        """
        # a recipe that does not name the task finds out by loading: the data are the same then
        same = dataclasses.replace(reading, task=None)
        framing = self.framing(asked.size, asked.fit)
        key = (name, framing, asked.skip_bad, asked.drop_small_classes, same)
        if key not in self.loaded:
            self.loaded[key] = load_dataset(
                name,
                size=framing,
                data_dir=self.data_dir,
                skip_bad=asked.skip_bad,
                drop_small_classes=asked.drop_small_classes,
                reading=reading,
            )
        return self.loaded[key]

    def framing(self, size: int | str | None, fit: str | None) -> Framing:
        """Return what is asked of the shape of images."""
        if self.affords is None:
            return Framing(size, fit or "stretch", SIDES[0])
        return Framing(size, fit, self.affords)

    def notes(self) -> list[str]:
        """List what `augment check` finds in the data sets that are loaded."""
        return [
            f"{data.name}: {note}"
            for data in self.loaded.values()
            for note in findings(data, classic_given=self.classic_given)
        ]
