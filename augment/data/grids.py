"""Grids of images as PNG files: what a generator's samples look like, class by class."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from augment.storage.atomic import write_atomic

MIN_PNG_SIDE = 600  # pixels that the longer side of a saved image has, as whole factors allow


def class_grid(images: Tensor, columns: int, gap: int = 1) -> Tensor:
    """Lay [N, C, H, W] uint8 out as one image [C, H', W'] uint8, row by row, on white."""
    n, channels, height, width = images.shape
    rows = -(-n // columns)  # rounded up
    sheet = torch.full(
        (channels, rows * (height + gap) + gap, columns * (width + gap) + gap),
        255,
        dtype=torch.uint8,
    )
    for index, image in enumerate(images):
        top = gap + (index // columns) * (height + gap)
        left = gap + (index % columns) * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    return sheet


def to_pillow(image: Tensor, enlarge: int = 1) -> Image.Image:
    """Convert [C, H, W] uint8 to a Pillow image, each pixel a square of `enlarge`."""
    pixels = image.permute(1, 2, 0).squeeze(-1).numpy()  # [H, W, 3] or [H, W]
    pillow = Image.fromarray(pixels)
    size = (pillow.width * enlarge, pillow.height * enlarge)
    return pillow.resize(size, Image.Resampling.NEAREST)  # pixels stay sharp squares


def save_png(image: Tensor, path: Path) -> None:
    """Write [C, H, W] uint8 as a PNG atomically, a small image enlarged by a whole factor."""
    buffer = io.BytesIO()
    enlarge = max(1, MIN_PNG_SIDE // max(image.shape[1:]))
    to_pillow(image, enlarge).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())


def side_by_side(files: list[Path], path: Path, gap: int = 24) -> None:
    """Join PNG files in one row on white, `gap` pixels apart, written atomically."""
    images = [Image.open(file).convert("RGB") for file in files]
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    sheet = Image.new("RGB", (width, max(image.height for image in images)), "white")
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width + gap
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())
