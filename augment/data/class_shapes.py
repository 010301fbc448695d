"""Whether the shape of a picture tells its class, by the bands that padding leaves beside it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from augment.data.pictures.framing import Frame, inner_size

TOLD_FROM = 0.8  # balanced accuracy of a class against the rest; chance is 0.5
FALSE_ALARMS = 1e-3  # share of sets of mixed shapes, by the normal distribution
NEARLY_ALL = 0.95  # told right: enough for any class of LEAST pictures
LEAST = 5  # pictures of a class, fewer are not judged
COARSE = (16, 6)  # parts of a side: pictures whose bands differ by less are taken for alike
MAX_NAMED = 3  # classes


def class_shape_notes(
    sizes: Sequence[tuple[int, int]], labels: Sequence[int], classes: Sequence[str], frame: Frame
) -> list[str]:
    """Warn of classes that the bands of padded pictures give away; (W, H) of each picture."""
    if frame.fit != "pad" or len({inner_size(size, frame) for size in set(sizes)}) < 2:
        return []
    bands = {size: np.subtract(*inner_size(size, frame)) for size in set(sizes)}
    pixels = np.array([bands[size] for size in sizes])  # [N], of width minus height
    coarse = [np.rint(pixels * (parts / max(frame[:2]))) for parts in COARSE]
    truth, n = np.asarray(labels), len(classes)
    accuracy = np.max([_told_classes(shape, truth, n) for shape in (pixels, *coarse)], 0)
    told = [k for k in np.argsort(-accuracy, kind="stable") if accuracy[k] > 0]
    if not told:
        return []
    named = " and ".join(f"'{classes[k]}'" for k in sorted(told[:MAX_NAMED]))
    more = f" and {len(told) - MAX_NAMED} more classes" if len(told) > MAX_NAMED else ""
    others = " and others" if len(told) == 1 else ""
    return [
        f"pictures of {named}{more}{others} differ in shape: a classifier can tell them by the "
        f"bands beside them ({100 * accuracy.max():.0f} % right, where chance is 50): --fit crop"
    ]


def _told_classes(shape: np.ndarray, truth: np.ndarray, n_classes: int) -> np.ndarray:
    """Return how well each class is told from the rest by shapes [N] alone; 0 if hardly: [K].

    Balanced accuracy, each picture judged by the shapes of all the others (leave one out).
    """
    values, which = np.unique(shape, return_inverse=True)
    counts = np.zeros((n_classes, len(values)))
    np.add.at(counts, (truth, which), 1)
    of_class, of_all = counts.sum(1, keepdims=True), counts.sum(0)
    rest = of_all - counts
    n_rest = len(truth) - of_class
    errors = NormalDist().inv_cdf(1 - FALSE_ALARMS / n_classes / (1 + len(COARSE)))
    usable = np.minimum(of_class, n_rest)[:, 0] >= LEAST
    with np.errstate(divide="ignore", invalid="ignore"):
        # +1: taken for the class, -1: for the rest, 0: either
        of_own = np.sign((counts - 1) / (of_class - 1) - rest / n_rest)
        of_rest = np.sign(counts / of_class - (rest - 1) / (n_rest - 1))
        right = (counts * (1 + of_own)).sum(1, keepdims=True) / of_class
        right = (right + (rest * (1 - of_rest)).sum(1, keepdims=True) / n_rest)[:, 0] / 4
        error = np.sqrt(1 / of_class + 1 / n_rest)[:, 0] / 4
        told = (
            usable & (right >= TOLD_FROM) & (right > np.minimum(0.5 + errors * error, NEARLY_ALL))
        )
    return np.where(told, right, 0.0)
