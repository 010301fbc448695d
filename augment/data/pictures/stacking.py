"""Many image files → one tensor: shape, channels and range of the set, notes of what changed."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from augment.data.pictures.decode import MAX_PIXELS, Header, Picture, Pixels
from augment.data.pictures.decoded_file import DecodedFile, decode_to_file
from augment.data.pictures.deep import choose_range, to_8_bits
from augment.data.pictures.forked import map_files
from augment.data.pictures.framing import Frame, Framing, choose_frame
from augment.data.pictures.head_sizes import plain_size
from augment.data.pictures.mapped import LARGE, Mapped, first_channel, take
from augment.data.pictures.source_files import FilePage, read_source
from augment.data.raw import first_names
from augment.errors import DataError

N_GUESSED_FROM = 32  # files of which the shape of the set is guessed
LIBRARIES = ("PIL", "tifffile", "pydicom", "pi_heif")  # whose loggers are silenced


class Decoded(NamedTuple):
    """The files of a set, decoded."""

    headers: list[Header | str]  # of each, or the reason why it cannot be read
    frame: Frame
    pixels: list[Pixels]  # of the readable ones, where they are held in memory
    file: DecodedFile | None  # where they are not

    def stack(self, notes: list[str]) -> tuple[Tensor, Mapped | None]:
        """Return the readable images [N, C, H, W] uint8, and where they are mapped from."""
        if self.file is None:
            return stack_images(self.pixels, notes), None
        if self.file.deep:
            notes.append(_deep_note(*self.file.deep))
        good = torch.tensor([not isinstance(header, str) for header in self.headers])
        images, mapped = take(self.file.mapped.open(), self.file.mapped, good)
        if mapped and not self.file.colour:
            return first_channel(images, mapped)
        return images if self.file.colour else images[:, :1].contiguous(), mapped


def decode_all(sources: Sequence[FilePage], framing: Framing, folder: Path) -> Decoded:
    """Decode in parallel, into a file in `folder` where the set is large."""
    with quiet_libraries():
        # each file is opened once if a sample is as the rest; else their heads are read
        # first, and where an image that turns out bad had a say in the shape, all are decoded again
        some = sources[:: max(1, len(sources) // N_GUESSED_FROM)]
        heads = _headers(map_files(_read_head, some))
        if len({*sizes_of(heads)}) > 1:
            heads = _headers(map_files(_read_head, sources))
        frame = None
        while frame != (wanted := choose_frame(sizes_of(heads), framing)):
            frame, decoded = wanted, _decode(sources, wanted, folder)
            heads = decoded.headers
        return decoded


def _decode(sources: Sequence[FilePage], frame: Frame, folder: Path) -> Decoded:
    """Decode all files into a frame."""
    if len(sources) * 3 * frame.width * frame.height > LARGE:
        file = decode_to_file(sources, frame, folder)
        return Decoded(file.headers, frame, [], file)
    read = map_files(lambda source: read_source(source, frame), sources)
    pixels = [each.decoded for each in read if not isinstance(each, str) and each.decoded]
    return Decoded(_headers(read), frame, pixels, None)


def _read_head(source: FilePage) -> Picture | str:
    """Read the head of a file; one that is decoded again all the same, so its size is enough."""
    try:
        width, height = plain_size(source[0]) or (0, 0)
    except OSError:
        width = height = 0  # the decoder says why
    if 0 < width * height <= MAX_PIXELS:
        return Picture(Header(width, height, ""), None)
    return read_source(source, None)


def _headers(read: Sequence[Picture | str]) -> list[Header | str]:
    """Return the header of each file, or the reason why there is none."""
    return [each if isinstance(each, str) else each.header for each in read]


def sizes_of(headers: Sequence[Header | str]) -> list[tuple[int, int]]:
    """List (W, H) of each readable image."""
    sizes = [header[:2] for header in headers if not isinstance(header, str)]
    return [size for size in sizes if min(size) > 0]  # a damaged head may say 0


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence decoders: they warn and log of what the caller reports itself."""
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def stack_images(decoded: Sequence[Pixels], notes: list[str]) -> Tensor:
    """Stack decoded images of one size → [N, C, H, W] uint8, C = 3 if any of them has colour."""
    sketches = [each.sketch for each in decoded if each.sketch is not None]
    low, high = choose_range(sketches) if sketches else (0.0, 255.0)
    if sketches:
        notes.append(_deep_note(len(sketches), low, high))
    colour = any(each.pixels.ndim == 3 for each in decoded)
    height, width = decoded[0].pixels.shape[:2]
    images = np.empty((len(decoded), 3 if colour else 1, height, width), np.uint8)
    for image, (pixels, values) in zip(images, decoded, strict=True):
        scaled = pixels if values is None else to_8_bits(pixels, low, high)
        # [H, W, 3] → [3, H, W]; grey [H, W] spreads over the channels
        image[:] = scaled.transpose(2, 0, 1) if scaled.ndim == 3 else scaled
    return torch.from_numpy(images)


def _deep_note(n: int, low: float, high: float) -> str:
    """Say how many pictures are deep, and which of their values become 0 and 255."""
    return f"{n} pictures are deeper than 8 bits: {low:g} to {high:g} become 0 to 255"


def note_blank(
    images: Tensor, headers: Sequence[Header], names: Sequence[str], notes: list[str]
) -> None:
    """Note pictures drawn in white on a transparent ground; DataError if all are."""
    with_alpha = [k for k, header in enumerate(headers) if "A" in header.mode]
    blank = [names[k] for k in with_alpha if bool((images[k] == 255).all())]
    if len(blank) == len(images) > 1:
        raise DataError(
            f"all {len(blank)} pictures are white on a transparent ground, which becomes white too "
            f"(the first is {blank[0]}): save them on a ground of another colour"
        )
    if blank:
        notes.append(
            f"{len(blank)} pictures are white on a transparent ground, which becomes white too, so "
            f"nothing is left of them: {first_names(blank)}"
        )


def is_grey(images: Tensor) -> bool:
    """Tell whether all of [N, 3, H, W] is grey saved as colour; picture by picture."""
    # the first one with colour ends the search
    return images.shape[1] == 3 and all(bool((image == image[0]).all()) for image in images)


def one_channel_if_grey(
    images: Tensor, mapped: Mapped | None, notes: list[str]
) -> tuple[Tensor, Mapped | None]:
    """Return [N, 1, H, W] where all of [N, 3, H, W] is grey saved as colour, else the images."""
    if not is_grey(images):
        return images, mapped
    notes.append("all pictures are grey saved as colour: one channel is kept")
    return first_channel(images, mapped) if mapped else (images[:, :1].contiguous(), None)


def conversion_notes(headers: Sequence[Header], mode: str, pages: str | None) -> list[str]:
    """Note what was converted to another pixel format, and which pages are not read."""
    notes = []
    modes = Counter(header.mode for header in headers)
    if converted := modes.total() - modes[mode]:
        listed = ", ".join(f"{name} {n}" for name, n in modes.most_common())
        notes.append(f"pixel formats: {listed}; {converted} converted to {mode}")
    if n_transparent := sum(header.transparent for header in headers):
        notes.append(f"{n_transparent} pictures have transparent parts, which become white")
    several = [header.pages for header in headers if header.pages > 1]
    if several and pages in (None, "first"):
        most = max(several)
        notes.append(
            f"{len(several)} files have several pages (up to {most}): the first alone is read "
            "(--pages channels or pictures)"
        )
    return notes
