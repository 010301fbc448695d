"""TASKS: what differs between learning classes and learning boxes, and nothing else does.

A generator learns images with one class each: the labelled images, or crops of labelled boxes. All
that is done with these, from training to the check of what was sampled, is one and the same.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from augment.data.boxed_images import BoxedImages
from augment.data.split import Dataset
from augment.experiment import box_scores, classification, detection, folds
from augment.experiment.cells import Cell
from augment.experiment.context import Pictures, SyntheticSet, Trial
from augment.experiment.folds import Validated
from augment.experiment.progress import Progress
from augment.experiment.recipe import CLASSIFY, DETECT
from augment.training.training_set import TrainingSet


@dataclass(frozen=True)
class Task:
    """What a data set asks for."""

    # the trial whose labelled images a generator learns and its samples are compared with
    objects: Callable[[Trial[Any]], Trial]
    object_cell: Callable[[Cell], Cell]  # the cell of that trial
    # pictures made of objects, labelled or generated, that the arm adds; None: it adds none
    compose: Callable[[Trial[Any], SyntheticSet | None], Generator[Progress, None, Pictures | None]]
    training_set: Callable[[Trial[Any], SyntheticSet | None, Pictures | None], TrainingSet]
    timed_set: Callable[[Trial[Any]], TrainingSet]  # of equal cost, made of labelled images alone
    # compose a few of labelled objects alone; return them and how many the arm adds; None: none
    timed_pictures: Callable[[Trial[Any]], tuple[BoxedImages, int]] | None
    # predict the test set, write the predictions to a folder and return the scores
    score: Callable[[Any, Trial[Any], Path], dict[str, float]]
    scored: Callable[[Trial[Any]], tuple[int, float]]  # images that it predicts, MB that it writes
    measure: Callable[[Dataset[Any]], str]  # name of the score that counts
    # labelled images, their groups, how many folds, seed → the fold of each
    fold_numbers: Callable[[Any, list[str], int, int], Tensor]
    # labelled images, and of each fold the score of a candidate and the mask of what it held out
    validate: Callable[[Any, Sequence[tuple[Path, Tensor]]], Validated]
    validated: str  # the score of a choice that results.csv has


TASKS: dict[str, Task] = {
    CLASSIFY: Task(
        objects=classification.as_they_are,
        object_cell=classification.same_cell,
        compose=classification.no_pictures,
        training_set=classification.classifier_parts,
        timed_set=classification.timed_parts,
        timed_pictures=None,
        score=classification.score_classes,
        scored=classification.scored_images,
        measure=classification.accuracy_measure,
        fold_numbers=folds.fold_numbers,
        validate=classification.validate_classes,
        validated="accuracy",
    ),
    DETECT: Task(
        objects=detection.crop_trial,
        object_cell=detection.crop_cell,
        compose=detection.compose,
        training_set=detection.detector_parts,
        timed_set=detection.timed_detector_parts,
        timed_pictures=detection.timed_pictures,
        score=box_scores.score_boxes,
        scored=box_scores.scored_pictures,
        measure=box_scores.precision_measure,
        fold_numbers=folds.boxed_fold_numbers,
        validate=box_scores.validate_boxes,
        validated="map",
    ),
}
