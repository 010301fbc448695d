"""Detections matched to true boxes, as COCO does: what every score of a detector is made of.

Within a picture and class each detection, best first, takes the free true box that it overlaps
most, if by enough. One flat table of them is all that average precision, its interval, precision
and recall need, so that a test set is matched once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

IOUS = np.linspace(0.5, 0.95, 10)  # the thresholds of COCO's mAP
_ALMOST = 1 - 1e-10  # an IoU from here is 1, as in COCO's own code


@dataclass(frozen=True)
class Matches:
    """The M detections in N pictures of K classes; those of a picture together, best first."""

    picture: np.ndarray  # [M] int64
    label: np.ndarray  # [M] int64
    score: np.ndarray  # [M] float32
    corners: np.ndarray  # [M, 4] float32: xmin, ymin, xmax, ymax in pixels
    matched: np.ndarray  # [M, 10] bool: has a true box, by the threshold of IoU
    n_true: np.ndarray  # [N, K] int64: true boxes

    def of_class(self, label: int) -> Matches:
        """Select the detections and the true boxes of a class, in all pictures."""
        rows = self.label == label
        n_true = np.where(np.arange(self.n_true.shape[1]) == label, self.n_true, 0)
        flat = {name: each[rows] for name, each in vars(self).items() if name != "n_true"}
        return Matches(**flat, n_true=n_true)

    def save(self, file: Path) -> None:
        """Write all of it as safetensors."""
        from safetensors.numpy import save_file

        save_file(dict(vars(self)), file)

    @classmethod
    def load(cls, file: Path) -> Matches:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        return cls(**load_file(file))


def match(detections: np.ndarray, boxes: np.ndarray, k: int) -> Matches:
    """Match detections [N, D, 6] (class, score, corners) to boxes [N, B, 5] (class, corners).

    Rows of class -1 pad; corners are (xmin, ymin, xmax, ymax) in pixels. A box counts for one
    detection, whatever the class of others that overlap it.
    """
    n_true = np.zeros((len(boxes), k), np.int64)
    tables, matched = [], []
    for picture, (rows, true) in enumerate(zip(detections, boxes, strict=True)):
        rows, true = rows[rows[:, 0] >= 0], true[true[:, 0] >= 0]
        rows = rows[np.argsort(-rows[:, 1], kind="stable")]
        n_true[picture] = np.bincount(true[:, 0].astype(np.int64), minlength=k)
        tables.append(np.column_stack([np.full(len(rows), picture, np.float64), rows]))
        matched.append(_matched(rows, true))
    table = np.concatenate(tables)
    return Matches(
        picture=table[:, 0].astype(np.int64),
        label=table[:, 1].astype(np.int64),
        score=table[:, 2].astype(np.float32),
        corners=table[:, 3:].astype(np.float32),
        matched=np.concatenate(matched),
        n_true=n_true,
    )


def joined(parts: Sequence[tuple[Matches, np.ndarray]], n: int) -> Matches:
    """Join the matches of parts of N pictures; each comes with the indices of its pictures [n]."""
    n_true = np.zeros((n, parts[0][0].n_true.shape[1]), np.int64)
    for matches, indices in parts:
        n_true[indices] = matches.n_true
    pictures = [indices[matches.picture] for matches, indices in parts]
    flat = {
        name: np.concatenate([getattr(matches, name) for matches, _ in parts])
        for name in ("label", "score", "corners", "matched")
    }
    return Matches(picture=np.concatenate(pictures), n_true=n_true, **flat)


def _matched(rows: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Tell which detections of a picture, best first, have a true box: [n, 10]."""
    found = np.zeros((len(rows), len(IOUS)), bool)
    overlap = iou_matrix(rows[:, 2:], true[:, 1:])  # [n, G]
    overlap[rows[:, :1] != true[:, 0]] = 0
    free = np.ones((len(IOUS), len(true)), bool)
    enough = np.minimum(IOUS, _ALMOST)[:, None]
    for row in np.flatnonzero((overlap >= IOUS[0]).any(1)):
        possible = np.where(free & (overlap[row] >= enough), overlap[row], -1.0)  # [10, G]
        # of equal overlaps the last, as in COCO's own code
        best = len(true) - 1 - possible[:, ::-1].argmax(1)
        at = np.flatnonzero(possible[np.arange(len(IOUS)), best] >= 0)
        free[at, best[at]] = False
        found[row, at] = True
    return found


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the IoU of boxes [n, 4] with boxes [m, 4]: [n, m] float64."""
    a, b = a.astype(np.float64)[:, None], b.astype(np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = sides.clip(min=0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (a, b)]
    union = areas[0] + areas[1] - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)
