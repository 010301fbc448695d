"""Rectangles, one an image: random erasing, and the mask that CutMix uses too."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from augment.transforms.geometric import uniform


def random_erasing(images: Tensor, rng: torch.Generator) -> Tensor:
    """Replace a rectangle of 2 to 40 % of every other image by noise (Zhong et al. 2020).

    Float [N, C, H, W] in [-1, 1]; sides in a ratio of 0.3 to 3.3, as in the paper.
    """
    n, _, height, width = images.shape
    # the ratio is drawn on a logarithmic scale: tall and wide rectangles are equally likely
    area, aspect = uniform(n, 0.02, 0.4, rng), uniform(n, math.log(0.3), math.log(3.3), rng).exp()
    tall, wide = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    top, left = uniform(n, 0, 1, rng) * (1 - tall), uniform(n, 0, 1, rng) * (1 - wide)
    inside = rectangle_mask((top, left), (tall, wide), height, width)
    inside &= (uniform(n, 0, 1, rng) < 0.5)[:, None, None, None]
    noise = torch.rand(images.shape, generator=rng, device=rng.device) * 2 - 1
    return torch.where(inside, noise, images)


def rectangle_mask(
    corner: tuple[Tensor, Tensor], size: tuple[Tensor, Tensor], height: int, width: int
) -> Tensor:
    """Mark the pixels whose centre lies inside a rectangle: [n, 1, height, width] bool.

    `corner` (top, left) and `size` (tall, wide) are [n] each, as shares of the side; what reaches
    beyond the image is cut off.
    """
    (top, left), (tall, wide) = corner, size
    y = (torch.arange(height, device=top.device) + 0.5) / height  # centres of the pixels
    x = (torch.arange(width, device=top.device) + 0.5) / width
    rows = (y >= top[:, None]) & (y < (top + tall)[:, None])  # [n, height]
    columns = (x >= left[:, None]) & (x < (left + wide)[:, None])  # [n, width]
    return (rows[:, :, None] & columns[:, None, :])[:, None]
