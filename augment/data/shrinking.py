"""Small grey versions of images, as they are compared with each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

AT_ONCE = 64 * 2**20  # bytes as float32, so that memory is bounded
MOST_AT_ONCE = 1024  # images


def shrink_grey(images: Tensor, side: int) -> Tensor:
    """Shrink [N, C, H, W] uint8 to at most `side` pixels a side, in grey: [N, H, W] float32."""
    sides = [min(side, length) for length in images.shape[-2:]]
    return torch.cat([_resized(part, sides) for part in images.split(_at_once(images))])


def inside_grey(images: Tensor, sides: Sequence[int]) -> Tensor:
    """Resize [N, C, H, W] uint8 without their bands, in grey: [N, *sides] float32."""
    parts = [_resized_inside(part, sides) for part in images.split(_at_once(images))]
    return torch.cat(parts)


def soften(images: Tensor) -> Tensor:
    """Blur [N, H, W] by (1, 2, 1) / 4 both ways: shifts by half a pixel change little then."""
    padded = F.pad(images[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    rows = padded[:, :-2] + padded[:, 2:] + 2 * padded[:, 1:-1]
    return (rows[..., :-2] + rows[..., 2:] + 2 * rows[..., 1:-1]) / 16


def _at_once(images: Tensor) -> int:
    """Return how many images [N, C, H, W] are resized at once."""
    return min(MOST_AT_ONCE, max(1, AT_ONCE // (4 * images.shape[1:].numel())))


def _resized(images: Tensor, sides: Sequence[int]) -> Tensor:
    """Resize [N, C, H, W] uint8 to (H, W), the mean of the channels: [N, H, W] float32."""
    grey = images.float().mean(1, keepdim=True)
    return F.interpolate(grey, list(sides), mode="bilinear", antialias=True)[:, 0]


def _resized_inside(images: Tensor, sides: Sequence[int]) -> Tensor:
    """Resize the inside of the bands of [N, C, H, W] uint8: [N, *sides] float32."""
    rows, columns = _bands(images), _bands(images.transpose(2, 3))
    both = (rows.any(1) & columns.any(1))[:, None]  # a plain background all around is no band
    widths = torch.cat([rows, columns], 1) * ~both  # [N, 4]
    resized = _resized(images, sides)
    for each in widths.unique(dim=0).tolist():
        if any(each):
            top, bottom, left, right = each
            own = (widths == widths.new_tensor(each)).all(1).nonzero().flatten()
            inside = images[own, :, top : images.shape[2] - bottom, left : images.shape[3] - right]
            resized[own] = _resized(inside, sides)
    return resized


def _bands(images: Tensor) -> Tensor:
    """Measure bands above and below [N, C, H, W], as `fitting` makes them: [N, 2], 0 without.

    Each has one colour; the lower one is as wide as the upper one, or wider by a pixel.
    """
    widths = torch.zeros(len(images), 2, dtype=torch.int64)
    edges = images[:, :, [0, -1]]
    own = (edges == edges[..., :1]).all(3).all(2).all(1).nonzero().flatten()
    if not len(own):  # most sets
        return widths
    for place, part in enumerate((images[own], images[own].flip(2))):
        plain = (part == part[:, :, :1, :1]).all(3).all(1)  # [n, H] rows of the colour of the edge
        widths[own, place] = plain.long().cumprod(1).sum(1)
    upper = widths.amin(1)
    upper[upper >= (images.shape[2] - 1) // 2] = 0  # flat
    return torch.stack([upper, torch.where(upper > 0, widths[:, 1].minimum(upper + 1), 0)], 1)
