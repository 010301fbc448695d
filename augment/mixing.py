"""MIXINGS: when and how synthetic images come into a training that has labelled ones too.

Each changes a training set whose first part is labelled and whose second is synthetic. Batch size,
steps, schedule and initialisation stay those of every other arm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from augment.learn import TrainingSet

Mixing = Callable[[TrainingSet], TrainingSet]


def constant(data: TrainingSet) -> TrainingSet:
    """The same share of every batch is synthetic."""
    return data


def pretrain(data: TrainingSet) -> TrainingSet:
    """Synthetic images alone for that share of the steps, then labelled ones alone."""
    return dataclasses.replace(data, second=lambda done: float(done < data.shares[1]))


def falling(data: TrainingSet) -> TrainingSet:
    """The synthetic share of a batch falls from twice the share (1 at most) to none."""
    first = min(1.0, 2 * data.shares[1])
    return dataclasses.replace(data, second=lambda done: first * (1 - done))


MIXINGS: dict[str, Mixing] = {
    "constant": constant,
    "pretrain": pretrain,
    "falling": falling,
}
