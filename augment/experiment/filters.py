"""Evidence on synthetic images, and FILTERS: which of them an arm learns from.

No filter uses more than the labelled images: the judge is the trial's `real+classic` classifier.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Evidence:
    """Measures of each synthetic image, computed before training on it."""

    labels: Tensor  # [N] int64, requested classes
    probabilities: Tensor  # [N, K] probability of each class, by the judge
    distance: Tensor  # [N] to the nearest labelled image of its class, in random features
    copied: Tensor  # [N] bool: repeats a labelled image
    trust: float  # in the labels of all images, 0…1: see `trust_in`

    @property
    def wanted(self) -> Tensor:
        """[N] probability of the requested class."""
        return self.probabilities.gather(1, self.labels[:, None]).squeeze(1)

    def select(self, keep: Tensor) -> Evidence:
        """Select images: a mask [N] or indices."""
        images = {n: x[keep] for n, x in vars(self).items() if isinstance(x, Tensor)}
        return dataclasses.replace(self, **images)


Filter = Callable[[Evidence], Tensor]  # [N] bool: True for images to keep


def keep_all(evidence: Evidence) -> Tensor:
    """Keep all images."""
    return torch.ones(len(evidence.labels), dtype=torch.bool)


def agreement(evidence: Evidence) -> Tensor:
    """Keep images that the judge assigns to the requested class."""
    return evidence.probabilities.argmax(1) == evidence.labels


def confidence(evidence: Evidence) -> Tensor:
    """Keep the half of each class of which the judge is most certain."""
    return best_half(evidence.wanted, evidence.labels)


def near(evidence: Evidence) -> Tensor:
    """Keep the half of each class nearest to its labelled images, in random-network features."""
    return best_half(-evidence.distance, evidence.labels)


def new(evidence: Evidence) -> Tensor:
    """Keep images that repeat no labelled image, by the rules of metrics/copies.py."""
    return ~evidence.copied


FILTERS: dict[str, Filter] = {
    "none": keep_all,
    "agreement": agreement,
    "confidence": confidence,
    "near": near,
    "new": new,
}


def best_half(score: Tensor, labels: Tensor) -> Tensor:
    """Keep the upper half of each class, at least one image; ties in order: [N] bool."""
    keep = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        order = score[members].argsort(descending=True, stable=True)
        keep[members[order[: max(1, len(members) // 2)]]] = True
    return keep


def filter_mask(name: str, evidence: Evidence) -> Tensor:
    """Apply a filter: [N] bool.

    A class that would lose all images keeps the most probable one, so that no class is missing.
    """
    keep = FILTERS[name](evidence)
    for label in evidence.labels.unique():
        members = (evidence.labels == label).nonzero().flatten()
        if not keep[members].any():
            keep[members[evidence.wanted[members].argmax()]] = True
    return keep
