"""How near a synthetic set is to real images, in a named feature space.

All functions take float feature matrices [N, D], [M, D], `real` first. Compare them only at equal n
and beside the real-against-real floor: each of these measures depends on the number of images.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

NEIGHBOURS = 5  # k of the k-NN balls
TELLING_FROM = 6 * NEIGHBOURS  # rows; the balls of fewer hold nearly everything
BY_BALLS = ("precision", "recall", "density", "coverage")
CHUNK = 1024  # rows of a distance matrix held at once


def _distance_chunks(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield Euclidean distances chunk by chunk: (first row, [n ≤ CHUNK, M])."""
    for start in range(0, len(x), CHUNK):
        yield start, torch.cdist(x[start : start + CHUNK], y)


def knn_radii(x: Tensor, k: int = NEIGHBOURS) -> Tensor:
    """Compute the distance of each row to its k-th nearest other row: [N]."""
    if len(x) <= k:
        raise ValueError(f"{len(x)} rows have no {k} neighbours each")
    # the nearest of all is the row itself
    return torch.cat([d.kthvalue(k + 1, dim=1).values for _, d in _distance_chunks(x, x)])


def prdc(real: Tensor, synthetic: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """Compute improved precision, recall (Kynkäänniemi 2019), density, coverage (Naeem 2020).

    Precision: share of synthetic rows inside a real row's k-NN ball; recall: the reverse. Density:
    real balls around a synthetic row, over k. Coverage: real balls that hold a synthetic row.
    """
    real_radii, synthetic_radii = knn_radii(real, k), knn_radii(synthetic, k)
    n_precise = n_inside = 0
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    covered = torch.zeros_like(recalled)
    for start, d in _distance_chunks(synthetic, real):
        inside = d < real_radii  # [n, M]: a synthetic row in a real row's ball
        n_precise += int(inside.any(1).sum())
        n_inside += int(inside.sum())
        covered |= inside.any(0)
        recalled |= (d < synthetic_radii[start : start + len(d), None]).any(0)
    return {
        "precision": n_precise / len(synthetic),
        "recall": float(recalled.float().mean()),
        "density": n_inside / (k * len(synthetic)),
        "coverage": float(covered.float().mean()),
    }


def kid(x: Tensor, y: Tensor) -> float:
    """Compute the unbiased squared MMD under (x·y / D + 1)³ over all pairs (Bińkowski 2018).

    May be below 0, as an unbiased estimate of 0 must be able to.
    """
    x, y = x.double(), y.double()

    def mean_kernel(a: Tensor, b: Tensor, same: bool) -> float:
        total = 0.0
        for part in a.split(CHUNK):
            total += float((part @ b.T / a.shape[1] + 1).pow(3).sum())
        if not same:
            return total / (len(a) * len(b))
        # unbiased: without the pairs of a row with itself
        diagonal = float((a.square().sum(1) / a.shape[1] + 1).pow(3).sum())
        return (total - diagonal) / (len(a) * (len(a) - 1))

    return mean_kernel(x, x, True) + mean_kernel(y, y, True) - 2 * mean_kernel(x, y, False)


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Compute |μx − μy|² + tr(Cx + Cy − 2 (Cx Cy)^½), two normals' distance (Dowson & Landau 1982).

    Biased upwards at small n; called FID only in Inception's features, which are not used here.
    """
    x, y = x.double(), y.double()
    cx, cy = torch.cov(x.T), torch.cov(y.T)
    values, vectors = torch.linalg.eigh(cx)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # Cx^½
    # tr (Cx Cy)^½ = tr (Cx^½ Cy Cx^½)^½, whose argument is symmetric
    cross = torch.linalg.eigvalsh(root @ cy @ root).clamp(min=0).sqrt().sum()
    return max(
        0.0, float((x.mean(0) - y.mean(0)).square().sum() + cx.trace() + cy.trace() - 2 * cross)
    )


def class_spread(features: Tensor, labels: Tensor) -> float:
    """Average the distance of two images of one class over the classes with two or more.

    NaN without such a class.
    """
    means = []
    for label in labels.unique():
        rows = features[labels == label]
        n = len(rows)
        if n > 1:
            total = sum(float(d.sum()) for _, d in _distance_chunks(rows, rows))
            means.append(total / (n * (n - 1)))
    return sum(means) / len(means) if means else float("nan")


def fidelity(real: Tensor, synthetic: Tensor) -> dict[str, float]:
    """Compute KID, Fréchet distance and PRDC of two sets with more than NEIGHBOURS rows each."""
    return {
        "kid": kid(real, synthetic),
        "fd": frechet_distance(real, synthetic),
        **prdc(real, synthetic),
    }
