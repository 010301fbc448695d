"""`--select`: choose how synthetic images are used, or none of them, by cross-validation.

The folds are of the labelled images of one trial. The generator of a fold is trained on the other
folds alone, so that validation images are as new to it as test images. Test images are not even
passed in here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from augment.classifiers.blocks import network_edition
from augment.experiment.arms import ARMS
from augment.experiment.cells import Cell
from augment.experiment.context import CellArtifacts, Trial
from augment.experiment.folds import fold_numbers, refuse_missing_class
from augment.experiment.precision import precision_of_all
from augment.experiment.progress import Progress
from augment.experiment.records import ArtifactResult, Record, artifact
from augment.experiment.synthetic_use import VARIED
from augment.metrics.classification import scores
from augment.runtime.steps import Steps

TEMPERATURES = torch.logspace(-2, 2, 33, base=2.0)  # ¼ … 4

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

    Candidates are ranked by validation log loss, each at its best temperature, which is less
    noisy than accuracy on so few images. One must beat the baseline by one standard error of the
    paired difference, since each further candidate raises the chance of a lucky winner. Raises
    UsageError if a class has too few images or groups to leave some out.
    """
    cell, context = trial.cell, trial.context
    # with the weights, where the cell starts from some
    none = dataclasses.replace(cell.baseline, arm=str(ARMS[cell.arm].against), weights=cell.weights)
    among = (none, *cell.candidates)
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
        probabilities = yield from cross_validated(trial, among, learn_and_score)
        table = rank_candidates(among, probabilities, trial.labelled.labels.cpu())
        SelectionResult(
            cell.dataset, cell.amount, cell.seed, str(cell.generator), cell.arm, table
        ).write(folder)

    path = yield from artifact(context.store, record, build)
    table = SelectionResult.read(path).candidates
    best = next(n for n, line in enumerate(table) if line["chosen"])
    columns = {
        "validation_accuracy": table[best]["accuracy"],
        "validation_baseline": table[0]["accuracy"],
    }
    return Choice(among[best], columns | ({} if best else {"share": 0.0}))


def cross_validated(
    trial: Trial, among: tuple[Cell, ...], learn_and_score: LearnAndScore, flag: str = "--select"
) -> Generator[Progress, None, Tensor]:
    """Predict each labelled image by candidates not trained on it: [M, N, K] probabilities.

    Raises UsageError, which names the `flag`, if a class cannot be left out in part.
    """
    cell, data, labelled = trial.cell, trial.data, trial.labelled
    groups = [data.pool_groups[i] for i in trial.indices.tolist()] if data.pool_groups else []
    fold_of = fold_numbers(labelled, groups, cell.folds, cell.seed)
    # every image is held out in exactly one fold, so that each row is written once
    probabilities = torch.zeros(len(among), len(labelled), len(labelled.classes))
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
            predicted = load_file(steps.value.score / "predictions.safetensors")
            probabilities[number, held_out] = predicted["probability"].float()
    return probabilities


def rank_candidates(
    among: tuple[Cell, ...], probabilities: Tensor, labels: Tensor
) -> list[dict[str, Any]]:
    """Tabulate candidates: settings, validation scores, loss, gain over none, whether chosen."""
    losses = torch.stack([calibrated_losses(p, labels) for p in probabilities])  # [M, N]
    gains = losses[0] - losses  # [M, N], paired by image; row 0 is the baseline
    errors = gains.std(1) / len(labels) ** 0.5  # [M] standard errors of the mean
    sure = gains.mean(1) > errors
    best = int(losses.mean(1).where(sure, losses[0].mean()).argmin())  # the first of equals
    by_candidate = [scores(labels.numpy(), p.argmax(1).numpy()) for p in probabilities]
    return [
        {
            **{k: getattr(cell.use, k) for k in VARIED},
            "share": cell.use.share or 0.0,
            **by_candidate[n],
            "loss": float(losses[n].mean()),
            "gain": float(gains[n].mean()),
            "standard_error": float(errors[n]),
            "n": len(labels),
            "chosen": n == best,
        }
        for n, cell in enumerate(among)
    ]


def calibrated_losses(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Compute log losses at the temperature of the least mean (Guo et al. 2017): [N].

    A candidate must not win by being less, or more, confident in the same answers.
    """
    logits = probabilities.clamp(min=1e-6).log()  # finite where half floats round to 0
    losses = torch.stack(
        [F.cross_entropy(logits / t, labels, reduction="none") for t in TEMPERATURES]
    )
    return losses[losses.mean(1).argmin()]
