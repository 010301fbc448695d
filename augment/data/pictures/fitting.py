"""Bring a picture to its frame: whole with bands, cut to its middle, or stretched.

A band has one colour, the median of the edge that it lies at. To repeat or mirror the edge would
draw textures and objects that no camera saw, for a classifier to learn from.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from augment.data.pictures.framing import Frame, inner_size, middle_box


def fit_image(image: Image.Image, frame: Frame) -> np.ndarray:
    """Fit an image of mode L, RGB or F into its frame: [H, W] or [H, W, 3], antialiased."""
    if image.size == frame[:2]:
        return np.asarray(image)
    if frame.fit == "crop":
        box = middle_box(image.size, frame)
        return np.asarray(image.resize(frame[:2], Image.Resampling.BILINEAR, box))
    inner = inner_size(image.size, frame)
    if image.size != inner:
        image = image.resize(inner, Image.Resampling.BILINEAR)
    return _with_bands(np.asarray(image), frame)


def fit_pixels(pixels: np.ndarray, frame: Frame) -> np.ndarray:
    """Fit [H, W] uint8 or float32, or [H, W, 3] uint8, into its frame."""
    if pixels.shape[1::-1] == frame[:2]:
        return pixels
    return fit_image(Image.fromarray(np.ascontiguousarray(pixels)), frame)


def _with_bands(pixels: np.ndarray, frame: Frame) -> np.ndarray:
    """Put [H, W(, 3)] into the middle of its frame, between bands of the colours of its edges."""
    down, right = frame.height - pixels.shape[0], frame.width - pixels.shape[1]
    if not down and not right:
        return pixels
    if pixels.ndim == 3:
        return np.stack([_with_bands(each, frame) for each in np.moveaxis(pixels, 2, 0)], 2)
    widths = (down // 2, down - down // 2), (right // 2, right - right // 2)
    edges = (pixels[0], pixels[-1]), (pixels[:, 0], pixels[:, -1])
    colours = tuple(tuple(np.rint(np.median(each)) for each in pair) for pair in edges)
    return np.pad(pixels, widths, constant_values=colours)
