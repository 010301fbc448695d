"""Folds of the labelled images of a trial, on which choices are validated."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from augment.data.boxed_images import AnyImages, BoxedImages
from augment.data.boxes.stratify import class_presence, deal
from augment.data.images import LabelledImages, pixel_hashes
from augment.data.split import Dataset
from augment.data.subset import folds, linked_units
from augment.errors import UsageError
from augment.runtime.seeds import seed_for


@dataclass(frozen=True)
class Validated:
    """What a candidate is worth on labelled images that it was not trained on."""

    values: Tensor  # [N] what each image adds to it; candidates are ranked by the mean
    scores: dict[str, float]  # columns of selection.csv and classic.csv


def fold_numbers(labelled: LabelledImages, groups: list[str], number: int, seed: int) -> Tensor:
    """Assign each labelled image a fold from 0 to number - 1, stratified: [N] int64.

    Images of one group, and equal images, stay in one fold: otherwise validation would leak.
    `groups` is empty or has the group of each image.
    """
    units = linked_units(groups or None, pixel_hashes(labelled.images.cpu()))
    return torch.tensor(folds(labelled.labels.tolist(), units, number, seed_for(seed, "select")))


def boxed_fold_numbers(labelled: BoxedImages, groups: list[str], number: int, seed: int) -> Tensor:
    """Assign each labelled picture a fold as `fold_numbers` does; it may show several classes."""
    units = linked_units(groups or None, pixel_hashes(labelled.images.cpu()))
    present = class_presence(labelled.labels, len(labelled.classes))
    return torch.from_numpy(deal(present, units, [1.0] * number, seed_for(seed, "select")))


def hold_out_fold(
    data: Dataset, indices: Tensor, fold: tuple[int, int], seed: int
) -> tuple[Dataset, Tensor]:
    """Put a fold of the labelled images in the place of the test set, which is left out.

    `indices` are those of the labelled images in the pool, `fold` a number from 1 and the count.
    Returns the data set and the indices of the other labelled images in its pool, which has lost
    the fold: its unlabelled rest stays. UsageError if a class has no image outside the fold.
    """
    number, count = fold
    labelled = data.pool.select(indices)
    groups = [data.pool_groups[i] for i in indices.tolist()] if data.pool_groups else []
    held_out = fold_numbers(labelled, groups, count, seed) == number - 1
    refuse_missing_class(labelled.select(~held_out), "augment advise", "leave it out")
    kept = torch.ones(len(data.pool), dtype=torch.bool)
    kept[indices[held_out]] = False
    part = dataclasses.replace(
        data,
        pool=data.pool.select(kept),
        test=labelled.select(held_out),
        pool_files=[],
        test_files=[],
        pool_groups=[],
        test_groups=[],
    )
    places = kept.cumsum(0) - 1  # of the images of the pool in what is left of it
    return part, places[indices[~held_out]]


def refuse_missing_class(training: AnyImages, what: str, way_out: str) -> None:
    """Raise UsageError, which begins with `what`, if the training images of a fold lack a class."""
    for name, count in zip(training.classes, training.counts(), strict=True):
        if not count:
            raise UsageError(
                f"{what}: class '{name}' has images of one fold alone (equal images and groups "
                f"stay together): label more of it, or {way_out}"
            )
