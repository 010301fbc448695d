"""Pixels deeper than 8 bits: read as they are stored, then brought to 8 bits for the whole set.

Pillow reads 16-bit grey; it cuts 16-bit colour to its high byte, which leaves 16 levels of a 12-bit
camera. Colour is therefore read by torchvision (PNG) and tifffile (TIFF).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from PIL import Image

LEAST_LEVELS = 200  # of 256 that the bulk of the pixels must keep
BULK = (0.2, 99.8)  # percentiles of the set's pixels between which its bulk lies
SKETCH_SIZE = 256  # quantiles kept of each picture
MAX_SAMPLED = 65_536  # pixels of a picture that its quantiles are taken from
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # little and big endian, and BigTIFF
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES, EXTRA_SAMPLES = 258, 262, 277, 338  # TIFF tags
WHITE_IS_ZERO = 0
ALPHA = (1, 2)  # values of EXTRA_SAMPLES

# a picture: its lowest value, SKETCH_SIZE quantiles, its highest value: [SKETCH_SIZE + 2] float32
Sketch = np.ndarray


def deep_pixels(
    file: BinaryIO, head: bytes, image: Image.Image | None, page: int
) -> np.ndarray | None:
    """Read a file that is deeper than 8 bits → [H, W] or [H, W, 3] float32; None if it is not.

    `head` holds its first bytes, `image` is the file as Pillow opened it, None if Pillow could not.
    Not turned upright. Raises ValueError for pixels that have no range.
    """
    if image is not None and image.mode.startswith("I"):
        pixels = np.asarray(image, np.float32)  # exact: 16 bits fit in 24
        tags = getattr(image, "tag_v2", {})
        if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow inverts 8 bits alone
            pixels = 2.0 ** tags[BITS_PER_SAMPLE][0] - 1 - pixels
        _refuse_negative(pixels)
        return pixels
    if head.startswith(PNG_MAGIC) and head[24:25] == b"\x10":  # bit depth in IHDR
        file.seek(0)
        return _png(file.read())
    if head.startswith(TIFF_MAGICS) and (image is None or _is_deep_tiff(image)):
        file.seek(0)
        return _tiff(file, page)
    return None


def _is_deep_tiff(image: Image.Image) -> bool:
    """Tell a TIFF of which Pillow drops bits or channels."""
    tags = getattr(image, "tag_v2", {})
    samples, extra = tags.get(SAMPLES, 1), tags.get(EXTRA_SAMPLES, ())
    channels_dropped = samples == 2 and not set(extra) & set(ALPHA)
    return max(tags.get(BITS_PER_SAMPLE, (1,))) > 8 or channels_dropped


def _png(data: bytes) -> np.ndarray:
    """Read a 16-bit PNG: [H, W] or [H, W, 3] float32."""
    import torch
    from torchvision.io import ImageReadMode, decode_image

    pixels = decode_image(
        torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.UNCHANGED
    )  # [C, H, W] uint16
    return _on_white(pixels.permute(1, 2, 0).numpy().astype(np.float32), 2.0**16 - 1)


def _tiff(file: BinaryIO, page_number: int) -> np.ndarray:
    """Read a page of a TIFF: [H, W] or [H, W, 3] float32."""
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[page_number].aspage()
        try:
            pixels = page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            compression = tifffile.COMPRESSION(page.compression).name
            raise ValueError(
                f"{compression} compression of deep colour needs the extra: "
                "pip install 'augment-compare[tiff]'"
            ) from None
    if pixels.dtype.kind == "f":
        raise ValueError("floating-point pixels have no stated range: save as 8 or 16 bits")
    pixels = pixels.astype(np.float32)
    _refuse_negative(pixels)
    top = 2.0**page.bitspersample - 1
    if page.photometric == WHITE_IS_ZERO:
        pixels = top - pixels
    if page.samplesperpixel == 1:
        return pixels.reshape(page.imagelength, page.imagewidth)
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
        pixels = np.moveaxis(pixels, 0, -1)  # [C, H, W] → [H, W, C]
    colours = 3 if page.photometric == tifffile.PHOTOMETRIC.RGB else 1
    n_alpha = sum(int(kind) in ALPHA for kind in page.extrasamples)
    if page.samplesperpixel != colours + n_alpha:
        raise ValueError(
            f"{page.samplesperpixel} channels that are neither grey nor colour: save each as a "
            "picture of its own, or three of them as colour"
        )
    return _on_white(pixels, top)


def _on_white(pixels: np.ndarray, top: float) -> np.ndarray:
    """Lay [H, W, C] on white where it is transparent; C is 1, 2 (with alpha), 3 or 4."""
    colours = pixels[..., :1] if pixels.shape[-1] < 3 else pixels[..., :3]
    if pixels.shape[-1] in (2, 4):
        alpha = pixels[..., -1:]
        if alpha.min() < alpha.max():  # one level throughout: nothing shines through
            colours = (colours * alpha + top * (top - alpha)) / top
    return colours[..., 0] if colours.shape[-1] == 1 else colours


def _refuse_negative(pixels: np.ndarray) -> None:
    """Raise ValueError for negative pixels."""
    if pixels.min() < 0:
        raise ValueError("negative pixels have no stated range: save as 8 or 16 bits")


def sketch(pixels: np.ndarray) -> Sketch:
    """Summarise the values of a picture of any size, before it is resized."""
    flat = pixels.ravel()
    step = -(-flat.size // MAX_SAMPLED)
    ordered = np.sort(flat[:: step | 1])  # odd: it does not follow a pattern of even period
    # quantiles amid each part, so that single hot pixels are in none of them
    middle = (np.arange(SKETCH_SIZE) + 0.5) / SKETCH_SIZE
    quantiles = ordered[(middle * ordered.size).astype(int)]
    return np.concatenate([[flat.min()], quantiles, [flat.max()]]).astype(np.float32)


def choose_range(sketches: Sequence[Sketch]) -> tuple[float, float]:
    """Choose the values of the set that become 0 and 255.

    The bit depth that the highest value needs, if the bulk of the pixels then keeps LEAST_LEVELS;
    else the lowest and the highest value; else the ends of the bulk.
    """
    values = np.stack(sketches)  # [N, SKETCH_SIZE + 2]
    lowest, highest = float(values[:, 0].min()), float(values[:, -1].max())
    low, high = (float(end) for end in np.percentile(values[:, 1:-1], BULK))
    depth = 2.0 ** max(8, int(np.ceil(np.log2(max(highest, 0) + 1)))) - 1
    ranges = ([(0.0, depth)] if lowest >= 0 else []) + [(lowest, highest)]
    if depth == 255 or high == low:  # there are no more levels to be had
        return ranges[0]
    for start, end in ranges:
        if (high - low) * 255 >= LEAST_LEVELS * (end - start):
            return start, end
    return low, high


def to_8_bits(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale low … high to 0 … 255, rounded; values outside are clipped."""
    return np.round((pixels - np.float32(low)) * np.float32(255 / max(high - low, 1))).clip(0, 255)
