"""Does a synthetic image repeat a labelled one?

It does if it is far nearer to one than to the next (d1/d2 < 1/3), or nearer to one than all but the
closest labelled images are to each other.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

THRESHOLD = 1 / 3  # of d1/d2: the ratio test of Yoon et al. 2023, as in DiffMemorize
CLOSEST = 0.01  # of labelled images: d1 below their distance to another one is a copy


def nearest_two(queries: Tensor, targets: Tensor, chunk: int = 512) -> tuple[Tensor, Tensor]:
    """Distances to the nearest and second nearest target, and who is nearest.

    [N, D], [M ≥ 2, D] uint8 or float → [N, 2] float32, [N] int64. Sums of squared grey levels are
    whole numbers below 2^53, so float64 has them exactly; float32 would mix up near neighbours.
    """
    known = targets.double()
    norms = known.square().sum(1)  # |a - b|² = |a|² + |b|² - 2ab
    distances, indices = [], []
    for part in queries.split(chunk):
        asked = part.double()
        squared = asked.square().sum(1, keepdim=True) + norms - 2 * asked @ known.T  # [n, M]
        near = squared.topk(2, largest=False)
        distances.append(near.values.clamp(min=0).sqrt().float())
        indices.append(near.indices[:, 0])
    return torch.cat(distances), torch.cat(indices)


def usual_nearness(targets: Tensor, views: list[Tensor]) -> float:
    """What one in a hundred distances from a labelled image to the nearest other one is below.

    `views` [M, D] are the targets, and mirrored ones where these count too.
    """
    indices, apart = torch.arange(len(targets)), []
    for view in views:
        near, who = nearest_two(view, targets)
        apart.append(torch.where(who == indices, near[:, 1], near[:, 0]))
    return float(torch.stack(apart).amin(0).quantile(CLOSEST))


def feature_copies(
    synthetic: Tensor, labelled: Tensor, embed: Callable[[Tensor], Tensor]
) -> float | None:
    """Share of copies by the same rules in the features of `embed`: images [N, …], [M ≥ 2, …]."""
    distinct = labelled.cpu().unique(dim=0)
    if len(distinct) < 2:
        return None
    known = embed(distinct)
    d1, d2 = nearest_two(embed(synthetic), known)[0].unbind(1)
    return float(((d1 < THRESHOLD * d2) | (d1 < usual_nearness(known, [known]))).float().mean())


Found = tuple[Tensor, Tensor, Tensor]


def copy_finder(labelled: Tensor, *, mirrored: bool) -> Callable[[Tensor], Found]:
    """images → which are copies, their d1/d2, and the labelled image each is nearest to.

    Pixels; [M, C, H, W] uint8, and of [N, C, H, W] uint8 → [N] bool, [N] float, [N] int64. Where
    mirroring is allowed the mirrored image is tried too. Equal labelled images count as one target.
    """
    # one target a distinct picture: with a twin, d1/d2 of a true copy would be 0/0
    distinct, back = torch.unique(labelled, dim=0, return_inverse=True)
    first = torch.full((len(distinct),), len(labelled))
    first.scatter_reduce_(0, back, torch.arange(len(labelled)), "amin")  # of equal pictures
    if len(distinct) < 2:
        raise ValueError("copies need at least two distinct labelled images")
    targets = distinct.flatten(1)

    def views(images: Tensor) -> list[Tensor]:
        return [images.flatten(1), *([images.flip(-1).flatten(1)] if mirrored else [])]

    nearness = usual_nearness(targets, views(distinct))

    def find(images: Tensor) -> Found:
        found = [nearest_two(view, targets) for view in views(images)]
        d1, d2 = torch.stack([near for near, _ in found], 1).unbind(2)  # [N, views] each
        ratio, best = (d1 / d2).min(1)
        nearest = torch.stack([who for _, who in found], 1).gather(1, best[:, None]).squeeze(1)
        return (ratio < THRESHOLD) | (d1.amin(1) < nearness), ratio, first[nearest]

    return find
