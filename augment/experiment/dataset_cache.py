"""DatasetCache: the data sets of a run by name and options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from augment.data.check import findings
from augment.data.datasets import load_dataset
from augment.data.split import Dataset
from augment.experiment.cells import Cell
from augment.experiment.setting_types import AUTO


class DatasetCache:
    """The data sets of a run, each loaded once."""

    def __init__(self, data_dir: Path | None) -> None:
        self.data_dir = data_dir
        self.loaded: dict[tuple[Any, ...], Dataset] = {}
        self.classic_given = False

    def of(self, cell: Cell) -> Dataset:
        """Return the cell's data set; load it at the first call."""
        self.classic_given = cell.classic != AUTO  # the same in all cells of a run
        # all that the content depends on; subsets of the pool are drawn by `Trial.prepare`
        key = (cell.dataset, cell.size, cell.skip_bad, cell.drop_small_classes, cell.reading)
        if key not in self.loaded:
            self.loaded[key] = load_dataset(
                cell.dataset,
                size=cell.size,
                data_dir=self.data_dir,
                skip_bad=cell.skip_bad,
                drop_small_classes=cell.drop_small_classes,
                reading=cell.reading,
            )
        return self.loaded[key]

    def notes(self) -> list[str]:
        """List what `augment check` finds in the data sets that are loaded."""
        return [
            f"{data.name}: {note}"
            for data in self.loaded.values()
            for note in findings(data, classic_given=self.classic_given)
        ]
