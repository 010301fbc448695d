"""BOXED: transforms of pictures and their boxes together, batched, on the device.

Each is a `BatchTransform`: it takes float images [b, C, H, W] in [-1, 1], boxes [b, M, 5] (class,
xmin, ymin, xmax, ymax in pixels; class -1 pads), the number of classes (not used) and a
torch.Generator, and returns pictures and boxes of the same shapes. Its names are those of
`CLASSIC`: what keeps a label keeps a box's class too.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.transforms.batch_mixing import BatchTransform
from augment.transforms.geometric import uniform

LEAST_LEFT = 0.4  # of a box's area inside the picture; a box of which less is left is dropped
_SCALES = 0.7, 1.4  # of both sides of a picture
_STRETCH = 0.9, 1.1  # of its width alone


def rescale(
    images: Tensor, boxes: Tensor, rng: torch.Generator, degrees: float = 0.0, shear: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Zoom by 0.7 to 1.4, stretch by ±10 %, and shift; beyond the border is the mean colour.

    Where the picture grows a random part of it is seen, where it shrinks it lies at a random place.
    Turned by up to ±`degrees` and slanted by ±`shear`, a box is that of the ellipse in it: the box
    of its corners would be too large for most things.
    """
    n, _, height, width = images.shape
    zoom, stretch = uniform(n, *_SCALES, rng), uniform(n, *_STRETCH, rng)
    angle = uniform(n, -degrees, degrees, rng) * (math.pi / 180)  # radians
    slant = uniform(n, -shear, shear, rng)
    cos, sin = angle.cos(), angle.sin()
    # input pixels, from the middle of the picture → output pixels
    matrix = _matrices(
        (zoom * stretch * cos, zoom * stretch * (slant * cos - sin)),
        (zoom * sin, zoom * (slant * sin + cos)),
    )
    area = zoom.square() * stretch  # the determinant
    inverse = _matrices((matrix[:, 1, 1], -matrix[:, 0, 1]), (-matrix[:, 1, 0], matrix[:, 0, 0]))
    inverse = inverse / area[:, None, None]  # torch's own would wait for the GPU
    half = torch.stack([torch.full_like(zoom, side / 2) for side in (width, height)], 1)  # [b, 2]
    room = (torch.stack([zoom * stretch, zoom], 1) - 1).abs() * half
    shift = (torch.rand(n, 2, generator=rng, device=rng.device) * 2 - 1) * room
    # affine_grid maps output to input, where a side runs from -1 to 1
    back = torch.cat([inverse * half[:, None], -inverse @ shift[..., None]], 2)  # [b, 2, 3]
    theta = back / half[..., None]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    mean = images.mean((2, 3), keepdim=True)
    moved = F.grid_sample(images - mean, grid, padding_mode="zeros", align_corners=False) + mean
    low, high = boxes[..., 1:3], boxes[..., 3:]
    middle = ((low + high) / 2 - half[:, None]) @ matrix.mT + (half + shift)[:, None]  # [b, M, 2]
    radii = (((high - low) / 2).square() @ matrix.square().mT).sqrt()
    corners = torch.cat([middle - radii, middle + radii], -1)
    return moved, clipped(boxes[..., :1], corners, width, height)


def _matrices(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    """Stack the entries of 2×2 matrices, given row by row, each [b]: [b, 2, 2]."""
    return torch.stack([torch.stack(row, 1) for row in (first, second)], 1)


def clipped(label: Tensor, corners: Tensor, width: int, height: int) -> Tensor:
    """Clip boxes [b, M, 4] to the picture; those of which less than LEAST_LEFT is left get -1."""
    x, y = corners[..., 0::2].clamp(0, width), corners[..., 1::2].clamp(0, height)
    inside = torch.stack([x, y], -1).flatten(-2)
    before, left = ((c[..., 2:] - c[..., :2]).prod(-1, keepdim=True) for c in (corners, inside))
    return torch.cat([torch.where(left >= LEAST_LEFT * before, label, -1.0), inside], -1)


def flip(
    images: Tensor, boxes: Tensor, rng: torch.Generator, dim: int = -1
) -> tuple[Tensor, Tensor]:
    """Flip each picture with probability one half: left to right (dim -1), upside down (-2)."""
    flipped = torch.rand(len(images), generator=rng, device=rng.device) < 0.5
    axis = {-1: 0, -2: 1}[dim]
    label, low, high = boxes[..., :1], boxes[..., 1:3], boxes[..., 3:]
    low, high = low.clone(), high.clone()
    low[..., axis], high[..., axis] = (
        images.shape[dim] - boxes[..., 3 + axis],
        images.shape[dim] - boxes[..., 1 + axis],
    )
    mirrored = torch.cat([label, low, high], -1)
    return (
        torch.where(flipped[:, None, None, None], images.flip(dim), images),
        torch.where(flipped[:, None, None], mirrored, boxes),
    )


def transpose(images: Tensor, boxes: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Exchange rows and columns with probability one half; oblong pictures stay as they are."""
    if images.shape[-1] != images.shape[-2]:
        return images, boxes
    turned = torch.rand(len(images), generator=rng, device=rng.device) < 0.5
    exchanged = torch.stack([boxes[..., i] for i in (0, 2, 1, 4, 3)], -1)
    return (
        torch.where(turned[:, None, None, None], images.transpose(-1, -2), images),
        torch.where(turned[:, None, None], exchanged, boxes),
    )


def light(images: Tensor, rng: torch.Generator) -> Tensor:
    """Change brightness by ±0.2 of [-1, 1], contrast by ±25 % and each channel's gain by ±5 %."""
    n, channels = images.shape[:2]
    mean = images.mean((1, 2, 3), keepdim=True)
    contrast = uniform(n, 0.75, 1.25, rng)[:, None, None, None]
    gain = uniform(n * channels, 0.95, 1.05, rng).view(n, channels, 1, 1)
    brightness = uniform(n, -0.2, 0.2, rng)[:, None, None, None]
    return ((images - mean) * contrast * gain + mean + brightness).clamp(-1, 1)


def boxed_document(
    images: Tensor, targets: Tensor, k: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rescale, turn by ±10°, slant by ±0.15 and change the light, never flip: digits, scans."""
    images, targets = rescale(images, targets, rng, degrees=10, shear=0.15)
    return light(images, rng), targets


def boxed_natural(
    images: Tensor, targets: Tensor, k: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mirror, rescale and change the light."""
    images, targets = rescale(*flip(images, targets, rng), rng)
    return light(images, rng), targets


def boxed_any_orientation(
    images: Tensor, targets: Tensor, k: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mirror, turn by quarter turns, rescale and change the light: microscopy, parts on a belt."""
    images, targets = flip(images, targets, rng, dim=-2)
    return boxed_natural(*transpose(images, targets, rng), k, rng)


def boxed_none(
    images: Tensor, targets: Tensor, k: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return pictures and boxes as they are."""
    return images, targets


BOXED: dict[str, BatchTransform] = {
    "document": boxed_document,
    "natural": boxed_natural,
    "any-orientation": boxed_any_orientation,
    "none": boxed_none,
}
