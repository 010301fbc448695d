"""`--select`: choose how synthetic images are used, or none of them, by cross-validation.

The folds are of the labelled images of one trial. The generator of a fold is trained on the other
folds alone, so that validation images are as new to it as test images. Test images are not even
passed in here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.classifiers.blocks import network_edition
from augment.experiment.arms import ARMS
from augment.experiment.cells import Cell
from augment.experiment.context import CellArtifacts, Trial
from augment.experiment.folds import Validated, refuse_missing_class
from augment.experiment.precision import precision_of_all
from augment.experiment.progress import Progress
from augment.experiment.records import ArtifactResult, Record, artifact
from augment.experiment.synthetic_use import VARIED
from augment.experiment.tasks import TASKS
from augment.runtime.steps import Steps

LearnAndScore = Callable[[Trial], Generator[Progress, None, CellArtifacts]]


@dataclass(frozen=True, kw_only=True)
class SelectionRecord(Record):
    """Dependencies of a choice among candidates on validation data."""

    kind = "selection"
    among: str
    folds: int
    labelled: str
    precision: str
    classic: str
    with_replacement: bool = True  # as in ClassifierRecord: the classifiers of all candidates
    edition: int | None = None  # `network_edition`


@dataclass(frozen=True)
class SelectionResult(ArtifactResult):
    """A choice among candidates."""

    dataset: str
    asked: str
    seed: int
    generator: str
    arm: str
    candidates: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Choice:
    """Use of synthetic images in a cell, chosen on validation data."""

    cell: Cell  # to run
    columns: dict[str, Any]  # of the choice, in results.csv


def choose(trial: Trial, learn_and_score: LearnAndScore) -> Generator[Progress, None, Choice]:
    """Choose a candidate; the baseline, a share of 0, unless one is surely better.

    Candidates are ranked by validation log loss, or by mAP where boxes are learnt. One must beat
    the baseline by one standard error of the paired difference, since each further candidate raises
    the chance of a lucky winner. Raises UsageError if a class has too few images or groups to leave
    some out.
    """
    cell, context, among = trial.cell, trial.context, candidates_of(trial.cell)
    precision = yield from precision_of_all(trial, among)
    record = SelectionRecord(
        among=repr(among),
        folds=cell.folds,
        labelled=trial.labelled.sha,
        precision=precision,
        classic=trial.data.classic,
        edition=network_edition(trial.labelled.shape),
    )

    def build(folder: Path) -> Iterator[Progress]:
        found = yield from cross_validated(trial, among, learn_and_score)
        table = rank_candidates(among, found)
        SelectionResult(
            cell.dataset, cell.amount, cell.seed, str(cell.generator), cell.arm, table
        ).write(folder)

    path = yield from artifact(context.store, record, build)
    table = SelectionResult.read(path).candidates
    best = next(n for n, line in enumerate(table) if line["chosen"])
    score = TASKS[cell.task].validated
    columns = {f"validation_{score}": table[best][score], "validation_baseline": table[0][score]}
    return Choice(among[best], columns | ({} if best else {"share": 0.0}))


def candidates_of(cell: Cell) -> tuple[Cell, ...]:
    """List what a selecting cell compares: its baseline, then its candidates."""
    # with the weights, where the cell starts from some
    none = dataclasses.replace(cell.baseline, arm=str(ARMS[cell.arm].against), weights=cell.weights)
    return none, *cell.candidates


def cross_validated(
    trial: Trial, among: tuple[Cell, ...], learn_and_score: LearnAndScore, flag: str = "--select"
) -> Generator[Progress, None, list[Validated]]:
    """Score each candidate on every labelled image by one of its kind that did not learn it.

    Raises UsageError, which names the `flag`, if a class cannot be left out in part.
    """
    cell, data, labelled, task = trial.cell, trial.data, trial.labelled, TASKS[trial.cell.task]
    groups = [data.pool_groups[i] for i in trial.indices.tolist()] if data.pool_groups else []
    fold_of = task.fold_numbers(labelled, groups, cell.folds, cell.seed)
    # every image is held out in exactly one fold
    scores: list[list[tuple[Path, Tensor]]] = [[] for _ in among]
    context = dataclasses.replace(trial.context, first_seed=-1)  # no grids of these generators
    for fold in fold_of.unique().tolist():
        held_out = fold_of == fold
        refuse_missing_class(labelled.select(~held_out), flag, f"leave {flag} out")
        part = dataclasses.replace(
            data,
            pool=labelled,
            test=labelled.select(held_out),
            pool_files=[],
            test_files=[],
            pool_groups=groups,
        )
        for number, candidate in enumerate(among):
            where = f"fold {fold + 1} of {cell.folds}, candidate {number + 1} of {len(among)}"
            inner = Trial.prepare(candidate, part, context, (~held_out).nonzero().flatten())
            steps = Steps(learn_and_score(inner))
            for step in steps:
                yield dataclasses.replace(step, cell=f"{cell.name}, {where}")
            scores[number].append((steps.value.score, held_out))
    return [task.validate(labelled, parts) for parts in scores]


def rank_candidates(among: tuple[Cell, ...], found: Sequence[Validated]) -> list[dict[str, Any]]:
    """Tabulate candidates: settings, validation scores, gain over none, whether chosen."""
    values = torch.stack([each.values for each in found])  # [M, N]
    gains = values - values[0]  # [M, N], paired by image; row 0 is the baseline
    n = values.shape[1]
    errors = gains.std(1) / n**0.5  # [M] standard errors of the mean
    sure = gains.mean(1) > errors
    best = int(values.mean(1).where(sure, values[0].mean()).argmax())  # the first of equals
    return [
        {
            **{k: getattr(cell.use, k) for k in VARIED},
            "share": cell.use.share or 0.0,
            **found[row].scores,
            "gain": float(gains[row].mean()),
            "standard_error": float(errors[row]),
            "n": n,
            "chosen": row == best,
        }
        for row, cell in enumerate(among)
    ]
