"""What the stages of a cell share: the trial, resolved once, and the context of the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import torch
from torch import Tensor

from augment.data.boxed_images import BoxedImages
from augment.data.images import LabelledImages
from augment.data.split import Dataset, Images
from augment.experiment.cells import Cell
from augment.experiment.filters import Evidence
from augment.experiment.folds import hold_out_fold
from augment.experiment.progress import Progress
from augment.experiment.setting_types import AUTO, SELECT
from augment.storage.artifacts import Store
from augment.training.checkpoints import TrainingState

Stage = Generator[Progress, None, Path]  # yields progress, returns the path of the artefact


@dataclass(frozen=True)
class RunContext:
    """Store, device and precision of a run."""

    store: Store
    device: torch.device
    precision: str  # as requested: auto, fp32 or bf16
    first_seed: int  # the trial whose generators leave grids of their training


@dataclass(frozen=True)
class Trial(Generic[Images]):
    """A cell with all that its stages share, each resolved once."""

    cell: Cell
    data: Dataset[Images]
    indices: Tensor  # [N] of the labelled images in the pool
    labelled: Images
    transform: str  # the classic one: a key of CLASSIC
    context: RunContext
    n_kinds: int | None = None  # of classic transforms that it was chosen among; None: given

    @classmethod
    def prepare(
        cls, cell: Cell, data: Dataset[Any], context: RunContext, indices: Tensor | None = None
    ) -> Trial[Any]:
        """Resolve the labelled subset (unless given) and the classic transform.

        Where that is yet to be chosen it is the one that `auto` takes.

        Of a cell with a `fold` that is the test set, and the labelled images are those outside it.
        """
        if indices is None:
            indices = cell.labelled_indices(data)
        if cell.fold:
            data, indices = hold_out_fold(data, indices, cell.fold, cell.seed)
        return cls(
            cell=cell,
            data=data,
            indices=indices,
            labelled=data.pool.select(indices),
            transform=data.classic if cell.classic in (AUTO, SELECT) else cell.classic,
            context=context,
        )

    @property
    def baseline(self) -> Trial[Images]:
        """The same trial for the cell that the decisive arm is compared with."""
        return self.of(self.cell.baseline)

    def of(self, cell: Cell) -> Trial[Images]:
        """Return the trial for another of its cells, with the same subset and classic transform."""
        return dataclasses.replace(self, cell=cell)

    def progress(self, stage: str, state: TrainingState) -> Progress:
        """Describe the progress of a training of this cell."""
        return Progress(stage, self.cell.name, **vars(state))


@dataclass(frozen=True)
class SyntheticSet:
    """The synthetic images that a cell learns from."""

    path: Path  # artefact
    quality: Path  # artefact
    images: LabelledImages  # that passed the filter
    evidence: Evidence  # on each of them
    n_sampled: int  # before the filter


@dataclass(frozen=True)
class Pictures:
    """Pictures with boxes that an arm adds to the labelled ones, where boxes are learnt."""

    path: Path  # artefact
    images: BoxedImages


@dataclass(frozen=True)
class CellArtifacts:
    """Artefacts of the stages of a cell."""

    score: Path
    synthetic: SyntheticSet | None
