"""How near a synthetic set is to real images, in a named feature space.

All functions take float feature matrices [N, D], [M, D]. Compare them only at equal n and beside
the real-against-real floor: every one of these measures depends on the number of images.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

NEIGHBOURS = 5  # k of the k-NN balls
CHUNK = 1024  # rows of a distance matrix held at once


def distances(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Euclidean distances chunk by chunk: (first row, [n ≤ CHUNK, M])."""
    for start in range(0, len(x), CHUNK):
        yield start, torch.cdist(x[start : start + CHUNK], y)


def radii(x: Tensor, k: int = NEIGHBOURS) -> Tensor:
    """Distance of each row to its k-th nearest other row: [N]."""
    if len(x) <= k:
        raise ValueError(f"{len(x)} rows have no {k} neighbours each")
    # the nearest of all is the row itself
    return torch.cat([d.kthvalue(k + 1, dim=1).values for _, d in distances(x, x)])


def balls(real: Tensor, synthetic: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """Improved precision and recall (Kynkäänniemi 2019), density and coverage (Naeem 2020).

    Precision: share of synthetic rows inside a real row's k-NN ball; recall: the reverse. Density:
    real balls around a synthetic row, over k. Coverage: real balls that hold a synthetic row.
    """
    real_radii, synthetic_radii = radii(real, k), radii(synthetic, k)
    precise = dense = 0
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    covered = torch.zeros_like(recalled)
    for start, d in distances(synthetic, real):
        inside = d < real_radii
        precise += int(inside.any(1).sum())
        dense += int(inside.sum())
        covered |= inside.any(0)
        recalled |= (d < synthetic_radii[start : start + len(d), None]).any(0)
    return {
        "precision": precise / len(synthetic),
        "recall": float(recalled.float().mean()),
        "density": dense / (k * len(synthetic)),
        "coverage": float(covered.float().mean()),
    }


def kid(x: Tensor, y: Tensor) -> float:
    """Unbiased squared MMD under (x·y / D + 1)³ (Bińkowski 2018) over all pairs; may be below 0."""
    x, y = x.double(), y.double()

    def mean_kernel(a: Tensor, b: Tensor, same: bool) -> float:
        total = 0.0
        for part in a.split(CHUNK):
            total += float((part @ b.T / a.shape[1] + 1).pow(3).sum())
        if not same:
            return total / (len(a) * len(b))
        own = float((a.square().sum(1) / a.shape[1] + 1).pow(3).sum())
        return (total - own) / (len(a) * (len(a) - 1))

    return mean_kernel(x, x, True) + mean_kernel(y, y, True) - 2 * mean_kernel(x, y, False)


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """|μx − μy|² + tr(Cx + Cy − 2 (Cx Cy)^½) of two normal distributions (Dowson & Landau 1982).

    Biased upwards at small n; called FID only in Inception's features, which are not used here.
    """
    x, y = x.double(), y.double()
    cx, cy = torch.cov(x.T), torch.cov(y.T)
    values, vectors = torch.linalg.eigh(cx)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cy @ root).clamp(min=0).sqrt().sum()
    return max(
        0.0, float((x.mean(0) - y.mean(0)).square().sum() + cx.trace() + cy.trace() - 2 * cross)
    )


def spread(features: Tensor, labels: Tensor) -> float:
    """Mean distance between two images of one class, averaged over classes with two or more."""
    found = []
    for label in labels.unique():
        own = features[labels == label]
        if len(own) > 1:
            total = sum(float(d.sum()) for _, d in distances(own, own))
            found.append(total / (len(own) * (len(own) - 1)))
    return sum(found) / len(found) if found else float("nan")


def fidelity(real: Tensor, synthetic: Tensor) -> dict[str, float]:
    """All of the above but the spread, of two sets with more than NEIGHBOURS rows each."""
    return {
        "kid": kid(real, synthetic),
        "fd": frechet_distance(real, synthetic),
        **balls(real, synthetic),
    }
