"""Crops of labelled boxes: what generators learn where boxes are learnt.

A crop is the square around a box with a margin of its surroundings, so that the box keeps its
aspect; beyond the border of the picture the edge is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augment.data.boxed_images import BoxedImages
from augment.data.images import LabelledImages, resize

MARGIN = 0.15  # of a box's longer side, on each side of it
SIDES = (32, 64)  # pixels of a crop's side; the larger one where most boxes are larger than it


@dataclass(frozen=True)
class Crops:
    """Crops of one size, with the places that they were cut from."""

    images: LabelledImages  # [M, C, S, S]
    pictures: Tensor  # [M] int64: index of the picture
    rows: Tensor  # [M] int64: row of the box among the labels of its picture
    boxes: Tensor  # [M, 4] xmin, ymin, xmax, ymax in pixels of the picture
    windows: Tensor  # [M, 4] int64: what was cut, which may lie beyond the border

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def inner(self) -> Tensor:
        """Place of the box in its crop, in shares of the crop's side: [M, 4]."""
        corner, side = self.windows[:, :2].repeat(1, 2), self.windows[:, 2:3] - self.windows[:, :1]
        return (self.boxes - corner) / side

    def select(self, index: Tensor) -> Crops:
        """Select the crops at these indices or under this mask, in that order."""
        others = (self.pictures, self.rows, self.boxes, self.windows)
        return Crops(self.images.select(index), *(each[index] for each in others))


def crop_side(data: BoxedImages) -> int:
    """Choose the side of crops in pixels: what the median box with its margin fills."""
    corners = data.labels[data.labels[..., 0] >= 0][:, 1:]
    if not len(corners):
        return SIDES[0]
    return SIDES[int(window_sides(longer_sides(corners).median()) > 0.75 * SIDES[1])]


def longer_sides(boxes: Tensor) -> Tensor:
    """Return the longer side of each box: [M, 4] → [M]."""
    return (boxes[:, 2:] - boxes[:, :2]).amax(1)


def window_sides(longer: Tensor) -> Tensor:
    """Return the sides of the windows around boxes with these longer sides, in whole pixels."""
    return ((1 + 2 * MARGIN) * longer).round().clamp(min=4)


def crop_boxes(data: BoxedImages, side: int) -> Crops:
    """Cut out every box of every picture, in order, and resize it to `side` pixels."""
    pictures, rows = (data.labels[..., 0] >= 0).nonzero(as_tuple=True)
    labels = data.labels[pictures, rows]
    boxes = labels[:, 1:]
    sides = window_sides(longer_sides(boxes))
    corners = ((boxes[:, :2] + boxes[:, 2:] - sides[:, None]) / 2).round()
    windows = torch.cat([corners, corners + sides[:, None]], 1).long()
    channels = data.shape[0]
    images = torch.empty(len(boxes), channels, side, side, dtype=torch.uint8)
    for crop, picture, window in zip(images, pictures.tolist(), windows.tolist(), strict=True):
        crop.copy_(resize(cut(data.images[picture], window)[None], side)[0])
    objects = LabelledImages(images, labels[:, 0].long(), data.classes)
    return Crops(objects, pictures, rows, boxes, windows)


def cut(image: Tensor, window: list[int]) -> Tensor:
    """Cut a window (xmin, ymin, xmax, ymax) out of [C, H, W]; the edge repeats beyond it."""
    left, top, right, bottom = window
    rows = torch.arange(top, bottom).clamp(0, image.shape[1] - 1)
    columns = torch.arange(left, right).clamp(0, image.shape[2] - 1)
    return image[:, rows][:, :, columns]
