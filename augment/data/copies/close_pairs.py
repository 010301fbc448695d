"""Pairs of points that lie close together, found without comparing all coordinates of all pairs.

Along the axes in which the points vary most, a few coordinates bound the distance from below: the
first leaves a window of a sorted list, the first AXES leave few pairs to measure in full.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

AXES = 32  # of the 135 coordinates of a pattern: 20,000 images leave 1 pair in 1,000
ROWS, COLUMNS = 256, 512  # compared at once: what a processor's cache holds
SLACK = 1e-4  # for rounding: the bound must not miss a pair
CROWDED = 0.1  # share of pairs left, from which measuring all of them is faster
MEASURED = 20_000  # pairs at once


def close_pairs(points: Tensor, others: Tensor, reach: float, itself: bool) -> Iterator[Tensor]:
    """Yield indices [P, 2] of all pairs of [N, D] and [M, D] no further apart than `reach`.

    `itself`: both are the same points, and a pair is given once, the smaller index first.
    """
    if not len(points) or not len(others):
        return
    left, right = _turned_to_axes(points, others)
    order, other_order = left[:, 0].argsort(), right[:, 0].argsort()
    left, right = left[order], right[other_order]
    bounds = _for_products(left[:, :AXES], right[:, :AXES])
    keys, margin = right[:, 0].contiguous(), torch.tensor([-reach - SLACK, reach + SLACK])
    for start in range(0, len(left), ROWS):
        stop = min(start + ROWS, len(left))
        first, last = torch.searchsorted(keys, left[[start, stop - 1], 0] + margin).tolist()
        rows, columns = slice(start, stop), slice(start if itself else first, last)
        i, j = _bounded(bounds[0][rows], bounds[1][columns], reach).T
        if len(i) > CROWDED * len(left[rows]) * len(right[columns]):
            i, j = (torch.cdist(left[rows], right[columns]) <= reach + SLACK).nonzero().T
        i, j = i + rows.start, j + columns.start
        if itself:
            i, j = i[i < j], j[i < j]
        parts = zip(i.split(MEASURED), j.split(MEASURED), strict=True)
        near = [(left[a] - right[b]).square().sum(1) <= reach**2 for a, b in parts]
        found = torch.stack([order[i], other_order[j]], 1)[torch.cat(near)]
        yield found.sort(1).values if itself else found


def _bounded(rows: Tensor, columns: Tensor, reach: float) -> Tensor:
    """List the pairs [P, 2] whose first coordinates do not show that they are further apart."""
    found = [
        (rows @ columns[k : k + COLUMNS].T <= reach**2 + SLACK).nonzero() + torch.tensor([0, k])
        for k in range(0, len(columns), COLUMNS)
    ]
    return torch.cat(found) if found else torch.zeros(0, 2, dtype=torch.int64)


def _turned_to_axes(points: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Turn points so that the first coordinate varies most, the next second most, and so on."""
    mean = others.mean(0)
    centred = others - mean
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)  # ascending before
    return (points - mean) @ axes, centred @ axes


def _for_products(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Extend points such that the product of two is the square of their distance."""
    a, b = (each.square().sum(1, keepdim=True) for each in (left, right))
    return torch.cat([left, a, torch.ones_like(a)], 1), torch.cat(
        [-2 * right, torch.ones_like(b), b], 1
    )
