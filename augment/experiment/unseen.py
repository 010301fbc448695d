"""Real images that a judge has not learnt: floors measured on what it has learnt are too high.

They are the unlabelled rest of the pool. Where that is too small, as where a user labelled all
images, two judges each learn one half of the labelled images and the other half is new to them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from augment.classifiers import CLASSIFIERS
from augment.data.images import LabelledImages, pixel_hashes
from augment.data.mapped import LARGE
from augment.data.subset import folds, linked_units
from augment.experiment.context import Trial
from augment.experiment.progress import Progress
from augment.experiment.sampling import mirrored
from augment.experiment.stages import plan_classifier, train_classifier
from augment.metrics.copies import copies_among, copy_finder, feature_copies
from augment.metrics.rates import Rate, rate_at_mix
from augment.metrics.synthetic import MAX_IMAGES
from augment.runtime.seeds import seed_for
from augment.runtime.steps import Steps
from augment.training.serialization import load_learner

_HALVES = 2  # judges: half the images in half the steps each, so both cost as much as one
_ENOUGH = 50  # images of the pool's rest, and two a class, that need no such judges
_COPY_FOLDS = 10  # of labelled images, each searched for copies of the others
_COPY_IMAGES = 1000  # real ones at most that are searched: all pairs of them are compared


@dataclass(frozen=True)
class RealImages:
    """Real images for the comparison."""

    images: LabelledImages
    units: Tensor  # [N] int64: what belongs together, as images of one patient
    labelled: bool  # whether these are the labelled images themselves

    def select(self, index: Tensor) -> RealImages:
        """Select the images at these indices or under this mask."""
        return RealImages(self.images.select(index), self.units[index], self.labelled)


@dataclass(frozen=True)
class Judge:
    """A classifier, the images that it learnt, and real ones that it did not."""

    classifier: Any
    learnt: LabelledImages
    unseen: RealImages


def unlabelled_images(trial: Trial) -> RealImages:
    """Return the images of the pool that are not labelled, nor linked with one that is.

    Of a pool that lies in a file, as many of them as are held in memory, drawn at random.
    """
    pool, groups = trial.data.pool, trial.data.pool_groups or None
    units = _numbered(linked_units(groups, pixel_hashes(pool.images.cpu())))
    unseen = ~torch.isin(units, units[trial.indices])
    if pool.mapped:
        rng = torch.Generator().manual_seed(0)
        places = unseen.nonzero().flatten()[torch.randperm(int(unseen.sum()), generator=rng)]
        unseen = torch.zeros_like(unseen)
        unseen[places[: LARGE // pool.images[0].numel()]] = True
    return RealImages(pool.select(unseen), units[unseen], labelled=False)


def reference(trial: Trial, others: RealImages) -> RealImages:
    """Return the real images that synthetic ones are compared with: the pool's rest, if enough.

    At most 2 · MAX_IMAGES of them, in a fixed random order.
    """
    n, n_classes = len(others.images), len(trial.labelled.classes)
    found = others
    if n < max(_ENOUGH, 2 * n_classes) and n < len(trial.labelled):
        groups = trial.data.pool_groups
        of_labelled = [groups[i] for i in trial.indices.tolist()] if groups else None
        units = linked_units(of_labelled, pixel_hashes(trial.labelled.images.cpu()))
        found = RealImages(trial.labelled, _numbered(units), labelled=True)
    rng = torch.Generator().manual_seed(0)
    order = torch.randperm(len(found.images), generator=rng)
    return found.select(order[: 2 * MAX_IMAGES])


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


def _numbered(units: list[Any]) -> Tensor:
    """Number units in the order of their first image: [N] int64."""
    numbers: dict[Any, int] = {}
    return torch.tensor([numbers.setdefault(unit, len(numbers)) for unit in units])
