"""Grids of images as PNG files."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from augment.storage.atomic import write_atomic


def class_grid(images: Tensor, columns: int, gap: int = 1) -> Tensor:
    """Lay out [N, C, H, W] uint8 images row by row on white: one sheet [C, H', W'] uint8."""
    n, channels, height, width = images.shape
    rows = -(-n // columns)
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


def to_pillow(picture: Tensor, enlarge: int = 1) -> Image.Image:
    """Turn [C, H, W] uint8 into a Pillow image, each pixel a square of side `enlarge`."""
    pixels = picture.permute(1, 2, 0).squeeze(-1).numpy()
    image = Image.fromarray(pixels)
    size = (image.width * enlarge, image.height * enlarge)
    return image.resize(size, Image.Resampling.NEAREST)


def save_picture(picture: Tensor, path: Path) -> None:
    """Write [C, H, W] uint8 as PNG, atomically; small images are enlarged to be seen."""
    buffer = io.BytesIO()
    enlarge = max(1, 600 // max(picture.shape[1:]))
    to_pillow(picture, enlarge).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())


def side_by_side(files: list[Path], path: Path, gap: int = 24) -> None:
    """Write PNG files side by side on white as one PNG, atomically."""
    pictures = [Image.open(file).convert("RGB") for file in files]
    width = sum(p.width for p in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(p.height for p in pictures)), "white")
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + gap
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())
