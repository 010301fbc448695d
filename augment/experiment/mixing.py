"""MIXINGS: when and how synthetic images come into a training that has labelled ones too.

Each changes a training set whose first part is labelled and whose second is synthetic; it is given
the class probabilities [M, K] of the synthetic images by the trial's own real+classic classifier.
Batch size, steps, schedule and initialisation stay those of every other arm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.training.training_set import TrainingSet

Mixing = Callable[[TrainingSet, Tensor], TrainingSet]


LESS = 0.5  # what the loss of a synthetic image counts for one of a labelled image


def constant(data: TrainingSet, probabilities: Tensor) -> TrainingSet:
    """The same share of every batch is synthetic."""
    return data


def pretrain(data: TrainingSet, probabilities: Tensor) -> TrainingSet:
    """Synthetic images alone for that share of the steps, then labelled ones alone."""
    return dataclasses.replace(data, synthetic_schedule=lambda done: float(done < data.shares[1]))


def falling(data: TrainingSet, probabilities: Tensor) -> TrainingSet:
    """The synthetic share of a batch falls from twice the share (1 at most) to none."""
    first = min(1.0, 2 * data.shares[1])
    return dataclasses.replace(data, synthetic_schedule=lambda done: first * (1 - done))


def weighted(data: TrainingSet, probabilities: Tensor) -> TrainingSet:
    """A synthetic image's loss counts half; a batch as a whole counts what it always does."""
    mean = 1 - (1 - LESS) * data.shares[1]  # without it the learning rate would be lower, too
    labelled, synthetic, *rest = one_hot(data)
    return dataclasses.replace(data, targets=(labelled / mean, LESS * synthetic / mean, *rest))


def soft(data: TrainingSet, probabilities: Tensor) -> TrainingSet:
    """Labels of synthetic images are what the trial's own real+classic classifier sees in them."""
    labelled, _, *rest = one_hot(data)
    return dataclasses.replace(data, targets=(labelled, probabilities, *rest))


def own_norm(data: TrainingSet, probabilities: Tensor) -> TrainingSet:
    """Batch norm takes synthetic images apart in training and predicts as for labelled ones."""
    first, second, *rest = one_hot(data)
    halves = (torch.cat([first, 0 * first], 1), torch.cat([0 * second, second], 1))
    return dataclasses.replace(data, targets=(*halves, *(part.repeat(1, 2) for part in rest)))


MIXINGS: dict[str, Mixing] = {
    "constant": constant,
    "pretrain": pretrain,
    "falling": falling,
    "weighted": weighted,
    "own-norm": own_norm,
    "soft": soft,
}


def one_hot(data: TrainingSet) -> list[Tensor]:
    """[N, K] float of each part; rows of unlabelled images stay -1."""
    k = len(data.parts[0].classes)
    return [
        F.one_hot(part.labels.clamp(min=0), k).float().where(part.labels[:, None] >= 0, -1.0)
        for part in data.parts
    ]
