"""Find the nearest images under small shifts, mirroring, other brightness and other contrast.

The distance of two images is sqrt(2 - 2 r), from 0 to 2: r is the correlation of the middle of one
with the window of the other that fits it best, both in grey. Above 32 pixels a side the distance of
pixels misleads: a surface moved by two pixels is as far from itself as from another surface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.data.copies.shrinking import shrink_grey, soften

PIXELS_SIDE = 32  # images up to so many pixels a side are compared pixel by pixel
SEARCH_SIDE = 16  # pixels a side at which all pairs are compared
FINE_SIDE = 64  # and at which the nearest ones of these are
CANDIDATES = 8  # of them; of shifted or brightened copies of NEU and cells 99 % were among eight
REACH = 8  # the middle leaves out an 8th of a side on each side: as far may an image be shifted
FLAT = 1.0  # grey levels of standard deviation; less is noise of the encoder
IMAGES, TARGETS, PAIRS = 256, 1024, 2048  # compared at once, so that memory is bounded

# images [N, C, H, W] uint8 → distances to the two nearest [N, 2], index of the nearest [N] int64
Search = Callable[[Tensor], tuple[Tensor, Tensor]]


def misleading_pixels(shape: Sequence[int]) -> bool:
    """Tell whether images [..., H, W] are so large that shifts of a few pixels matter."""
    return max(shape[-2:]) > PIXELS_SIDE


def aligned_search(targets: Tensor, *, mirrored: bool) -> Search:
    """Build a search for the nearest two of [M ≥ 2, C, H, W] uint8; see the module.

    Where `mirrored`, the mirrored image is tried too. Of M targets 1 kB each is held.
    """
    coarse_targets = shrink_grey(targets, SEARCH_SIDE)

    def search(images: Tensor) -> tuple[Tensor, Tensor]:
        found = [part_search(part) for part in images.split(IMAGES)]
        distances, indices = zip(*found, strict=True)
        return torch.cat(distances), torch.cat(indices)

    def part_search(images: Tensor) -> tuple[Tensor, Tensor]:
        views = [images, images.flip(-1)] if mirrored else [images]
        coarse = [_coarse_agreement(shrink_grey(v, SEARCH_SIDE), coarse_targets) for v in views]
        scores = torch.stack(coarse).amax(0)  # [n, M]
        candidates = scores.topk(min(CANDIDATES, len(targets))).indices  # [n, k]
        some, column = candidates.unique(return_inverse=True)
        softened = soften(shrink_grey(targets[some], FINE_SIDE))
        row = torch.arange(len(images)).repeat_interleave(candidates.shape[1])
        agreement = torch.stack(
            [_agreement(soften(shrink_grey(v, FINE_SIDE)), softened, row, column) for v in views]
        ).amax(0)
        best = agreement.view(candidates.shape).topk(2)  # [n, 2]
        nearest = candidates.gather(1, best.indices[:, :1]).squeeze(1)
        return (2 - 2 * best.values).clamp(min=0).sqrt(), nearest

    return search


def _coarse_agreement(images: Tensor, targets: Tensor) -> Tensor:
    """Correlate the middle of each image with its best window: [N, h, w], [M, h, w] → [N, M]."""
    height, width = _margins(images)
    middle = _unit(images[:, height : images.shape[1] - height, width : images.shape[2] - width])
    sides, scores = middle.shape[1:], []
    for part in targets.split(TARGETS):
        windows = part.unfold(1, sides[0], 1).unfold(2, sides[1], 1).flatten(1, 2)  # [m, S, h, w]
        products = middle.flatten(1) @ _unit(windows).flatten(2).flatten(0, 1).T  # [N, m S]
        scores.append(products.unflatten(1, (len(part), -1)).amax(2))
    return torch.cat(scores, 1)


def _agreement(images: Tensor, targets: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Correlate the middle of image `row` with the best window of target `column`, pair by pair.

    [N, h, w], [U, h, w], [P], [P] → [P].
    """
    scores = shift_scores(images, targets, row, column.flatten())
    return torch.cat([part.flatten(1).amax(1) for part in scores])


def shift_scores(images: Tensor, targets: Tensor, row: Tensor, column: Tensor) -> Iterator[Tensor]:
    """Yield the correlations of the middle of images with each window of targets, PAIRS at a time.

    [N, h, w], [U, h, w], pairs [P], [P] → [PAIRS, shifts, shifts]; no shift is in the middle. The
    sums over all shifts are products of spectra.
    """
    height, width = _margins(images)
    sides = (images.shape[1] - 2 * height, images.shape[2] - 2 * width)
    middle = _unit(images[:, height : height + sides[0], width : width + sides[1]])
    spectra = torch.fft.rfft2(F.pad(middle, (width, width, height, height))).conj()
    centred = targets - targets.mean((1, 2), keepdim=True)
    target_spectra = torch.fft.rfft2(centred)
    mean, square = (_window_means(x, sides) for x in (centred, centred**2))
    deviation = (square - mean**2).clamp(min=0).sqrt()  # [U, shifts, shifts] of each window
    length = torch.where(deviation > FLAT, deviation * (sides[0] * sides[1]) ** 0.5, torch.inf)
    for i, j in zip(row.split(PAIRS), column.split(PAIRS), strict=True):
        sums = torch.fft.irfft2(spectra[i] * target_spectra[j], images.shape[1:])
        # a shift below 0 stands at the end: moved to the front
        sums = sums.roll((height, width), (1, 2))[:, : 2 * height + 1, : 2 * width + 1]
        yield sums / length[j]


def _window_means(images: Tensor, sides: tuple[int, int]) -> Tensor:
    """Average each window (h, w) of [N, H, W]: [N, H - h + 1, W - w + 1]."""
    down, across = (
        images.new_ones(length - side + 1, length).triu().tril(side - 1) / side
        for length, side in zip(images.shape[1:], sides, strict=True)
    )
    return down @ images @ across.T  # several times as fast as pooling with so large a kernel


def _margins(images: Tensor) -> tuple[int, int]:
    """Return how far a window may be shifted, in rows and columns of [..., H, W]."""
    return images.shape[-2] // REACH, images.shape[-1] // REACH


def _unit(images: Tensor) -> Tensor:
    """Give images [..., H, W] the mean 0 and the length 1; flat ones are 0."""
    centred = images - images.mean((-2, -1), keepdim=True)
    length = centred.square().sum((-2, -1), keepdim=True).sqrt()
    flat = FLAT * (images.shape[-2] * images.shape[-1]) ** 0.5
    return torch.where(length > flat, centred / length.clamp(min=flat), 0.0)
