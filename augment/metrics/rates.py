"""Shares of images: at another set's mix of classes, and whether one is surely below another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_Z = 2.576  # of the 99 % interval: a run assesses many sets, and each false alarm costs trust


@dataclass(frozen=True)
class Rate:
    """A share of images."""

    value: float
    n: float  # images; fewer than there are where some weigh more than others


def rate_of(hits: Tensor) -> Rate:
    """Compute the share of images that hit: [N] bool, or float where several judges are averaged.

    NaN of no image.
    """
    return Rate(float(hits.float().mean()), len(hits))


def rate_by_class(hits: Tensor, labels: Tensor, n_classes: int) -> list[float | None]:
    """Compute that share of each class; None for a class without images."""
    means = [rate_of(hits[labels == k]) for k in range(n_classes)]
    return [rate.value if rate.n else None for rate in means]


def rate_at_mix(hits: Tensor, labels: Tensor, mix: Tensor) -> Rate | None:
    """Compute the share of [M] images that hit, at the class mix of other images.

    `mix` [K] counts those by class: a rate of mostly easy classes is no floor for one of hard ones.
    Classes without images are left out; None if no class is left.
    """
    counts = torch.bincount(labels, minlength=len(mix)).double()
    shared = (counts > 0) & (mix > 0)
    if not shared.any():
        return None
    weights = mix[shared] / mix[shared].sum()
    sums = torch.bincount(labels, hits.double(), minlength=len(mix))
    value = float((weights * sums[shared] / counts[shared]).sum())
    return Rate(value, 1 / float((weights.square() / counts[shared]).sum()))  # Kish 1965


def surely_below(low: Rate, high: Rate) -> bool:
    """Tell whether the 99 % interval of `high` − `low` lies above 0."""
    return least_difference(low, high) > 0


def least_difference(low: Rate, high: Rate, z: float = _Z) -> float:
    """Compute the lower end of the interval of `high` − `low` (Newcombe 1998, method 10)."""
    reach = math.hypot(high.value - _wilson(high, z)[0], _wilson(low, z)[1] - low.value)
    return high.value - low.value - reach


def _wilson(rate: Rate, z: float) -> tuple[float, float]:
    """Compute the score interval of a share (Wilson 1927)."""
    p, n = rate.value, rate.n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return centre - half, centre + half
