"""Real images that synthetic ones are compared with: the unlabelled rest of the pool, if enough.

Else they are the labelled images themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from augment.data.images import LabelledImages, pixel_hashes
from augment.data.pictures.mapped import LARGE
from augment.data.subset import linked_units
from augment.experiment.context import Trial
from augment.metrics.synthetic import MAX_IMAGES

_ENOUGH = 50  # images of the pool's rest, and two a class, that the labelled ones need not replace


@dataclass(frozen=True)
class RealImages:
    """Real images for the comparison."""

    images: LabelledImages
    units: Tensor  # [N] int64: what belongs together, as images of one patient
    labelled: bool  # whether these are the labelled images themselves

    def select(self, index: Tensor) -> RealImages:
        """Select the images at these indices or under this mask."""
        return RealImages(self.images.select(index), self.units[index], self.labelled)


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
    enough = n >= max(_ENOUGH, 2 * n_classes) or n >= len(trial.labelled)
    return _some(others) if enough else labelled_images(trial)


def labelled_images(trial: Trial) -> RealImages:
    """Return the labelled images, at most 2 · MAX_IMAGES of them in a fixed random order."""
    groups = trial.data.pool_groups
    of_labelled = [groups[i] for i in trial.indices.tolist()] if groups else None
    units = linked_units(of_labelled, pixel_hashes(trial.labelled.images.cpu()))
    return _some(RealImages(trial.labelled, _numbered(units), labelled=True))


def _some(real: RealImages) -> RealImages:
    rng = torch.Generator().manual_seed(0)
    order = torch.randperm(len(real.images), generator=rng)
    return real.select(order[: 2 * MAX_IMAGES])


def _numbered(units: list[Any]) -> Tensor:
    """Number units in the order of their first image: [N] int64."""
    numbers: dict[Any, int] = {}
    return torch.tensor([numbers.setdefault(unit, len(numbers)) for unit in units])
