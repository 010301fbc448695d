"""Find pairs of large images that are one picture, moved by up to an 8th of a side in between.

Also mirrored, turned, re-encoded or brightened. The magnitudes of a spectrum do not change when a
picture moves: images that are alike in these are candidates, which are then laid upon each other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.data.copies.agreement import correlation, fine_detail, fit_brightness, turn_by
from augment.data.copies.aligned import FINE_SIDE, REACH, shift_scores
from augment.data.copies.close_pairs import close_pairs
from augment.data.copies.shrinking import inside_grey, soften

SPECTRUM_SIDE = 32  # pixels a side of which the spectrum is taken
LOW = 8  # frequencies below this one are compared
# distance of what spectra have in common from which they are compared, and their correlation from
# which images are; of surfaces and cells moved by a 16th of a side nine in ten pass
NEAR, MIN_SPECTRUM = 0.1, 0.985
MOST_PAIRS, MOST_LAID = 500_000, 2  # pairs of spectra; of images, for each of them
SAMPLE_ROWS = 500  # images that the number of pairs is told from
SPECTRA_AT_ONCE, LAID_AT_ONCE = 2048, 512  # compared at once, so that memory is bounded
MIN_ROUGH = 0.95  # correlation at half of FINE_SIDE from which both are compared in detail
MIN_WHOLE, MIN_DETAIL = 0.99, 0.35  # correlations: as a whole, of what a 3×3 mean leaves
# mirrors and turns (see `turn_by`) that a spectrum does not tell from each other; the first of
# each: none, up-down, transposed, transposed and up-down
SYMMETRIES = torch.tensor([[0, 3], [2, 1], [4, 7], [6, 5]])


def shifted_pairs(images: Tensor, others: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Find the pairs that are one picture: indices [P, 2] int64 in order, correlation [P].

    [N, C, H, W] uint8 against [M, C, H, W], or against themselves (then the first index is the
    smaller one).
    """
    columns = images if others is None else others
    spectra = _spectra(images)
    other_spectra = spectra if others is None else _spectra(columns)
    pairs, kind = _candidates(spectra, other_spectra, others is None)
    parts = zip(pairs.split(LAID_AT_ONCE), SYMMETRIES[kind].split(LAID_AT_ONCE), strict=True)
    alike = torch.cat([torch.zeros(0), *(_laid_upon(images, columns, *part) for part in parts)])
    return pairs[alike > 0], alike[alike > 0]


def _spectra(images: Tensor) -> Tensor:
    """Return roots of magnitudes at low frequencies, of length 1: [N, F, F]; 0 for flat images."""
    window = torch.hann_window(SPECTRUM_SIDE, periodic=False)
    low = torch.arange(1 - LOW, LOW)
    parts = []
    for part in images.split(LAID_AT_ONCE):
        grey = inside_grey(part, (SPECTRUM_SIDE, SPECTRUM_SIDE))  # whatever the shape
        grey = grey - grey.mean((1, 2), keepdim=True)
        flat = grey.square().mean((1, 2), keepdim=True) <= 1  # noise of the encoder
        magnitudes = torch.fft.fft2(grey * window[:, None] * window).abs()
        roots = magnitudes[:, low][:, :, low].sqrt()
        roots[:, LOW - 1, LOW - 1] = 0  # brightness
        length = roots.square().sum((1, 2), keepdim=True).sqrt().clamp(min=1e-6)
        parts.append(torch.where(flat, 0.0, roots / length))
    return torch.cat(parts) if parts else torch.zeros(0, len(low), len(low))


def _turned(spectra: Tensor) -> list[Tensor]:
    """Return the spectra [N, F, F] of images under the first of each of SYMMETRIES."""
    transposed = spectra.transpose(1, 2)
    return [spectra, spectra.flip(1), transposed, transposed.flip(1)]


def _candidates(rows: Tensor, columns: Tensor, itself: bool) -> tuple[Tensor, Tensor]:
    """Find the pairs with like spectra: [P, 2] in order, index of the row of SYMMETRIES [P]."""
    some, others = (x.flatten(1).any(1).nonzero().flatten() for x in (rows, columns))
    left, right = _invariants(rows[some]), _invariants(columns[others])
    found = [(torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0), torch.zeros(0).long())]
    for near in close_pairs(left, right, _reach(left, right), itself):
        for part in near.split(SPECTRA_AT_ONCE):
            pairs = torch.stack([some[part[:, 0]], others[part[:, 1]]], 1)
            turned = torch.stack(_turned(columns[pairs[:, 1]]), 1)  # [P, 4, F, F]
            like, kind = (rows[pairs[:, 0]][:, None] * turned).sum((2, 3)).max(1)
            kept = like >= MIN_SPECTRUM
            found.append((pairs[kept], like[kept], kind[kept]))
    pairs, like, kind = (torch.cat(each) for each in zip(*found, strict=True))
    best = like.topk(min(len(like), MOST_LAID * (len(rows) + len(columns)))).indices
    pairs, kind = pairs[best], kind[best]
    order = (pairs[:, 0] * len(columns) + pairs[:, 1]).argsort()
    return pairs[order], kind[order]


def _invariants(spectra: Tensor) -> Tensor:
    """Return of spectra [N, F, F] what no symmetry changes, of length 1: [N, D]."""
    sums = torch.stack(_turned(spectra)).sum(0)
    down, across = torch.triu_indices(LOW, LOW) + LOW - 1
    return F.normalize(sums[:, down, across])


def _reach(left: Tensor, right: Tensor) -> float:
    """Return how far apart [N, D] and [M, D] may be: NEAR, or less where too many pairs would be.

    As the distances of SAMPLE_ROWS of the first tell.
    """
    if not len(left) or not len(right):
        return NEAR
    rows = torch.linspace(0, len(left) - 1, min(len(left), SAMPLE_ROWS)).round().long()
    apart = torch.cdist(left[rows], right).flatten()
    n = len(apart) * MOST_PAIRS // (len(left) * len(right))
    return min(NEAR, float(apart.kthvalue(n).values)) if 0 < n < len(apart) else NEAR


def _laid_upon(rows: Tensor, columns: Tensor, pairs: Tensor, symmetries: Tensor) -> Tensor:
    """Return the correlation of pairs [P, 2] that are one picture, and 0 for others: [P].

    `symmetries` [P, 2] are tried. Images are moved by fractions of a pixel too.
    """
    left, right = (_grey(x, each) for x, each in ((rows, pairs[:, 0]), (columns, pairs[:, 1])))
    agreed = torch.zeros(len(pairs))
    halves = [soften(F.avg_pool2d(x[:, None], 2)[:, 0]) for x in (left, right)]
    for symmetry in symmetries.T:
        scores = _scores(halves[0], _each_turned(halves[1], symmetry))
        near = (scores.flatten(1).amax(1) >= MIN_ROUGH).nonzero().flatten()
        if len(near):  # few
            first, second = left[near], _each_turned(right[near], symmetry[near])
            shifts = _peak(_scores(soften(first), soften(second)))
            agreed[near] = agreed[near].maximum(_agreement(first, _moved(second, *shifts)))
    return agreed


def _scores(first: Tensor, second: Tensor) -> Tensor:
    """Correlate the middle of each image with the windows of its fellow: [P, shifts, shifts]."""
    every = torch.arange(len(first))
    return torch.cat([*shift_scores(first, second, every, every)])


def _each_turned(images: Tensor, symmetry: Tensor) -> Tensor:
    """Apply to each image [P, S, S] its own of the symmetries [P]."""
    turned = torch.empty_like(images)
    for k in symmetry.unique().tolist():
        turned[symmetry == k] = turn_by(images[symmetry == k], k)
    return turned


def _agreement(first: Tensor, second: Tensor) -> Tensor:
    """Return the correlation of the middles of images that are one picture, 0 for others: [P]."""
    edge = FINE_SIDE // REACH
    middle = slice(edge, FINE_SIDE - edge)
    first, second = (soften(x[:, middle, middle]) for x in (first, second))
    return _explained(first, second).maximum(_explained(second, first))


def _grey(images: Tensor, index: Tensor) -> Tensor:
    """Shrink images by index [P] to squares of FINE_SIDE: [P, S, S]."""
    some, place = index.unique(return_inverse=True)
    return inside_grey(images[some], (FINE_SIDE, FINE_SIDE))[place]


def _peak(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Find the best shift [P], [P] of scores [P, S, S], in pixels from the middle.

    Between pixels at the top of a parabola through three of them.
    """
    side = scores.shape[1]
    place = scores.flatten(1).argmax(1)
    row, column = place // side, place % side
    every = torch.arange(len(scores))
    lines = scores[every, :, column], scores[every, row]  # [P, S] down and across
    shifts = []
    for line, top in zip(lines, (row, column), strict=True):
        before, after = ((top + d).clamp(0, side - 1) for d in (-1, 1))
        low, high, most = (line[every, k] for k in (before, after, top))
        inside = (before < top) & (after > top)
        fraction = (high - low) / (2 * (2 * most - low - high)).clamp(min=1e-6)
        shifts.append(top - side // 2 + torch.where(inside, fraction.clamp(-0.5, 0.5), 0.0))
    return shifts[0], shifts[1]


def _moved(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Move what lies at (down, across) [P] in images [P, S, S] to (0, 0), by their spectra."""
    side = images.shape[1]
    turns = down[:, None, None] * torch.fft.fftfreq(side)[:, None]
    turns = turns + across[:, None, None] * torch.fft.rfftfreq(side)
    phase = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns)
    return torch.fft.irfft2(torch.fft.rfft2(images) * phase, images.shape[1:])


def _explained(target: Tensor, source: Tensor) -> Tensor:
    """Return the correlation of `target` with a brightened `source`, 0 if it is another picture."""
    fitted = fit_brightness(target, source)
    whole = correlation(fitted, target)
    detail = correlation(fine_detail(fitted), fine_detail(target))
    return torch.where((whole >= MIN_WHOLE) & (detail >= MIN_DETAIL), whole, 0.0)
