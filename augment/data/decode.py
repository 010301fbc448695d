"""A picture file → pixels of the size asked for, or the reason why it cannot be read.

Pixel formats: 1, L, LA, 16-bit → grey; everything else → RGB; one colour picture makes the whole
set RGB. Transparent pictures are laid on white. 16-bit values are scaled by the bit depth that the
set really uses (12-bit pictures keep their levels). EXIF rotation is applied.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

# Recognised by content, whatever the suffix; not EPS and the like, which would start a program.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "TGA")
MAX_PIXELS = 50_000_000  # larger pictures are refused before they are decoded
LEAST_SIDE, NATIVE_LIMIT, DEFAULT_SIZE = 5, 64, 32  # sides kept from 5 to 64, else made 32
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height; Pillow does it for TIFF

Pixels = tuple[np.ndarray, float]  # [H, W(, 3)] uint8 and 0, or [H, W] float32 and its brightest


def choose_size(sizes: Iterable[tuple[int, int]], size: int | None) -> tuple[int, int]:
    """(W, H) for the set: as asked, else native if all are equal and 5 to 64, else 32."""
    distinct = set(sizes)
    if size:
        return size, size
    if len(distinct) == 1:
        own = next(iter(distinct))
        if min(own) >= LEAST_SIDE and max(own) <= NATIVE_LIMIT:
            return own
    return DEFAULT_SIZE, DEFAULT_SIZE


def head(path: Path) -> tuple[int, int, str] | str:
    """(W, H, mode) from the file's head alone, or the reason why it cannot be read."""
    try:
        if not path.is_file():  # a named pipe would be waited for without end
            return "missing, a broken link or no regular file"
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                return f"{width}×{height}: more than {MAX_PIXELS:,} pixels"
            turned = image.format != "TIFF" and image.getexif().get(0x0112, 1) in TURNED
            return (height, width, image.mode) if turned else (width, height, image.mode)
    except Exception as error:  # damaged bytes break decoders in any way they like
        return reason(error)


def decode(path: Path, target: tuple[int, int]) -> Pixels | str:
    """The whole picture at (W, H); 16-bit grey is left unscaled: the set decides on its depth."""
    try:
        # by handle: Pillow 13 maps a raw TIFF given by path, and scrambles it if it is turned
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as opened:
            opened.load()
            image, brightest = ImageOps.exif_transpose(opened), 0.0
            if image.mode == "F":
                return "floating-point pixels have no stated range: save as 8 or 16 bits"
            if image.mode.startswith("I"):
                deep = np.asarray(image, np.float32)
                if deep.min() < 0:
                    return "negative pixels have no stated range: save as 8 or 16 bits"
                image, brightest = Image.fromarray(deep), float(deep.max())
            elif "A" in image.mode or "transparency" in image.info:
                grey = image.mode in ("1", "L", "LA")
                image = image.convert("RGBA")
                ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
                image = Image.alpha_composite(ground, image).convert("L" if grey else "RGB")
            elif image.mode not in ("L", "RGB"):
                image = image.convert("L" if image.mode == "1" else "RGB")
            if image.size != target:
                image = image.resize(target, Image.Resampling.BILINEAR)
            return np.asarray(image), brightest
    except Exception as error:  # as above
        return reason(error)


def reason(error: Exception) -> str:
    """The decoder's message without the path, which the caller names itself."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS:,} pixels"
    text = str(getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def stack(pictures: list[Pixels]) -> Tensor:
    """Pictures of one size → [N, C, H, W] uint8."""
    brightest = max(peak for _, peak in pictures)
    bits = max(8, int(np.ceil(np.log2(brightest + 1))))
    colour = any(p.ndim == 3 for p, _ in pictures)
    first = pictures[0][0]
    rows = np.empty((len(pictures), 3 if colour else 1, *first.shape[:2]), np.uint8)
    for row, (p, _) in zip(rows, pictures, strict=True):
        if p.dtype == np.float32:
            p = np.round(p * (255 / (2**bits - 1))).clip(0, 255)
        row[:] = p.transpose(2, 0, 1) if p.ndim == 3 else p  # grey spreads over three channels
    return torch.from_numpy(rows)
