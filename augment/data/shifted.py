"""Find pairs of large images that are one picture, moved by up to an 8th of a side in between.

Also mirrored, turned, re-encoded or brightened. The magnitudes of a spectrum do not change when a
picture moves: the nearest images by these are candidates, which are then laid upon each other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from augment.data.agreement import correlation, fine_detail, fit_brightness, turn
from augment.data.aligned import FINE_SIDE, REACH, shift_scores
from augment.data.shrinking import inside_grey, soften

SPECTRUM_SIDE = 32  # pixels a side of which the spectrum is taken
FREQUENCIES = 8  # below this one they are compared
CANDIDATES = 8  # nearest images by spectrum; of copies moved by a 16th of a side 99 % are among them
MIN_SPECTRUM = 0.96  # correlation of spectra from which a candidate is laid upon the image
ROWS, PAIRS = 512, 512  # compared at once, so that memory is bounded
MIN_WHOLE, MIN_DETAIL = 0.985, 0.35  # correlations: as a whole, of what a 3×3 mean leaves
# mirrors and quarter turns (see `turn`) that a spectrum does not tell from each other; the first of
# each: none, up-down, transposed, transposed and up-down
SYMMETRIES = torch.tensor([[0, 3], [2, 1], [4, 7], [6, 5]])


def shifted_pairs(images: Tensor, others: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Find the pairs that are one picture: indices [P, 2] int64 in order, correlation [P].

    [N, C, H, W] uint8 against [M, C, H, W], or against themselves (then the first index is the
    smaller one). An image is paired with the CANDIDATES nearest ones at most.
    """
    columns = images if others is None else others
    spectra = _spectra(images)
    other_spectra = spectra if others is None else _spectra(columns)
    found, alike = [torch.zeros(0, 2, dtype=torch.int64)], [torch.zeros(0)]
    for pairs in _candidates(spectra, other_spectra, others is None).split(PAIRS):
        turned = torch.stack(_turned(other_spectra[pairs[:, 1]]), 1)  # [P, 4, F, F]
        scores = (spectra[pairs[:, 0]][:, None] * turned).sum((2, 3))
        best, kind = scores.max(1)
        near = best >= MIN_SPECTRUM
        pairs, kind = pairs[near], kind[near]
        if len(pairs):
            agreed = _laid_upon(images, columns, pairs, SYMMETRIES[kind])
            found.append(pairs[agreed > 0])
            alike.append(agreed[agreed > 0])
    return torch.cat(found), torch.cat(alike)


def _spectra(images: Tensor) -> Tensor:
    """Return roots of magnitudes at low frequencies, of length 1: [N, F, F]; 0 for flat images."""
    window = torch.hann_window(SPECTRUM_SIDE, periodic=False)
    low = torch.arange(1 - FREQUENCIES, FREQUENCIES)
    parts = []
    for part in images.split(ROWS):
        grey = inside_grey(part, (SPECTRUM_SIDE, SPECTRUM_SIDE))  # whatever the shape
        grey = grey - grey.mean((1, 2), keepdim=True)
        flat = grey.square().mean((1, 2), keepdim=True) <= 1  # noise of the encoder
        magnitudes = torch.fft.fft2(grey * window[:, None] * window).abs()
        roots = magnitudes[:, low][:, :, low].sqrt()
        roots[:, FREQUENCIES - 1, FREQUENCIES - 1] = 0  # brightness
        length = roots.square().sum((1, 2), keepdim=True).sqrt().clamp(min=1e-6)
        parts.append(torch.where(flat, 0.0, roots / length))
    return torch.cat(parts) if parts else torch.zeros(0, len(low), len(low))


def _turned(spectra: Tensor) -> list[Tensor]:
    """Return the spectra [N, F, F] of images under the first of each of SYMMETRIES."""
    transposed = spectra.transpose(1, 2)
    return [spectra, spectra.flip(1), transposed, transposed.flip(1)]


def _candidates(rows: Tensor, columns: Tensor, itself: bool) -> Tensor:
    """Pair each image with the nearest ones by what no symmetry changes: [P, 2], in order."""
    left, right = (sum(_turned(each)).flatten(1) for each in (rows, columns))  # type: ignore[union-attr]
    left, right = (x / x.norm(dim=1, keepdim=True).clamp(min=1e-6) for x in (left, right))
    keys = []
    for start in range(0, len(left), ROWS):
        scores = left[start : start + ROWS] @ right.T
        i = torch.arange(start, start + len(scores))
        if itself:
            scores[i - start, i] = -1
        best = scores.topk(min(CANDIDATES, len(right)))
        i = i[:, None].expand_as(best.indices)[best.values > 0]
        j = best.indices[best.values > 0]
        if itself:
            i, j = torch.minimum(i, j), torch.maximum(i, j)
        keys.append(i * len(right) + j)
    every = torch.cat(keys).unique() if keys else torch.zeros(0, dtype=torch.int64)
    return torch.stack([every // max(1, len(right)), every % max(1, len(right))], 1)


def _laid_upon(rows: Tensor, columns: Tensor, pairs: Tensor, symmetries: Tensor) -> Tensor:
    """Return the correlation of pairs [P, 2] that are one picture, and 0 for others: [P].

    `symmetries` [P, 2] are tried. Images are moved by fractions of a pixel too.
    """
    left, right = (_grey(x, each) for x, each in ((rows, pairs[:, 0]), (columns, pairs[:, 1])))
    every = torch.arange(len(pairs))
    best = torch.full((len(pairs),), -1.0)
    moved = torch.zeros_like(right)
    for symmetry in symmetries.T:
        turned = torch.empty_like(right)
        for k in symmetry.unique().tolist():
            turned[symmetry == k] = turn(right[symmetry == k], k)
        scores = torch.cat([*shift_scores(soften(left), soften(turned), every, every)])
        agreed = scores.flatten(1).amax(1)
        better = agreed > best
        best = torch.where(better, agreed, best)
        moved[better] = _moved(turned[better], *_peak(scores[better]))
    edge = FINE_SIDE // REACH
    middle = slice(edge, FINE_SIDE - edge)
    first, second = (soften(x[:, middle, middle]) for x in (left, moved))
    agreed = torch.stack([_explained(first, second), _explained(second, first)]).amax(0)
    return torch.where(best >= MIN_WHOLE - 0.05, agreed, 0.0)


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
