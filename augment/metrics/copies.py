"""Does a synthetic image repeat a labelled one?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

THRESHOLD = 1 / 3  # of d1/d2: the ratio test of Yoon et al. 2023, as in DiffMemorize


def nearest_two(queries: Tensor, targets: Tensor, chunk: int = 512) -> tuple[Tensor, Tensor]:
    """Distances to the nearest and second nearest target, and who is nearest.

    [N, D] uint8, [M ≥ 2, D] uint8 → [N, 2] float32, [N] int64. Sums of squared grey levels are
    whole numbers below 2^53, so float64 has them exactly; float32 would mix up near neighbours.
    """
    known = targets.double()
    norms = known.square().sum(1)  # |a - b|² = |a|² + |b|² - 2ab
    distances, places = [], []
    for part in queries.split(chunk):
        asked = part.double()
        squared = asked.square().sum(1, keepdim=True) + norms - 2 * asked @ known.T  # [n, M]
        near = squared.topk(2, largest=False)
        distances.append(near.values.sqrt().float())
        places.append(near.indices[:, 0])
    return torch.cat(distances), torch.cat(places)


def feature_copies(
    synthetic: Tensor, labelled: Tensor, embed: Callable[[Tensor], Tensor]
) -> float | None:
    """Share of copies by the same ratio in the features of `embed`: images [N, …], [M ≥ 2, …]."""
    if len(labelled) < 2:
        return None
    known, copied = embed(labelled), 0
    for part in synthetic.split(512):
        near = torch.cdist(embed(part), known).topk(2, largest=False).values
        copied += int((near[:, 0] < THRESHOLD * near[:, 1]).sum())
    return copied / len(synthetic)


def copies(synthetic: Tensor, labelled: Tensor, *, mirrored: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Which synthetic images are copies, their d1/d2, and the labelled image each is nearest to.

    Pixels; [N, C, H, W], [M, C, H, W] uint8 → [N] bool, [N] float, [N] int64. Where mirroring is
    allowed the mirrored image is tried too. Equal labelled images count as one target.
    """
    # one target a distinct picture: with a twin, d1/d2 of a true copy would be 0/0
    flat = labelled.flatten(1)
    distinct, back = torch.unique(flat, dim=0, return_inverse=True)
    first = torch.full((len(distinct),), len(flat))
    first.scatter_reduce_(0, back, torch.arange(len(flat)), "amin")  # the first of equal pictures
    if len(distinct) < 2:
        raise ValueError("copies need at least two distinct labelled images")
    distances, places = nearest_two(synthetic.flatten(1), distinct)
    ratio = distances[:, 0] / distances[:, 1]
    if mirrored:
        turned, other = nearest_two(synthetic.flip(-1).flatten(1), distinct)
        turned_ratio = turned[:, 0] / turned[:, 1]
        better = turned_ratio < ratio
        ratio = torch.where(better, turned_ratio, ratio)
        places = torch.where(better, other, places)
    return ratio < THRESHOLD, ratio, first[places]
