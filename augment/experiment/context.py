"""What the stages of a trial share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from augment.data.datasets import load_dataset
from augment.data.split import Dataset
from augment.experiment.cells import Cell
from augment.storage.artifacts import Store
from augment.training.precision import pick_precision


@dataclass(frozen=True)
class Progress:
    """Where a cell is: yielded after every step."""

    stage: str  # "generator", "synthetic", "quality" or "score"; "cell" when a cell has ended
    cell: str
    step: int
    steps: int
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0  # of training in this stage so far, earlier tries counted in
    changed: dict[str, Any] = field(default_factory=dict)  # by a fault, see `mend`
    warning: str = ""  # something that a person should read now
    number: int | None = None  # of the cell in the run


Steps = Iterator[Progress]


@dataclass(frozen=True)
class Bench:
    """What a cell is run with and on; none of it changes what is asked."""

    store: Store
    device: torch.device
    precision: str  # as asked: auto, fp32 or bf16
    first_seed: int  # the trial whose generators leave pictures of their training

    def precision_for(self, data: Dataset) -> str:
        """fp32 or bf16."""
        return pick_precision(self.precision, self.device, max(data.pool.shape[1:]))


@dataclass(frozen=True)
class Made:
    """The artefacts of a cell."""

    score: Path
    origin: Path | None  # of its synthetic images
    quality: Path | None
    policy: str  # the classic transforms
    n_drawn: int
    n_synth: int  # that passed the filter


class Shelf:
    """The data sets of a run, each loaded once."""

    def __init__(self, data_dir: Path | None) -> None:
        self.data_dir = data_dir
        self.loaded: dict[tuple[Any, ...], Dataset] = {}

    def of(self, cell: Cell) -> Dataset:
        """The cell's data set."""
        key = (cell.dataset, cell.size, cell.skip_bad, cell.drop_small_classes)
        if key not in self.loaded:
            self.loaded[key] = load_dataset(
                cell.dataset,
                size=cell.size,
                data_dir=self.data_dir,
                skip_bad=cell.skip_bad,
                drop_small_classes=cell.drop_small_classes,
            )
        return self.loaded[key]
