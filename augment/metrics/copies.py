"""Does a synthetic image repeat a labelled one?

It does if it is far nearer to one than to the next (d1/d2 < 1/3), or nearer to one than all but the
closest labelled images are to each other. Distances are those of pixels; above 32 pixels a side,
where a shift by one of them counts as much as another motif, those of `aligned`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from augment.data.copies.aligned import aligned_search, misleading_pixels

RATIO_THRESHOLD = 1 / 3  # of d1/d2: the ratio test of Yoon et al. 2023, as in DiffMemorize
NEAREST_QUANTILE = 0.01  # of the distances between labelled images: d1 below it is a copy
_QUANTILE_IMAGES = 5000  # that this quantile is taken from: of all pairs of 50,000 it lasts minutes

# which images are copies [N] bool, d1/d2 [N] float, index of the nearest labelled image [N] int64
CopyMatches = tuple[Tensor, Tensor, Tensor]
# queries, targets → distances to the two nearest targets [N, 2], index of the nearest [N]
PairSearch = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def nearest_two(queries: Tensor, targets: Tensor, chunk: int = 512) -> tuple[Tensor, Tensor]:
    """Find the distances to the nearest and second nearest target, and the index of the nearest.

    [N, D], [M ≥ 2, D] uint8 or float → [N, 2] float32, [N] int64. Sums of squared grey levels are
    whole numbers below 2^53, so float64 has them exactly; float32 would mix up near neighbours.
    """
    targets64 = targets.double()
    norms = targets64.square().sum(1)  # |a - b|² = |a|² + |b|² - 2ab
    distances, indices = [], []
    for part in queries.split(chunk):
        queries64 = part.double()
        squared = queries64.square().sum(1, keepdim=True) + norms - 2 * queries64 @ targets64.T
        nearest = squared.topk(2, largest=False)  # of [n, M]
        distances.append(nearest.values.clamp(min=0).sqrt().float())
        indices.append(nearest.indices[:, 0])
    return torch.cat(distances), torch.cat(indices)


def near_threshold(targets: Tensor, views: list[Tensor], search: PairSearch = nearest_two) -> float:
    """Compute the 1st percentile of nearest-neighbour distances among the labelled images.

    `views` [M, …] are the targets, and mirrored ones where these count too.
    """
    rows = torch.linspace(0, len(targets) - 1, min(len(targets), _QUANTILE_IMAGES)).round().long()
    nearest_other = []
    for view in views:
        distances, nearest = search(view[rows], targets)  # [R, 2], [R]
        # an image is its own nearest neighbour, at distance 0: take the second then
        nearest_other.append(torch.where(nearest == rows, distances[:, 1], distances[:, 0]))
    return float(torch.stack(nearest_other).amin(0).quantile(NEAREST_QUANTILE))


def feature_copies(
    images: Tensor, labelled: Tensor, embed: Callable[[Tensor], Tensor]
) -> Tensor | None:
    """Tell which images are copies by the same rules in the features of `embed`: [N] bool.

    Images [N, …], [M ≥ 2, …]; None if the labelled images are all equal.
    """
    distinct = labelled.cpu().unique(dim=0)
    if len(distinct) < 2:
        return None
    targets = embed(distinct)
    d1, d2 = nearest_two(embed(images), targets)[0].unbind(1)
    return (d1 < RATIO_THRESHOLD * d2) | (d1 < near_threshold(targets, [targets]))


def copy_finder(labelled: Tensor, *, mirrored: bool) -> Callable[[Tensor], CopyMatches]:
    """Build a function: images → which are copies, their d1/d2, the nearest labelled image.

    [M, C, H, W] uint8, and of [N, C, H, W] uint8 → [N] bool, [N] float, [N] int64. Where
    mirroring is allowed the mirrored image is tried too. Equal labelled images count as one target.
    Raises ValueError without two distinct labelled images.
    """
    # one target a distinct image: with a twin, d1/d2 of a true copy would be 0/0
    distinct, target_of = torch.unique(labelled, dim=0, return_inverse=True)
    first_index = torch.full((len(distinct),), len(labelled))  # of equal images
    first_index.scatter_reduce_(0, target_of, torch.arange(len(labelled)), "amin")
    if len(distinct) < 2:
        raise ValueError("copies need at least two distinct labelled images")
    compare = _aligned if misleading_pixels(labelled.shape) else _by_pixels
    targets, views, search = compare(distinct, mirrored)
    threshold = near_threshold(targets, views(distinct), search)

    def find(images: Tensor) -> CopyMatches:
        matches = [search(view, targets) for view in views(images)]
        d1, d2 = torch.stack([pair for pair, _ in matches], 1).unbind(2)  # [N, views] each
        ratio, best_view = (d1 / d2).min(1)
        nearest = torch.stack([index for _, index in matches], 1)  # [N, views]
        nearest = nearest.gather(1, best_view[:, None]).squeeze(1)
        copied = (ratio < RATIO_THRESHOLD) | (d1.amin(1) < threshold)
        return copied, ratio, first_index[nearest]

    return find


def distance_to_nearest(images: Tensor, targets: Tensor) -> Tensor:
    """Measure how far each image is from the nearest target, as `copy_finder` does: [N].

    [N, C, H, W], [M ≥ 2, C, H, W] uint8; mirrored images are not tried.
    """
    if misleading_pixels(targets.shape):
        return aligned_search(targets, mirrored=False)(images)[0][:, 0]
    return nearest_two(images.flatten(1), targets.flatten(1))[0][:, 0]


Views = Callable[[Tensor], list[Tensor]]  # of images, each of which is compared with the targets


def _by_pixels(distinct: Tensor, mirrored: bool) -> tuple[Tensor, Views, PairSearch]:
    """Return the targets, the views of images and the search that compare pixels."""

    def views(images: Tensor) -> list[Tensor]:
        return [images.flatten(1), *([images.flip(-1).flatten(1)] if mirrored else [])]

    return distinct.flatten(1), views, nearest_two


def _aligned(distinct: Tensor, mirrored: bool) -> tuple[Tensor, Views, PairSearch]:
    """Return the same of the search that allows shifts and mirroring itself."""
    search = aligned_search(distinct, mirrored=mirrored)
    return distinct, lambda images: [images], lambda images, _: search(images)


def copies_among(images: Tensor, fold_of: Tensor, *, mirrored: bool) -> Tensor | None:
    """Tell which real images would be called copies of those in other folds: [N] bool.

    What links two images, as equal pixels do, must have put them into one fold [N]. None where the
    other folds have fewer than two distinct images.
    """
    copied = torch.zeros(len(images), dtype=torch.bool)
    for fold in fold_of.unique():
        held_out = fold_of == fold
        if len(images[~held_out].unique(dim=0)) < 2:
            return None
        copied[held_out] = copy_finder(images[~held_out], mirrored=mirrored)(images[held_out])[0]
    return copied
