"""MIXINGS: when and how synthetic images enter a training that has labelled ones too.

Each changes a training set whose first part is labelled and whose second is synthetic; it is given
the evidence on each synthetic image, by the trial's real+classic classifier.
Batch size, steps, schedule and initialisation are those of every other arm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from augment.experiment.filters import Evidence
from augment.training.training_set import TrainingSet

Mixing = Callable[[TrainingSet, Evidence], TrainingSet]

CONFIRMED = "confirmed"
SYNTHETIC_WEIGHT = 0.5  # of the loss of a synthetic image; 1 for a labelled one


def constant(data: TrainingSet, evidence: Evidence) -> TrainingSet:
    """Keep the synthetic share of all batches constant."""
    return data


def pretrain(data: TrainingSet, evidence: Evidence) -> TrainingSet:
    """Pretrain on synthetic images for that share of the steps, then use labelled ones alone."""
    return dataclasses.replace(data, synthetic_schedule=lambda done: float(done < data.shares[1]))


def falling(data: TrainingSet, evidence: Evidence) -> TrainingSet:
    """Decrease the synthetic share of a batch linearly from twice the share (1 at most) to 0."""
    first = min(1.0, 2 * data.shares[1])
    return dataclasses.replace(data, synthetic_schedule=lambda done: first * (1 - done))


def early(data: TrainingSet, evidence: Evidence) -> TrainingSet:
    """Decrease the share linearly from four times its size (1 at most) to 0 at half of the steps.

    The labelled images that follow alone fit the network to their batch statistics before the
    learning rate is close to 0. Above a share of 0.25 the average stays 0.25.
    """
    first = min(1.0, 4 * data.shares[1])
    return dataclasses.replace(
        data, synthetic_schedule=lambda done: max(0.0, first * (1 - 2 * done))
    )


def confirmed(data: TrainingSet, evidence: Evidence) -> TrainingSet:
    """Decrease the share as `early` does, scaled by how far judges confirm the synthetic labels.

    The scale is Cohen's kappa over that of real images: 1 where judges take synthetic images for
    their classes as often, 0 where they guess, so that those leave the training of the baseline.
    """
    schedule = early(data, evidence).synthetic_schedule
    assert schedule
    return dataclasses.replace(
        data, synthetic_schedule=lambda done: evidence.trust * schedule(done)
    )


def weighted(data: TrainingSet, evidence: Evidence) -> TrainingSet:
    """Weight the loss of synthetic images by 0.5 and keep the mean weight of a batch at 1."""
    mean = (
        1 - (1 - SYNTHETIC_WEIGHT) * data.shares[1]
    )  # without it the effective learning rate would be lower too
    labelled, synthetic, *rest = one_hot(data)
    return dataclasses.replace(
        data, targets=(labelled / mean, SYNTHETIC_WEIGHT * synthetic / mean, *rest)
    )


def soft(data: TrainingSet, evidence: Evidence) -> TrainingSet:
    """Label synthetic images with the probabilities of the trial's real+classic classifier."""
    labelled, _, *rest = one_hot(data)
    return dataclasses.replace(data, targets=(labelled, evidence.probabilities, *rest))


def own_norm(data: TrainingSet, evidence: Evidence) -> TrainingSet:
    """Normalise synthetic images separately in training; predict with the labelled statistics."""
    return dataclasses.replace(data, norm_apart=True)


def falling_own_norm(data: TrainingSet, evidence: Evidence) -> TrainingSet:
    """Decrease the synthetic share to 0 and normalise synthetic images separately."""
    return own_norm(falling(data, evidence), evidence)


MIXINGS: dict[str, Mixing] = {
    "constant": constant,
    "pretrain": pretrain,
    "falling": falling,
    "early": early,
    CONFIRMED: confirmed,
    "weighted": weighted,
    "own-norm": own_norm,
    "falling-own-norm": falling_own_norm,
    "soft": soft,
}
# change no label and no statistics
SCHEDULES = ("constant", "pretrain", "falling", "early", CONFIRMED)
# begin with so many times the share
FALLING = {"falling": 2, "falling-own-norm": 2, "early": 4, CONFIRMED: 4}
NORMED_APART = ("own-norm", "falling-own-norm")


def one_hot(data: TrainingSet) -> list[Tensor]:
    """Encode the labels of each part: [N, K] float; rows of unlabelled images are -1."""
    k = len(data.parts[0].classes)
    # -1 is no class for F.one_hot: encode 0 there, then restore -1
    return [
        F.one_hot(part.labels.clamp(min=0), k).float().where(part.labels[:, None] >= 0, -1.0)
        for part in data.parts
    ]
