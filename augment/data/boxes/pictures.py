"""Picture files of any sizes → one tensor: letterboxed, the aspect kept, boxes scaled alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from augment.data.pictures.decode import Header, Picture, Pixels, read_picture
from augment.data.pictures.deep import choose_range, to_8_bits
from augment.data.pictures.forked import map_files
from augment.data.pictures.framing import NATIVE, Frame, Framing
from augment.data.pictures.stacking import quiet_libraries
from augment.errors import UsageError

SHORTEST, LONGEST = 128, 320  # px: what the longer side is kept within where no size is asked for
MULTIPLE = 8  # of the sides, for networks that halve them


class Letterbox(NamedTuple):
    """One shape for all pictures: each lies in the upper left corner, as large as fits."""

    longer: int  # side that the pictures' longer side becomes, in pixels
    width: int
    height: int

    def fitted(self, size: tuple[int, int]) -> tuple[int, int]:
        """Scale (W, H) to the longer side."""
        scale = self.longer / max(size)
        width, height = (max(1, round(side * scale)) for side in size)
        return width, height


def boxed_side(framing: Framing) -> int | None:
    """Return the longer side that is asked for; UsageError for what boxes do not allow."""
    if framing.fit not in (None, "pad"):
        raise UsageError(
            f"--fit {framing.fit}: pictures with boxes are fitted whole: leave --fit out"
        )
    if framing.size == NATIVE:
        raise UsageError("--size native: pictures with boxes get one shape: give a side in pixels")
    return framing.size if isinstance(framing.size, int) else None


def choose_letterbox(sizes: Sequence[tuple[int, int]], size: int | None) -> Letterbox:
    """Choose the shape for pictures of these (W, H): `size` is the longer side, if asked for."""
    longer = size or min(max(max(map(max, sizes)), SHORTEST), LONGEST)
    fitted = [Letterbox(longer, 0, 0).fitted(each) for each in set(sizes)]
    width, height = (-(-max(sides) // MULTIPLE) * MULTIPLE for sides in zip(*fitted, strict=True))
    return Letterbox(longer, width, height)


def read_headers(files: Sequence[Path]) -> list[Header | str]:
    """Read the heads of files: size and pixel format of each, or the reason why it has none."""
    with quiet_libraries():
        read = map_files(lambda file: read_picture(file, None), files)
    return [each if isinstance(each, str) else each.header for each in read]


def read_pictures(
    files: Sequence[Path], sizes: Sequence[tuple[int, int]], letterbox: Letterbox
) -> list[Pixels | str]:
    """Decode files in parallel, each fitted into the letterbox; or the reason why not."""
    with quiet_libraries():
        read = map_files(
            lambda each: read_picture(each[0], Frame(*letterbox.fitted(each[1]))),
            list(zip(files, sizes, strict=True)),
        )
    return [_pixels(each) for each in read]


def _pixels(picture: Picture | str) -> Pixels | str:
    """Return what was decoded."""
    if isinstance(picture, str):
        return picture
    return picture.decoded or "no pixels"


def stack_letterboxed(decoded: Sequence[Pixels], letterbox: Letterbox, notes: list[str]) -> Tensor:
    """Stack pictures of any sizes → [N, C, H, W] uint8; C = 1 if all of them are grey.

    What a picture leaves free is of its mean colour, so that its border is no strong edge.
    """
    sketches = [each.sketch for each in decoded if each.sketch is not None]
    low, high = choose_range(sketches) if sketches else (0.0, 255.0)
    if sketches:
        notes.append(
            f"{len(sketches)} pictures are deeper than 8 bits: {low:g} to {high:g} become 0 to 255"
        )
    colour = any(_has_colour(each.pixels) for each in decoded)
    shape = (len(decoded), 3 if colour else 1, letterbox.height, letterbox.width)
    images = np.empty(shape, np.uint8)
    for image, (pixels, values) in zip(images, decoded, strict=True):
        pixels = pixels if values is None else to_8_bits(pixels, low, high)
        planes = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]  # [C, H, W]
        planes = planes if colour else planes[:1]
        image[:] = planes.mean((1, 2), keepdims=True).round()
        image[:, : planes.shape[1], : planes.shape[2]] = planes
    if not colour and any(each.pixels.ndim == 3 for each in decoded):
        notes.append("all pictures are grey saved as colour: one channel is kept")
    return torch.from_numpy(images)


def _has_colour(pixels: np.ndarray) -> bool:
    """Tell whether the channels of [H, W] or [H, W, 3] differ."""
    return pixels.ndim == 3 and bool((pixels != pixels[..., :1]).any())


def size_notes(headers: Sequence[Header], letterbox: Letterbox, channels: int) -> list[str]:
    """Say to what size and pixel format pictures were brought."""
    sizes = {header[:2] for header in headers}
    target = f"{letterbox.width}×{letterbox.height}"
    notes = []
    if len(sizes) > 1:
        notes.append(
            f"{len(sizes)} picture sizes, all scaled to a longer side of {letterbox.longer} px and "
            f"filled up to {target}"
        )
    elif sizes != {(letterbox.width, letterbox.height)}:
        notes.append(f"pictures of {'×'.join(map(str, sizes.pop()))}, all scaled to {target}")
    usual = ("RGB", "L")
    if others := sum(header.mode not in usual for header in headers):
        notes.append(f"{others} pictures are converted to {usual[channels == 1]}")
    if several := sum(header.pages > 1 for header in headers):
        notes.append(f"{several} files have several pages: the first alone is read")
    return notes
