"""FILTERS: which synthetic images an arm learns from, by what the trial's own judge saw in them.

Nothing here sees more than the labelled images: the judge is the trial's `real+classic` classifier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Evidence:
    """What is known of each synthetic image before it is learnt from."""

    labels: Tensor  # [N] int64, the classes wanted
    probabilities: Tensor  # [N, K] probability of each class, by the judge
    distance: Tensor  # [N] to the nearest labelled image of its class, in random features
    copied: Tensor  # [N] bool: repeats a labelled image

    @property
    def wanted(self) -> Tensor:
        """[N] probability of the class wanted."""
        return self.probabilities.gather(1, self.labels[:, None]).squeeze(1)


Filter = Callable[[Evidence], Tensor]


def keep_all(seen: Evidence) -> Tensor:
    """All of them."""
    return torch.ones(len(seen.labels), dtype=torch.bool)


def agreement(seen: Evidence) -> Tensor:
    """Those that the judge takes for the class wanted."""
    return seen.probabilities.argmax(1) == seen.labels


def confidence(seen: Evidence) -> Tensor:
    """The half of each class that the judge is surest of."""
    return best_half(seen.wanted, seen.labels)


def near(seen: Evidence) -> Tensor:
    """The half of each class nearest to its labelled images, in features of a random network."""
    return best_half(-seen.distance, seen.labels)


def new(seen: Evidence) -> Tensor:
    """Those that repeat no labelled image, by the rules of metrics/copies.py."""
    return ~seen.copied


FILTERS: dict[str, Filter] = {
    "none": keep_all,
    "agreement": agreement,
    "confidence": confidence,
    "near": near,
    "new": new,
}


def best_half(score: Tensor, labels: Tensor) -> Tensor:
    """[N] bool: the upper half of each class, at least one image; ties in order."""
    keep = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        own = (labels == label).nonzero().flatten()
        order = score[own].argsort(descending=True, stable=True)
        keep[own[order[: max(1, len(own) // 2)]]] = True
    return keep


def kept(name: str, seen: Evidence) -> Tensor:
    """[N] bool under a filter. A class of which nothing is left keeps its surest image, so that no
    class is missing."""
    keep = FILTERS[name](seen)
    for label in seen.labels.unique():
        own = (seen.labels == label).nonzero().flatten()
        if not keep[own].any():
            keep[own[seen.wanted[own].argmax()]] = True
    return keep
