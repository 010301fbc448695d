"""Small grey versions of images, as they are compared with each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

RESIZED_AT_ONCE = 64 * 2**20  # bytes as float32, so that memory is bounded
MOST_AT_ONCE = 1024  # images


def shrink_grey(images: Tensor, side: int) -> Tensor:
    """Shrink [N, C, H, W] uint8 to at most `side` pixels a side, in grey: [N, H, W] float32."""
    return resized_grey(images, [min(side, length) for length in images.shape[-2:]])


def resized_grey(images: Tensor, sides: Sequence[int]) -> Tensor:
    """Resize [N, C, H, W] uint8, in grey: [N, *sides] float32."""
    return torch.cat([_resized(part, sides) for part in images.split(_at_once(images))])


def inside_grey(images: Tensor, sides: Sequence[int]) -> Tensor:
    """Resize [N, C, H, W] uint8 without their bands, in grey: [N, *sides] float32."""
    parts = [_resized_inside(part, sides) for part in images.split(_at_once(images))]
    return torch.cat(parts)


def has_bands(images: Tensor) -> Tensor:
    """Tell which of [N, C, H, W] lie between bands, as `fitting` makes them: [N] bool."""
    parts = [_widths(part).any(1) for part in images.split(_at_once(images))]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.bool)


def soften(images: Tensor) -> Tensor:
    """Blur [N, H, W] by (1, 2, 1) / 4 both ways: shifts by half a pixel change little then."""
    padded = F.pad(images[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    rows = padded[:, :-2] + padded[:, 2:] + 2 * padded[:, 1:-1]
    return (rows[..., :-2] + rows[..., 2:] + 2 * rows[..., 1:-1]) / 16


def _at_once(images: Tensor) -> int:
    """Return how many images [N, C, H, W] are resized at once."""
    return min(MOST_AT_ONCE, max(1, RESIZED_AT_ONCE // (4 * images.shape[1:].numel())))


def _resized(images: Tensor, sides: Sequence[int]) -> Tensor:
    """Resize [N, C, H, W] uint8 to (H, W), the mean of the channels: [N, H, W] float32."""
    grey = images.float().mean(1, keepdim=True)
    return F.interpolate(grey, list(sides), mode="bilinear", antialias=True)[:, 0]


def _resized_inside(images: Tensor, sides: Sequence[int]) -> Tensor:
    """Resize the inside of the bands of [N, C, H, W] uint8: [N, *sides] float32."""
    widths = _widths(images)
    resized = _resized(images, sides)
    for each in widths.unique(dim=0).tolist():
        if any(each):
            top, bottom, left, right = each
            own = (widths == widths.new_tensor(each)).all(1).nonzero().flatten()
            inside = images[own, :, top : images.shape[2] - bottom, left : images.shape[3] - right]
            resized[own] = _resized(inside, sides)
    return resized


def _widths(images: Tensor) -> Tensor:
    """Measure bands at the top, bottom, left and right of [N, C, H, W]: [N, 4] pixels."""
    rows, columns = _bands(images), _bands(images.transpose(2, 3))
    both = (rows.any(1) & columns.any(1))[:, None]  # a plain background all around is no band
    return torch.cat([rows, columns], 1) * ~both


def _bands(images: Tensor) -> Tensor:
    """Measure bands above and below [N, C, H, W], as `fitting` makes them: [N, 2], 0 without.

    Each has one colour. One is as wide as the other or wider by a pixel, which is cut from both.
    """
    widths = torch.zeros(len(images), 2, dtype=torch.int64)
    edges = images[:, :, [0, -1]]
    own = (edges == edges[..., :1]).all(3).all(2).all(1).nonzero().flatten()
    if not len(own):  # most sets
        return widths
    for place, part in enumerate((images[own], images[own].flip(2))):
        plain = (part == part[:, :, :1, :1]).all(3).all(1)  # [n, H] rows of the colour of the edge
        widths[own, place] = plain.long().cumprod(1).sum(1)
    least, most = widths.amin(1), widths.amax(1)
    # the same of a mirrored image; more than half is flat
    width = torch.where((least > 0) & (2 * least < images.shape[2] - 2), most.minimum(least + 1), 0)
    return width[:, None].expand(-1, 2)
