"""An image file → pixels of the size asked for, or the reason why it cannot be read.

Pixel formats: 1, L, LA, 16-bit → grey; everything else → RGB; one colour image makes the whole
set RGB. Transparent images are laid on white. 16-bit values are scaled by the bit depth that the
set really uses (12-bit images keep their levels). EXIF rotation is applied.
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
MAX_PIXELS = 50_000_000  # larger images are refused before they are decoded
MIN_SIDE, NATIVE_LIMIT, DEFAULT_SIZE = 5, 64, 32  # sides kept from 5 to 64, else made 32
EXIF_ORIENTATION = 0x0112  # the tag
EXIF_TRANSPOSED = (5, 6, 7, 8)  # orientations that swap width and height; Pillow does it for TIFF

Header = tuple[int, int, str]  # width, height, Pillow's mode
Pixels = tuple[np.ndarray, float]  # [H, W(, 3)] uint8 and 0, or [H, W] float32 and its brightest


def choose_size(sizes: Iterable[tuple[int, int]], size: int | None) -> tuple[int, int]:
    """Choose (W, H) for the set: as asked, else native if all are equal and 5 to 64, else 32."""
    distinct = set(sizes)
    if size:
        return size, size
    if len(distinct) == 1:
        native = next(iter(distinct))
        if min(native) >= MIN_SIDE and max(native) <= NATIVE_LIMIT:
            return native
    return DEFAULT_SIZE, DEFAULT_SIZE


def read_header(path: Path) -> Header | str:
    """Read (W, H, mode) from the file's head alone, or return why it cannot be read."""
    try:
        if not path.is_file():  # a named pipe would be waited for without end
            return "missing, a broken link or no regular file"
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                return f"{width}×{height}: more than {MAX_PIXELS:,} pixels"
            orientation = 1 if image.format == "TIFF" else image.getexif().get(EXIF_ORIENTATION, 1)
            if orientation in EXIF_TRANSPOSED:
                width, height = height, width
            return width, height, image.mode
    except Exception as error:  # damaged bytes break decoders in any way they like
        return _reason(error)


def decode_image(path: Path, target: tuple[int, int]) -> Pixels | str:
    """Decode an image at (W, H), or return why it cannot be read.

    16-bit grey is left unscaled: the set as a whole decides on its bit depth (`stack_images`).
    """
    try:
        # by handle: Pillow 13 maps a raw TIFF given by path, and scrambles it if it is turned
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as opened:
            opened.load()
            image, brightest = ImageOps.exif_transpose(opened), 0.0
            if image.mode == "F":
                return "floating-point pixels have no stated range: save as 8 or 16 bits"
            if image.mode.startswith("I"):
                deep = np.asarray(image, np.float32)  # [H, W], exact: 16 bits fit in 24
                if deep.min() < 0:
                    return "negative pixels have no stated range: save as 8 or 16 bits"
                image, brightest = Image.fromarray(deep), float(deep.max())
            elif "A" in image.mode or "transparency" in image.info:
                grey = image.mode in ("1", "L", "LA")
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, (255, 255, 255, 255))
                image = Image.alpha_composite(white, image).convert("L" if grey else "RGB")
            elif image.mode not in ("L", "RGB"):
                image = image.convert("L" if image.mode == "1" else "RGB")
            if image.size != target:
                image = image.resize(target, Image.Resampling.BILINEAR)
            return np.asarray(image), brightest
    except Exception as error:  # as above
        return _reason(error)


def _reason(error: Exception) -> str:
    """Return the decoder's message without the path, which the caller names itself."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS:,} pixels"
    text = str(getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def stack_images(decoded: list[Pixels]) -> Tensor:
    """Stack decoded images of one size → [N, C, H, W] uint8, C = 3 if any of them has colour."""
    brightest = max(peak for _, peak in decoded)
    bits = max(8, int(np.ceil(np.log2(brightest + 1))))  # the depth that the deepest one needs
    colour = any(pixels.ndim == 3 for pixels, _ in decoded)
    height, width = decoded[0][0].shape[:2]
    images = np.empty((len(decoded), 3 if colour else 1, height, width), np.uint8)
    for image, (pixels, _) in zip(images, decoded, strict=True):
        if pixels.dtype == np.float32:
            pixels = np.round(pixels * (255 / (2**bits - 1))).clip(0, 255)
        # [H, W, 3] → [3, H, W]; grey [H, W] spreads over the channels
        image[:] = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
    return torch.from_numpy(images)
