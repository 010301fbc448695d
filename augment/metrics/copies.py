"""Does a synthetic image repeat a labelled one?"""

from __future__ import annotations

import torch
from torch import Tensor

THRESHOLD = 1 / 3  # of d1/d2: the ratio test of Yoon et al. 2023, as in DiffMemorize


def nearest_two(queries: Tensor, targets: Tensor, chunk: int = 512) -> tuple[Tensor, Tensor]:
    """Distances to the nearest and second nearest target, and who is nearest.

    [N, D] uint8, [M ≥ 2, D] uint8 → [N, 2] float32, [N] int64. Candidates by one matrix product,
    their distances exactly: the product alone would not tell 0 from a few grey levels.
    """
    known = targets.float()
    norms = known.square().sum(1)
    distances, places = [], []
    for part in queries.split(chunk):
        asked = part.float()
        near = (norms - 2 * asked @ known.T).topk(2, largest=False).indices  # [n, 2]
        exact = (asked[:, None] - known[near]).square().sum(2).sqrt()
        order = exact.argsort(1)
        distances.append(exact.gather(1, order))
        places.append(near.gather(1, order)[:, 0])
    return torch.cat(distances), torch.cat(places)


def copies(synthetic: Tensor, labelled: Tensor, *, mirrored: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Which synthetic images are copies, their d1/d2, and the labelled image each is nearest to.

    Pixels; [N, C, H, W], [M, C, H, W] uint8 → [N] bool, [N] float, [N] int64. Where mirroring is
    allowed the mirrored image is tried too. Equal labelled images count as one target.
    """
    # one target a distinct picture: with a twin, d1/d2 of a true copy would be 0/0
    flat = labelled.flatten(1)
    distinct, back = torch.unique(flat, dim=0, return_inverse=True)
    first = torch.empty(len(distinct), dtype=torch.int64).scatter_(0, back, torch.arange(len(flat)))
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
