"""Score detectors: on the test set, and on held-out labelled pictures where something is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augment.data.box_sheets import box_sheet
from augment.data.boxed_images import NO_BOX, BoxedImages
from augment.data.grids import save_png
from augment.data.split import Dataset
from augment.detectors.detections import MOST_DETECTIONS
from augment.experiment.composing import GENERATED, LABELLED
from augment.experiment.context import Trial
from augment.experiment.folds import Validated
from augment.metrics.detection import best_threshold, contributions, detection_scores
from augment.metrics.matching import Matches, joined, match

MAP = "mAP"  # as the table names it: COCO's AP@[.5:.95]
_PREDICTIONS = "predictions.safetensors"
_WORST = 8  # pictures in a sheet
_ROW = 46  # bytes of a detection in a file


def score_boxes(detector: Any, trial: Trial[BoxedImages], folder: Path) -> dict[str, float]:
    """Detect in the test pictures, write the detections and return the scores.

    The threshold of precision and recall is chosen on the labelled pictures.
    """
    test, labelled, k = trial.data.test, trial.labelled, len(trial.labelled.classes)
    matches = match(detector.predict(test.images).numpy(), test.labels.numpy(), k)
    matches.save(folder / _PREDICTIONS)
    own = match(detector.predict(labelled.images).numpy(), labelled.labels.numpy(), k)
    threshold = best_threshold(own)
    save_png(worst_pictures(test, matches, threshold), folder / "worst.png")
    return _columns(matches, threshold) | {"box_threshold": threshold}


def scored_pictures(trial: Trial[BoxedImages]) -> tuple[int, float]:
    """Return how many pictures `score_boxes` predicts, and the megabytes that it writes at most."""
    n_test, n_classes = len(trial.data.test), len(trial.labelled.classes)
    return n_test + len(trial.labelled), n_test * (MOST_DETECTIONS * _ROW + 8 * n_classes) / 1e6


def validate_boxes(labelled: BoxedImages, parts: Sequence[tuple[Path, Tensor]]) -> Validated:
    """Rank by mAP: `parts` holds the score of each fold and the mask of what it held out.

    Detections of all folds are ranked together; what a picture adds is its influence on the mAP.
    Precision and recall are those at the best threshold for these pictures.
    """
    found = [
        (Matches.load(score / _PREDICTIONS), held_out.nonzero().flatten().numpy())
        for score, held_out in parts
    ]
    matches = joined(found, len(labelled))
    scores = _columns(matches, best_threshold(matches))
    return Validated(torch.from_numpy(contributions(matches)), scores)


def _columns(matches: Matches, threshold: float) -> dict[str, float]:
    """Compute the scores by their columns in results.csv."""
    found = detection_scores(matches, threshold)
    return {
        "map": found["map"],
        "ap50": found["ap50"],
        "box_precision": found["precision"],
        "box_recall": found["recall"],
    }


def worst_pictures(test: BoxedImages, matches: Matches, threshold: float) -> Tensor:
    """Draw the test pictures with the most wrong and missed boxes: true green, found orange."""
    shown = matches.score >= np.float32(threshold)
    right = np.bincount(matches.picture[shown & matches.matched[:, 0]], minlength=len(test))
    counted = np.bincount(matches.picture[shown], minlength=len(test))
    faults = counted + matches.n_true.sum(1) - 2 * right
    worst = np.argsort(-faults, kind="stable")[:_WORST].tolist()
    found = [np.flatnonzero(shown & (matches.picture == picture)) for picture in worst]
    most = max(1, *(len(rows) for rows in found))
    labels = torch.full((len(worst), most, 5), NO_BOX)
    for row, rows in enumerate(found):
        labels[row, : len(rows), 0] = torch.from_numpy(matches.label[rows]).float()
        labels[row, : len(rows), 1:] = torch.from_numpy(matches.corners[rows])
    both = torch.cat([labels, test.labels[worst]], 1)  # what is true is drawn over what is found
    colours = torch.tensor([[GENERATED] * most + [LABELLED] * test.labels.shape[1]] * len(worst))
    return box_sheet(test.images[worst], both, colours)


def precision_measure(data: Dataset[BoxedImages]) -> str:
    """Name the average precision that counts."""
    return MAP
