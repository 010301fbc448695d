"""Precision of each learner of a trial: as requested, or fp32 where bf16 is wrong."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from augment.data.boxed_images import AnyImages
from augment.experiment.arms import generator_set
from augment.experiment.cells import Cell
from augment.experiment.context import Trial
from augment.experiment.learners import LEARNERS
from augment.experiment.progress import Progress
from augment.experiment.records import ArtifactResult, Record, artifact
from augment.generators import GENERATORS
from augment.training.bf16_guard import probe_key, safe_precision
from augment.training.learner import Learner
from augment.training.precision import pick_precision


@dataclass(frozen=True, kw_only=True)
class PrecisionRecord(Record):
    """Dependencies of a verdict on bf16."""

    kind = "precision"
    tried: tuple[str, ...]  # processor, torch, threads, settings, shapes


@dataclass(frozen=True)
class PrecisionResult(ArtifactResult):
    """A verdict on bf16."""

    precision: str
    warning: str


def resolve_precision(
    trial: Trial, stage: str, learner: Learner, data: AnyImages
) -> Generator[Progress, None, str]:
    """Choose fp32 or bf16 for a learner; fp32 and a warning where bf16 gives wrong numbers here.

    Tested once per run folder, which keeps the verdict and the warning.
    """
    context = trial.context
    picked = pick_precision(context.precision, context.device, max(data.shape[1:]))
    # the faults of bf16 are those of CPU kernels: see training/bf16_guard.py
    if picked == "fp32" or context.device.type != "cpu":
        return picked

    def build(folder: Path) -> Iterator[Progress]:
        verdict = PrecisionResult(*safe_precision(learner, data, picked, context.device))
        verdict.write(folder)
        if verdict.warning:
            yield Progress(stage, trial.cell.name, 0, 1, warning=verdict.warning)

    record = PrecisionRecord(tried=probe_key(learner, data))
    path = yield from artifact(context.store, record, build)
    return PrecisionResult.read(path).precision


def precision_of_all(trial: Trial, among: tuple[Cell, ...]) -> Generator[Progress, None, str]:
    """Resolve the precision of the learners of `among`; as JSON by name where they differ."""
    by_learner: dict[str, str] = {}
    for cell in among:
        inner = trial.of(cell)
        classifier = LEARNERS[cell.task][cell.classifier](**cell.classifier_settings)
        by_learner[cell.classifier] = yield from resolve_precision(
            inner, "score", classifier, trial.labelled
        )
        if cell.generator:
            generator = GENERATORS[cell.entry](**cell.generator_settings)
            data = generator_set(trial.labelled, trial.transform, generator.transformed).parts[0]
            by_learner[cell.generator] = yield from resolve_precision(
                inner, "generator", generator, data
            )
    kinds = set(by_learner.values())
    return kinds.pop() if len(kinds) == 1 else json.dumps(by_learner, sort_keys=True)
