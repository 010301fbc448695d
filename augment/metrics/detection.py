"""Scores of a detector: COCO's average precision, what each picture adds to it, precision, recall.

Average precision (AP) is no mean over pictures. `contributions` gives each picture a number whose
mean is the mAP and whose variance over pictures is that of the mAP: its value plus the influence of
the picture (Hampel 1974; the infinitesimal jackknife). So the interval over trials × test units of
`intervals.py` holds for detectors too; `tests/bench/coverage_detection.py` shows how well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from augment.metrics.matching import IOUS, Matches

_RECALLS = np.linspace(0, 1, 101)  # at which COCO reads the precision
_AP50 = 0  # index of IoU 0.5 in IOUS


def average_precisions(matches: Matches) -> np.ndarray:
    """Compute COCO's AP of each threshold of IoU and class: [10, K]; NaN without a true box."""
    table = np.full((len(IOUS), matches.n_true.shape[1]), np.nan)
    for label, n_true in enumerate(matches.n_true.sum(0)):
        if n_true:
            for row, right in enumerate(ranked(matches, label)[1].T):
                recall, precision = curve(right, n_true)
                at = np.searchsorted(recall, _RECALLS)
                # beyond the highest recall the precision is 0
                table[row, label] = np.append(precision, 0.0)[at].mean()
    return table


def ranked(matches: Matches, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Return picture [m] and `matched` [m, 10] of the detections of a class, best first."""
    rows = np.flatnonzero(matches.label == label)
    rows = rows[np.argsort(-matches.score[rows], kind="stable")]
    return matches.picture[rows], matches.matched[rows]


def curve(right: np.ndarray, n_true: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute recall [m] and interpolated precision [m] from which detections are right, in rank.

    The precision is the highest at this or a higher recall.
    """
    found = right.cumsum()
    precision = found / np.arange(1, len(right) + 1)
    return found / n_true, np.maximum.accumulate(precision[::-1])[::-1]


def contributions(matches: Matches) -> np.ndarray:
    """Compute what each picture adds to the mAP: [N], with the mAP as their mean.

    The mAP plus N times its derivative by the weight of the picture, which is 1. The area under the
    curve of all points stands for COCO's reading at 101.
    """
    n_pictures = len(matches.n_true)
    influence, classes = np.zeros(n_pictures), np.flatnonzero(matches.n_true.sum(0)).tolist()
    for label in classes:
        influence += _influence(*ranked(matches, label), matches.n_true[:, label])
    influence *= n_pictures / (len(IOUS) * max(1, len(classes)))
    return mean_ap(matches) + influence


def _influence(picture: np.ndarray, right: np.ndarray, n_true: np.ndarray) -> np.ndarray:
    """Differentiate the area under the curve of a class by the weights of the pictures: [N].

    Summed over the thresholds of IoU, the columns of `right` [m, 10]. At each of them
    area = Σ_i right_i P_r(i) / n_true, where P_r = (right up to rank r) / r is the precision and
    r(i) ≥ i the rank at which it is the highest.
    """
    m, ranks = len(right), np.arange(1, len(right) + 1)[:, None]
    precision = right.cumsum(0) / ranks
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    # r(i): the next rank whose precision is not exceeded by a later one
    index = np.where(precision == highest, ranks - 1, m)
    reads_at = np.minimum.accumulate(index[::-1])[::-1] + m * np.arange(right.shape[1])
    reads = np.bincount(reads_at.ravel(), right.ravel(), right.size)
    reads = (
        reads.reshape(len(IOUS), m).T / ranks
    )  # [m, 10]: Σ right_i / r over the i that read there
    # rank j takes part in each precision that is read at j or later
    later, later_p = (x[::-1].cumsum(0)[::-1] for x in (reads, reads * precision))
    by_rank = right * (highest + later) - later_p
    total = n_true.sum()
    area = float((right * highest).sum()) / total
    return (np.bincount(picture, by_rank.sum(1), len(n_true)) - area * n_true) / total


def mean_ap(matches: Matches) -> float:
    """Compute COCO's mAP@[.5:.95]; NaN without a true box."""
    table = average_precisions(matches)
    return float(np.nanmean(table)) if np.isfinite(table).any() else float("nan")


def best_threshold(matches: Matches) -> float:
    """Find the score from which detections are best counted: the highest mean F1 over classes.

    To be chosen on labelled or validation pictures, never on the test set. IoU 0.5.
    """
    candidates = np.unique(matches.score)
    candidates = candidates[:: max(1, len(candidates) // 200)]  # 200 are as good as all
    if not len(candidates):
        return 0.5
    f1 = [np.nanmean(_f1(*precision_recall(matches, float(c)))) for c in candidates]
    return float(candidates[int(np.argmax(f1))])


def _f1(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Compute F1, 0 where both are 0."""
    return 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def precision_recall(matches: Matches, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute precision [K] and recall [K] of detections with this score or more, at IoU 0.5.

    NaN for classes without a true box; 0 is the precision of a class that is never detected.
    """
    n_true = matches.n_true.sum(0)
    counted = matches.score >= np.float32(threshold)
    k = len(n_true)
    detected = np.bincount(matches.label[counted], minlength=k)
    right = np.bincount(matches.label[counted & matches.matched[:, _AP50]], minlength=k)
    absent = np.where(n_true == 0, np.nan, 0.0)
    return right / np.maximum(detected, 1) + absent, right / np.maximum(n_true, 1) + absent


def detection_scores(matches: Matches, threshold: float) -> dict[str, float]:
    """Compute mAP, AP50, mean precision and recall over classes; fractions from 0 to 1."""
    table = average_precisions(matches)
    precision, recall = precision_recall(matches, threshold)
    values = {"map": table, "ap50": table[_AP50], "precision": precision, "recall": recall}
    return {name: _mean(value) for name, value in values.items()}


def _mean(values: np.ndarray) -> float:
    """Average what is not NaN; NaN if nothing is left."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def detection_per_class(matches: Matches, threshold: float, classes: Sequence[str]) -> pd.DataFrame:
    """Tabulate a row a class: n_test boxes, ap, ap50, precision, recall; NaN without a box."""
    table = average_precisions(matches)
    precision, recall = precision_recall(matches, threshold)
    return pd.DataFrame(
        {
            "class": list(classes),
            "n_test": matches.n_true.sum(0),
            "ap": table.mean(0),
            "ap50": table[_AP50],
            "precision": precision,
            "recall": recall,
        }
    )
