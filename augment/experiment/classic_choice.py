"""`--classic select`: choose the kind of classic transforms by cross-validation, in each trial.

The folds are of the labelled images of the trial; test images are not even passed in here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from augment.data.layouts.direction_names import direction_notes
from augment.experiment.cells import Cell
from augment.experiment.context import Trial
from augment.experiment.precision import precision_of_all
from augment.experiment.progress import Progress
from augment.experiment.records import ArtifactResult, Record, artifact
from augment.experiment.selection import LearnAndScore, cross_validated
from augment.transforms.geometric import CLASSIC


@dataclass(frozen=True, kw_only=True)
class ClassicRecord(Record):
    """Dependencies of a choice among kinds of classic transforms."""

    kind = "classic"
    among: str
    folds: int
    labelled: str
    precision: str


@dataclass(frozen=True)
class ClassicResult(ArtifactResult):
    """A choice among kinds of classic transforms, which all arms of a trial share."""

    dataset: str
    asked: str
    seed: int
    candidates: list[dict[str, Any]] = field(default_factory=list)


def with_chosen_classic(
    trial: Trial, learn_and_score: LearnAndScore
) -> Generator[Progress, None, Trial]:
    """Return the trial with the kind of best validation score for `real+classic`.

    The scores are those of `choose`; the kind that `auto` takes is first among equals. In the cell
    of the trial the kind stands as if it had been given. Raises UsageError if a class has too few
    images or groups to leave some out.
    """
    cell, context = trial.cell, trial.context
    among = tuple(dataclasses.replace(cell.baseline, classic=kind) for kind in kinds_for(trial))
    precision = yield from precision_of_all(trial, among[:1])
    record = ClassicRecord(
        among=repr(among), folds=cell.folds, labelled=trial.labelled.sha, precision=precision
    )

    def build(folder: Path) -> Iterator[Progress]:
        found = yield from cross_validated(trial, among, learn_and_score, flag="--classic select")
        # the first of equals
        best = int(torch.stack([each.values.mean() for each in found]).argmax())
        table = [
            {
                "classic": each.classic,
                **found[n].scores,
                "n": len(trial.labelled),
                "chosen": n == best,
            }
            for n, each in enumerate(among)
        ]
        ClassicResult(cell.dataset, cell.amount, cell.seed, table).write(folder)

    path = yield from artifact(context.store, record, build)
    table = ClassicResult.read(path).candidates
    chosen = next(line["classic"] for line in table if line["chosen"])
    return dataclasses.replace(
        trial, cell=_decided(cell, chosen), transform=chosen, n_kinds=len(table)
    )


def kinds_for(trial: Trial) -> list[str]:
    """List the kinds to choose among, that of `auto` first.

    Those that would make one class of another, by the names of the classes, are none of them.
    """
    usual, classes = trial.data.classic, trial.labelled.classes
    kinds = [usual, *(kind for kind in CLASSIC if kind != usual)]
    return [kind for kind in kinds if not direction_notes(classes, kind)]


def _decided(cell: Cell, kind: str) -> Cell:
    """Return the cell, and its candidates, with a kind that is given."""
    candidates = tuple(dataclasses.replace(each, classic=kind) for each in cell.candidates)
    return dataclasses.replace(cell, classic=kind, candidates=candidates)
