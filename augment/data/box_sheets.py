"""Sheets of pictures with their boxes drawn in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from augment.data.grids import class_grid

BOX_COLOURS = ((0, 190, 0), (40, 110, 255), (255, 80, 0))  # green, blue, orange
_LEAST_SIDE = 256  # pixels that pictures are enlarged to, by a whole factor, before lines are drawn


def with_boxes(image: Tensor, boxes: Tensor, colours: Sequence[int]) -> Tensor:
    """Draw boxes [B, 4] into an image [C, H, W] uint8, in BOX_COLOURS: [3, H', W'] uint8."""
    factor = max(1, _LEAST_SIDE // max(image.shape[1:]))
    drawn = image[:3].expand(3, -1, -1) if len(image) < 3 else image[:3]
    drawn = drawn.repeat_interleave(factor, 1).repeat_interleave(factor, 2).clone()
    height, width = drawn.shape[1:]
    for box, colour in zip((boxes * factor).round().long().tolist(), colours, strict=True):
        left, top, right, bottom = box
        # a detection may be a line on the border: its last row or column is drawn
        left, top = min(max(0, left), width - 1), min(max(0, top), height - 1)
        right, bottom = max(left, min(width, right) - 1), max(top, min(height, bottom) - 1)
        paint = torch.tensor(BOX_COLOURS[colour], dtype=torch.uint8)[:, None]
        for row in (top, bottom):
            drawn[:, row, left : right + 1] = paint
        for column in (left, right):
            drawn[:, top : bottom + 1, column] = paint
    return drawn


def box_sheet(images: Tensor, labels: Tensor, colours: Tensor, columns: int = 4) -> Tensor:
    """Lay out pictures [N, C, H, W] with their boxes [N, B, 5] in colours [N, B]: [3, H', W']."""
    drawn = []
    for image, rows, colour in zip(images, labels, colours, strict=True):
        real = rows[:, 0] >= 0
        drawn.append(with_boxes(image, rows[real, 1:], colour[real].tolist()))
    return class_grid(torch.stack(drawn), columns, gap=4)
