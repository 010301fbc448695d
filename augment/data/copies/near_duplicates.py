"""Near-copies: one image twice, mirrored, turned, re-encoded or brightened in between.

Candidates are pairs whose coarse patterns agree under one of the eight mirrors and quarter turns;
each is then compared in detail, allowing for brightness, contrast and clipping. Bands that fitting
put around pictures do not make them alike. Above 32 pixels a side moved copies are searched too,
see `shifted`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from augment.data.boxed_images import AnyImages
from augment.data.copies.agreement import correlation, fine_detail, picture_agreement, turn_by
from augment.data.copies.aligned import misleading_pixels
from augment.data.copies.close_pairs import close_pairs
from augment.data.copies.shifted import shifted_pairs
from augment.data.copies.shrinking import has_bands, inside_grey, resized_grey, shrink_grey

COARSE_SIDE = 16  # pixels a side of the pattern
MIN_COARSE = 0.97  # correlation of the patterns from which a pair is a candidate
DETAIL_SIDE = 32  # pixels a side at which candidates are compared
# correlations inside their bands of two images that are alike with these: as MIN_ALIKE, MIN_FINE
LEAST_INSIDE, LEAST_INSIDE_FINE = 0.95, 0.5
MAX_COMPARISONS = 1_000_000_000  # about five seconds on two cores; beyond it nothing is looked for
MAX_CANDIDATES = 2_000_000  # likewise
MAX_EXAMPLES = 3  # pairs named in the note
PAIRS = 20_000  # compared at once, so that memory is bounded
# signs of cosine terms of (even row, even column), (even, odd), (odd, even), (odd, odd) frequency
# under the mirrors: none, left-right, up-down, both
PARITIES = ((0, 0), (0, 1), (1, 0), (1, 1))
MIRROR_SIGNS = ((1, 1, 1, 1), (1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))


class Patterns(NamedTuple):
    """Coarse patterns without brightness and contrast, as cosine terms; 0 for flat images."""

    invariants: Tensor  # [N, D] what mirrors and quarter turns do not change
    terms: Tensor  # [N, 4, T] by the parity of row and column frequency, as MIRROR_SIGNS
    transposed: Tensor  # [N, 4, T] those of the transposed images


class _Detail:
    """Grey images at no more than DETAIL_SIDE pixels a side, as they are and without bands."""

    def __init__(self, images: Tensor) -> None:
        """Shrink [N, C, H, W] uint8."""
        self.whole = shrink_grey(images, DETAIL_SIDE)  # [N, H, W]
        self.banded = has_bands(images)  # [N]
        self.inside = self.whole
        if self.banded.any():
            self.inside = inside_grey(images, self.whole.shape[1:])


class TooManyImages(Exception):
    """Comparing all pairs would take too long."""


def near_copies(
    pool: AnyImages, test: AnyImages, pool_files: list[str], test_files: list[str]
) -> list[str]:
    """Return a note with the closest pairs of (test, pool) images that are one image, or none."""
    try:
        pairs, alike = copy_pairs(test.images, pool.images)
    except TooManyImages:
        return ["too many images to look for near-copies between pool and test"]
    n_copies = len(pairs[:, 0].unique())
    if not n_copies:
        return []
    closest: dict[int, int] = {}  # test image → the pool image most alike
    for i, j in pairs[alike.argsort(descending=True, stable=True)].tolist():
        closest.setdefault(i, j)
    named = [f"{test_files[i]} ≈ {pool_files[j]}" for i, j in [*closest.items()][:MAX_EXAMPLES]]
    more = " …" if n_copies > MAX_EXAMPLES else ""
    look = (
        "1 test image looks like a copy"
        if n_copies == 1
        else f"{n_copies} test images look like copies"
    )
    return [f"{look} of training images: {', '.join(named)}{more}"]


def copy_pairs(images: Tensor, others: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Find the pairs that are one image: indices [P, 2] int64, correlation [P].

    [N, C, H, W] uint8 against [M, C, H, W], or against themselves (then the first index is the
    smaller one). Raises TooManyImages.
    """
    itself = others is None
    refuse_many(len(images) ** 2 // 2 if others is None else len(images) * len(others))
    rows, columns = images, images if others is None else others
    patterns = _patterns(rows)
    candidates = _candidates(patterns, patterns if itself else _patterns(columns), itself)
    some, first = candidates[:, 0].unique(return_inverse=True)  # few: the rest needs no detail
    again, second = candidates[:, 1].unique(return_inverse=True)
    left, right = _Detail(rows[some]), _Detail(columns[again])
    alike = torch.zeros(len(candidates))
    for symmetry in range(8):
        chosen = (candidates[:, 2] == symmetry).nonzero().flatten()
        for part in chosen.split(PAIRS):
            i, j = first[part], second[part]
            alike[part] = picture_agreement(left.whole[i], turn_by(right.whole[j], symmetry))
            banded = ((alike[part] > 0) & left.banded[i] & right.banded[j]).nonzero().flatten()
            if len(banded):
                turned = turn_by(right.inside[j[banded]], symmetry)
                same = _alike_inside(left.inside[i[banded]], turned)
                alike[part[banded[~same]]] = 0
    found = alike > 0
    pairs, alike = candidates[found, :2], alike[found]
    if misleading_pixels(rows.shape):
        return _joined(pairs, alike, *shifted_pairs(rows, None if itself else columns))
    return pairs, alike


def _alike_inside(first: Tensor, second: Tensor) -> Tensor:
    """Tell which pairs [P, H, W] of images without their bands may be one image: [P] bool."""
    fine = correlation(fine_detail(first), fine_detail(second))
    return (correlation(first, second) >= LEAST_INSIDE) & (fine >= LEAST_INSIDE_FINE)


def _joined(
    pairs: Tensor, alike: Tensor, more: Tensor, more_alike: Tensor
) -> tuple[Tensor, Tensor]:
    """Join pairs [P, 2] and [Q, 2], each once and in order, with the higher correlation."""
    both, place = torch.cat([pairs, more]).unique(dim=0, return_inverse=True)
    best = torch.zeros(len(both)).scatter_reduce(0, place, torch.cat([alike, more_alike]), "amax")
    return both, best


def refuse_many(n_pairs: int) -> None:
    """Raise TooManyImages for more pairs than are compared."""
    if n_pairs > MAX_COMPARISONS:
        raise TooManyImages


def _patterns(images: Tensor) -> Patterns:
    """Describe [N, C, H, W] uint8 by coarse patterns of mean 0 and length 1.

    The product of the terms of two, summed, is the correlation of their patterns.
    """
    square = (COARSE_SIDE, COARSE_SIDE)  # whatever the shape: a quarter turn needs it
    grey = resized_grey(images, square)
    grey = grey - grey.mean((1, 2), keepdim=True)
    length = grey.flatten(1).norm(dim=1)[:, None, None]
    # a standard deviation of one grey level or less is noise of the encoder, no pattern
    pattern = torch.where(length > COARSE_SIDE, grey / length.clamp(min=1), 0.0)
    cosines = _cosine_basis(COARSE_SIDE)
    terms = cosines @ pattern @ cosines.T
    u, v = torch.triu_indices(COARSE_SIDE, COARSE_SIDE)[:, 1:]  # (0, 0) is the mean, 0
    invariants = torch.hypot(terms[:, u, v], torch.where(u == v, 0.0, terms[:, v, u]))
    return Patterns(invariants, _by_parity(terms), _by_parity(terms.transpose(1, 2)))


def _cosine_basis(n: int) -> Tensor:
    """Return the orthonormal discrete cosine transform (DCT-II) as a matrix [n, n]."""
    angles = torch.outer(torch.arange(n), torch.arange(n) + 0.5) * (math.pi / n)
    basis = angles.cos() * math.sqrt(2 / n)
    basis[0] /= math.sqrt(2)
    return basis


def _by_parity(terms: Tensor) -> Tensor:
    """Sort cosine terms by the parity of their frequencies: [N, K, K] → [N, 4, (K / 2)²]."""
    return torch.stack([terms[:, row::2, column::2].flatten(1) for row, column in PARITIES], 1)


def _candidates(rows: Patterns, columns: Patterns, itself: bool) -> Tensor:
    """Find pairs whose patterns correlate by MIN_COARSE: [P, 3] index, index, symmetry, in order.

    No such pair is missed: the invariants of two patterns differ by no more than the patterns do
    under the best symmetry.
    """
    reach = math.sqrt(2 - 2 * MIN_COARSE)  # distance of two patterns with that correlation
    # flat images are near nothing
    some, others = (each.invariants.any(1).nonzero().flatten() for each in (rows, columns))
    found, n_found = [torch.zeros(0, 3, dtype=torch.int64)], 0
    pairs = close_pairs(rows.invariants[some], columns.invariants[others], reach, itself)
    for near in pairs:
        n_found += len(near)
        if n_found > MAX_CANDIDATES:
            raise TooManyImages
        for part in near.split(PAIRS):
            i, j = some[part[:, 0]], others[part[:, 1]]
            correlation, symmetry = _best_symmetry(rows, columns, i, j)
            kept = correlation >= MIN_COARSE
            found.append(torch.stack([i, j, symmetry], 1)[kept])
    candidates = torch.cat(found)
    return candidates[(candidates[:, 0] * len(columns.invariants) + candidates[:, 1]).argsort()]


def _best_symmetry(
    rows: Patterns, columns: Patterns, i: Tensor, j: Tensor
) -> tuple[Tensor, Tensor]:
    """Find the highest correlation of pairs [P] of patterns, and the symmetry that gives it.

    The symmetry is the mirror, 0 to 3, plus 4 where the second image is transposed before.
    """
    signs = torch.tensor(MIRROR_SIGNS, dtype=torch.float32)  # [mirror, parity]
    terms = rows.terms[i]
    sums = [(terms * other[j]).sum(2) @ signs.T for other in (columns.terms, columns.transposed)]
    best, symmetry = torch.cat(sums, 1).max(1)
    return best, symmetry
