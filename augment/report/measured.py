"""MEASURE_READERS: how each measure is read from the stored predictions of a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open

from augment.experiment.box_scores import MAP
from augment.experiment.records import ScoreResult
from augment.metrics.classification import BALANCED, per_class
from augment.metrics.detection import contributions, detection_per_class
from augment.metrics.matching import Matches

PREDICTIONS = "predictions.safetensors"


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class, whose mean is that of the class."""

    n_test: int  # images of the class, or boxes
    values: np.ndarray  # [n] what each of these images adds
    images: np.ndarray  # [n] int64: their indices in the test set


@dataclass(frozen=True)
class MeasureReader:
    """A measure: its words, and what the predictions in a score's folder say by it."""

    head: str  # of its column
    meaning: str  # a sentence
    learner: str  # what is trained in every arm
    exported: str  # how `augment export` lays images out
    of_class: str  # what is measured of a single class
    by_image: Callable[[Path], np.ndarray]  # [N] what each image adds to the score, their sum
    by_class: Callable[[Path], dict[int, ClassScores]]  # of the classes in the test set
    per_class: Callable[[Path], pd.DataFrame]
    confuses: bool = True  # whether a prediction is one class for another


def _labels(score: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the labels of the test images and what a classifier took them for: [N], [N]."""
    with safe_open(score / PREDICTIONS, "numpy") as file:
        return file.get_tensor("labels"), file.get_tensor("predicted")


def _right(score: Path) -> np.ndarray:
    """Share the accuracy out among the test images."""
    labels, predicted = _labels(score)
    return (labels == predicted) / len(labels)


def _right_balanced(score: Path) -> np.ndarray:
    """Share the mean recall of the classes out among the test images."""
    labels, predicted = _labels(score)
    counts = np.bincount(labels)
    return (labels == predicted) / (counts[labels] * np.count_nonzero(counts))


def _recalls(score: Path) -> dict[int, ClassScores]:
    """Read which images of each class are right."""
    labels, predicted = _labels(score)
    hits = (labels == predicted).astype(float)
    return {
        int(k): ClassScores(
            int((labels == k).sum()), hits[labels == k], np.flatnonzero(labels == k)
        )
        for k in np.unique(labels)
    }


def _scores_of_classes(score: Path) -> pd.DataFrame:
    """Tabulate precision, recall and F1 of each class."""
    labels, predicted = _labels(score)
    return per_class(labels, predicted, ScoreResult.read(score).classes)


def _precisions(score: Path) -> np.ndarray:
    """Share the average precision out among the test pictures, by their influence on it."""
    values = contributions(Matches.load(score / PREDICTIONS))
    return values / len(values)


def _class_precisions(score: Path) -> dict[int, ClassScores]:
    """Share the average precision of each class out among the test pictures."""
    matches = Matches.load(score / PREDICTIONS)
    found = {}
    for k in np.flatnonzero(matches.n_true.sum(0)):
        values = contributions(matches.of_class(int(k)))
        found[int(k)] = ClassScores(int(matches.n_true[:, k].sum()), values, np.arange(len(values)))
    return found


def _boxes_of_classes(score: Path) -> pd.DataFrame:
    """Tabulate average precision, precision and recall of the boxes of each class."""
    result = ScoreResult.read(score)
    matches = Matches.load(score / PREDICTIONS)
    return detection_per_class(matches, float(result.box_threshold or 0.0), result.classes)


_ACCURACY = MeasureReader(
    head="accuracy %",
    meaning=(
        "Accuracy: mean ± standard deviation over n trials on the test set, in percent (balanced "
        "accuracy, the mean recall of the classes, where the title says so)."
    ),
    learner="classifier",
    exported="a folder for each class",
    of_class="Recall",
    by_image=_right,
    by_class=_recalls,
    per_class=_scores_of_classes,
)
MEASURE_READERS: dict[str, MeasureReader] = {
    "accuracy": _ACCURACY,
    BALANCED: replace(_ACCURACY, by_image=_right_balanced),
    MAP: MeasureReader(
        head="mAP %",
        meaning=(
            "mAP: COCO's average precision over the IoU thresholds 0.5 to 0.95, mean over classes; "
            "mean ± standard deviation over n trials on the test set, in percent."
        ),
        learner="detector",
        exported="with their boxes as COCO and YOLO in one folder",
        of_class="Average precision (COCO's, IoU 0.5 to 0.95)",
        by_image=_precisions,
        by_class=_class_precisions,
        per_class=_boxes_of_classes,
        confuses=False,
    ),
}


def the_measure(names: Iterable[str]) -> MeasureReader:
    """Return the measure of a table: of several the first, whose title names its own."""
    return MEASURE_READERS[next((name for name in names if name in MEASURE_READERS), "accuracy")]
