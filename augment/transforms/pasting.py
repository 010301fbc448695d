"""Put crops of objects into pictures: soft masks, free places, blending. Boxes stay exact.

A crop is a square [C, S, S] with the object's box inside it (`inner`, in shares of its side) and a
margin of surroundings. All pictures here are float in [-1, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_TRIES = 60  # random places for an object, of which the first free one is taken
_MOST_HIDDEN = 0.1  # of the smaller of two boxes, that another one may cover
_LOOSE = 0.08  # of a crop's side, that a cut-out object may end before or beyond its box
_MOST_LIGHT = 0.3  # that an object is made lighter or darker by: more would change its colour
_CONTRAST = 4.0  # object over the spread of its ground, from which it can be cut out along its edge


def soft_masks(crops: Tensor, inner: Tensor) -> Tensor:
    """Estimate how much of each pixel is object: crops [M, C, S, S], inner [M, 4] → [M, 1, S, S].

    What differs from the margin's colour, where that is even and what differs fills the box from
    side to side; else the whole box. Either fades out within the margin.
    """
    box, (front, distinct) = box_masks(inner, crops.shape[-1]), _foregrounds(crops, inner)
    filled = (_extents(front * (box == 1)) - inner).abs().amax(1) < _LOOSE
    return torch.where((distinct & filled)[:, None, None, None], front * box, box)


def _foregrounds(crops: Tensor, inner: Tensor) -> tuple[Tensor, Tensor]:
    """Tell the object from its margin: [M, 1, S, S] in (0, 1), and [M] bool where that is sure."""
    outside = 1 - box_masks(inner, crops.shape[-1]).round()
    ground = _weighted_mean(crops, outside)
    distance = F.avg_pool2d((crops - ground).abs().mean(1, keepdim=True), 3, 1, 1)
    spread = _weighted_mean(distance, outside)
    contrast = (distance * (1 - outside)).flatten(1).quantile(0.95, 1)[:, None, None, None]
    edge = (contrast / 2).maximum(2 * spread)
    front = torch.sigmoid(8 * (distance / edge.clamp(min=1e-3) - 1))
    closed = -F.max_pool2d(-F.max_pool2d(front, 5, 1, 2), 5, 1, 2)  # small holes belong to it
    return closed, (contrast > _CONTRAST * spread).flatten()


def _extents(masks: Tensor) -> Tensor:
    """Find the rectangle of what is above 0.5: [M, 1, S, S] → [M, 4] in shares of the side."""
    inside, side = masks[:, 0] > 0.5, masks.shape[-1]
    ends = []
    for line in (inside.any(1), inside.any(2)):  # columns, rows: [M, S]
        first, last = line.int().argmax(1), side - line.flip(1).int().argmax(1)
        ends.append((first / side, last / side))
    (left, right), (top, bottom) = ends
    return torch.stack([left, top, right, bottom], 1)


def box_masks(inner: Tensor, side: int) -> Tensor:
    """Make masks that are 1 in the box and fall to 0 at the border: [M, 4] → [M, 1, side, side]."""
    at = (torch.arange(side) + 0.5) / side
    beyond = [
        (inner[:, k, None] - at).clamp(min=0) + (at - inner[:, k + 2, None]).clamp(min=0)
        for k in range(2)  # how far a column, a row is outside the box
    ]
    distance = (beyond[0][:, None, :].square() + beyond[1][:, :, None].square()).sqrt()
    margin = torch.minimum(inner[:, :2], 1 - inner[:, 2:]).amin(1).clamp(min=0.5 / side)
    return (1 - distance / margin[:, None, None]).clamp(0, 1)[:, None]


def _weighted_mean(images: Tensor, weights: Tensor) -> Tensor:
    """Average each channel over the pixels: [M, C, S, S], [M, 1, S, S] → [M, C, 1, 1]."""
    total = weights.sum((2, 3), keepdim=True).clamp(min=1e-6)
    return (images * weights).sum((2, 3), keepdim=True) / total


def free_place(
    size: tuple[float, float], others: Tensor, shape: tuple[int, int], rng: torch.Generator
) -> tuple[float, float] | None:
    """Find a corner (xmin, ymin) for a box (width, height) that hides none of `others` [B, 4].

    Inside a picture of `shape` (height, width); None where there is no place.
    """
    width, height = size
    room = torch.tensor([shape[1] - width, shape[0] - height])
    if (room < 0).any():
        return None
    corners = torch.rand(_TRIES, 2, generator=rng) * room
    free = torch.ones(_TRIES, dtype=torch.bool)
    if len(others):
        ends = corners + torch.tensor(size)
        shared = torch.minimum(ends[:, None], others[:, 2:]) - torch.maximum(
            corners[:, None], others[:, :2]
        )
        smaller = (others[:, 2:] - others[:, :2]).prod(1).clamp(max=width * height)
        free = (shared.clamp(min=0).prod(2) <= _MOST_HIDDEN * smaller).all(1)
    if not free.any():
        return None
    left, top = corners[int(free.int().argmax())].tolist()
    return left, top


def blend(image: Tensor, crop: Tensor, mask: Tensor, window: tuple[int, int, int]) -> None:
    """Put a crop [C, S, S] into an image [C, H, W], in place, at a window (left, top, side).

    Its light is that of the place: the surroundings of either, outside the mask [1, S, S], are made
    alike in the median, so that no neighbour counts. What lies beyond the border is cut off.
    """
    left, top, side = window
    crop, mask = (
        F.interpolate(x[None], (side, side), mode="bilinear", antialias=True)[0]
        for x in (crop, mask)
    )
    rows = slice(max(0, -top), min(side, image.shape[1] - top))
    columns = slice(max(0, -left), min(side, image.shape[2] - left))
    place = image[:, top + rows.start : top + rows.stop, left + columns.start : left + columns.stop]
    crop, mask = crop[:, rows, columns], mask[:, rows, columns]
    around = (place - crop)[:, mask[0] < 0.5]  # [C, n]
    light = around.median(1).values if around.shape[1] else crop.new_zeros(len(crop))
    light = light.clamp(-_MOST_LIGHT, _MOST_LIGHT)[:, None, None]
    place.copy_((mask * (crop + light) + (1 - mask) * place).clamp(-1, 1))
