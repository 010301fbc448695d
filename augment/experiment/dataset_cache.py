"""DatasetCache: the data sets of a run by name and options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from augment.data.check import findings
from augment.data.datasets import load_dataset
from augment.data.framing import CPU_SIDE, SIDES, Framing
from augment.data.split import Dataset
from augment.experiment.cells import Cell
from augment.experiment.setting_types import AUTO


class DatasetCache:
    """The data sets of a run, each loaded once.

    `affords` is the longest side that is chosen where none is asked for; None: as in 0.3, when
    large pictures were stretched to 32 pixels.
    """

    def __init__(self, data_dir: Path | None, affords: int | None = CPU_SIDE) -> None:
        self.data_dir, self.affords = data_dir, affords
        self.loaded: dict[tuple[Any, ...], Dataset] = {}
        self.classic_given = False

    def of(self, cell: Cell) -> Dataset:
        """Return the cell's data set; load it at the first call."""
        self.classic_given = cell.classic != AUTO  # the same in all cells of a run
        # all that the content depends on; subsets of the pool are drawn by `Trial.prepare`
        framing = self.framing(cell.size, cell.fit)
        key = (cell.dataset, framing, cell.skip_bad, cell.drop_small_classes, cell.reading)
        if key not in self.loaded:
            self.loaded[key] = load_dataset(
                cell.dataset,
                size=framing,
                data_dir=self.data_dir,
                skip_bad=cell.skip_bad,
                drop_small_classes=cell.drop_small_classes,
                reading=cell.reading,
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
