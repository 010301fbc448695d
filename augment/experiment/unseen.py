"""Real images that a judge has not learnt: floors measured on what it has learnt are too high.

They are the unlabelled rest of the pool. Where that is too small, as where a user labelled all
images, two judges each learn one half of the labelled images and the other half is new to them.
How far synthetic images may be trusted in a training is told by such halves alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augment.classifiers import CLASSIFIERS
from augment.data.images import LabelledImages
from augment.data.subset import folds
from augment.experiment.context import Trial
from augment.experiment.progress import Progress
from augment.experiment.real_images import RealImages
from augment.experiment.sampling import mirrored
from augment.experiment.stages import plan_classifier, train_classifier
from augment.metrics.classification import kappa
from augment.metrics.copies import copies_among, copy_finder, feature_copies
from augment.metrics.rates import Rate, rate_at_mix
from augment.runtime.seeds import seed_for
from augment.runtime.steps import Steps
from augment.training.serialization import load_learner

_HALVES = 2  # judges: half the images in half the steps each, so both cost as much as one
_COPY_FOLDS = 10  # of labelled images, each searched for copies of the others
_COPY_IMAGES = 1000  # real ones at most that are searched: all pairs of them are compared


@dataclass(frozen=True)
class Judge:
    """A classifier, the images that it learnt, and real ones that it did not."""

    classifier: Any
    learnt: LabelledImages
    unseen: RealImages


def judges(
    trial: Trial, classifier: Any, real: RealImages
) -> Generator[Progress, None, list[Judge]]:
    """Return the trial's classifier as judge; of labelled images, two trained on a half each.

    None where all labelled images belong together.
    """
    if not real.labelled:
        return [Judge(classifier, trial.labelled, real)]
    fold_of, found = _folds(trial, real, _HALVES), []
    if len(fold_of.unique()) < _HALVES:
        return []
    settings = dict(trial.cell.baseline.classifier_settings)
    settings["steps"] = -(-settings["steps"] // _HALVES)
    cell = dataclasses.replace(trial.cell.baseline, classifier_settings=settings)
    for half in range(_HALVES):
        held_out = fold_of == half
        learnt = real.images.select(~held_out)
        part = dataclasses.replace(trial, cell=cell, labelled=learnt)
        plan = yield from plan_classifier(part, None)
        steps = Steps(train_classifier(plan))
        for step in steps:
            where = f"{cell.name}, half {half + 1} of {_HALVES}, to judge the other"
            yield dataclasses.replace(step, cell=where)
        judge = load_learner(CLASSIFIERS, steps.value, trial.context.device)
        found.append(Judge(judge, learnt, real.select(held_out)))
    return found


def kappas(
    found: list[Judge], classifier: Any, synthetic: LabelledImages
) -> tuple[float, float | None]:
    """Compute Cohen's kappa of labels and judges, on synthetic and on unseen images; their means.

    Without judges the trial's `classifier` says how far it confirms the synthetic ones.
    """
    if not found:
        return _kappa(classifier, synthetic), None
    pairs = [
        (_kappa(judge.classifier, synthetic), _kappa(judge.classifier, judge.unseen.images))
        for judge in found
    ]
    of_synthetic, of_unseen = np.mean(pairs, axis=0).tolist()
    return of_synthetic, of_unseen


def trust_in(kappa: float, floor: float | None) -> float:
    """Return how far judges confirm the labels of synthetic images, of what those of real ones are.

    From 0 to 1: kappa over its floor. 0 where the judges guess on real images too.
    """
    highest = 1.0 if floor is None else floor
    return min(1.0, max(0.0, kappa) / highest) if highest > 0 else 0.0


def _kappa(classifier: Any, images: LabelledImages) -> float:
    predicted = torch.cat(list(classifier.predict(images.images))).argmax(1)
    return kappa(images.labels.cpu().numpy(), predicted.numpy())


def all_unseen(found: list[Judge]) -> RealImages:
    """Put the unseen real images of one or more judges together."""
    parts = [judge.unseen for judge in found]
    images = LabelledImages(
        torch.cat([part.images.images for part in parts]),
        torch.cat([part.images.labels for part in parts]),
        parts[0].images.classes,
    )
    return RealImages(images, torch.cat([part.units for part in parts]), parts[0].labelled)


def copied_by_chance(trial: Trial, real: RealImages, mix: Tensor) -> Rate | None:
    """Compute how many unseen real images would count as copies, at the class mix [K] of others.

    Unlabelled images are compared with all labelled ones, labelled ones with nine tenths of them.
    None where there are too few.
    """
    some = real.select(torch.arange(min(len(real.images), _COPY_IMAGES)))
    images = some.images.images.cpu()
    if real.labelled:
        copied = copies_among(images, _folds(trial, some, _COPY_FOLDS), mirrored=mirrored(trial))
    else:
        labelled = trial.labelled.images.cpu()
        copied = copy_finder(labelled, mirrored=mirrored(trial))(images)[0]
    return None if copied is None else rate_at_mix(copied, some.images.labels.cpu(), mix)


def copied_by_chance_in_features(found: list[Judge], mix: Tensor) -> Rate | None:
    """Compute the same in the features of judges, against what each has learnt."""
    copied, labels = [], []
    for judge in found:
        images = judge.unseen.images
        of_judge = feature_copies(images.images, judge.learnt.images, judge.classifier.embed)
        if of_judge is None:
            return None
        copied.append(of_judge)
        labels.append(images.labels.cpu())
    return rate_at_mix(torch.cat(copied), torch.cat(labels), mix)


def _folds(trial: Trial, real: RealImages, number: int) -> Tensor:
    """Assign each real image one of `number` folds, units together: [N]."""
    key = seed_for(trial.cell.seed, "unseen", number)
    return torch.tensor(folds(real.images.labels.tolist(), real.units.tolist(), number, key))
