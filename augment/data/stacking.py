"""Many image files → one tensor: size, channels and range of the set, and notes of what changed."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from augment.data.decode import Header, Picture, Pixels, read_picture
from augment.data.deep import choose_range, to_8_bits
from augment.data.forked import map_files
from augment.data.pages import read_channels
from augment.data.raw import first_names
from augment.errors import DataError

FilePage = tuple[Path, int | None]  # a file and its page; None: its pages are channels

MIN_SIDE, NATIVE_LIMIT, DEFAULT_SIZE = 5, 64, 32  # sides kept from 5 to 64, else made 32
N_GUESSED_FROM = 32  # files of which the size of the set is guessed
LIBRARIES = ("PIL", "tifffile", "pydicom", "pi_heif")  # whose loggers are silenced


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


def decode_all(
    sources: Sequence[FilePage], size: int | None
) -> tuple[list[Header | str], list[Pixels | str], tuple[int, int]]:
    """Decode in parallel: headers, pixels (each one or the reason why not), and (W, H)."""
    with quiet_libraries():
        # each file is opened once if the first ones are as the rest; else, and where an image that
        # turns out bad had a say in the size, all are decoded again
        read = map_files(lambda source: _read(source, None), sources[:N_GUESSED_FROM])
        target = None
        while target != (wanted := choose_size(sizes_of(_headers(read)), size)):
            target = wanted
            read = map_files(lambda source: _read(source, wanted), sources)
    decoded = [each if isinstance(each, str) else each.decoded for each in read]
    return _headers(read), [each for each in decoded if each is not None], wanted


def _read(source: FilePage, target: tuple[int, int] | None) -> Picture | str:
    """Read one picture at (W, H), or its head alone."""
    path, page = source
    return read_channels(path, target) if page is None else read_picture(path, target, page)


def _headers(read: Sequence[Picture | str]) -> list[Header | str]:
    """Return the header of each file, or the reason why there is none."""
    return [each if isinstance(each, str) else each.header for each in read]


def sizes_of(headers: Sequence[Header | str]) -> list[tuple[int, int]]:
    """List (W, H) of each readable image."""
    return [header[:2] for header in headers if not isinstance(header, str)]


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
        notes.append(
            f"{len(sketches)} pictures are deeper than 8 bits: {low:g} to {high:g} become 0 to 255"
        )
    colour = any(each.pixels.ndim == 3 for each in decoded)
    height, width = decoded[0].pixels.shape[:2]
    images = np.empty((len(decoded), 3 if colour else 1, height, width), np.uint8)
    for image, (pixels, values) in zip(images, decoded, strict=True):
        scaled = pixels if values is None else to_8_bits(pixels, low, high)
        # [H, W, 3] → [3, H, W]; grey [H, W] spreads over the channels
        image[:] = scaled.transpose(2, 0, 1) if scaled.ndim == 3 else scaled
    return torch.from_numpy(images)


def note_blank(
    images: Tensor, headers: Sequence[Header], names: Sequence[str], notes: list[str]
) -> None:
    """Note pictures drawn in white on a transparent ground; DataError if all are."""
    with_alpha = [k for k, header in enumerate(headers) if "A" in header.mode]
    white = images[with_alpha].flatten(1).amin(1) == 255 if with_alpha else torch.empty(0)
    blank = [names[k] for k, is_white in zip(with_alpha, white.tolist(), strict=True) if is_white]
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


def one_channel_if_grey(images: Tensor, notes: list[str]) -> Tensor:
    """Return [N, 1, H, W] where all of [N, 3, H, W] is grey saved as colour, else the images."""
    # picture by picture: the first one with colour ends the search
    if images.shape[1] != 3 or not all(bool((image == image[0]).all()) for image in images):
        return images
    notes.append("all pictures are grey saved as colour: one channel is kept")
    return images[:, :1].contiguous()


def conversion_notes(
    headers: Sequence[Header], mode: str, target: tuple[int, int], *, pages: str | None = None
) -> list[str]:
    """Note what was converted to another pixel format, or resized to the (W, H) of `target`."""
    notes = []
    modes = Counter(header.mode for header in headers)
    if converted := modes.total() - modes[mode]:
        listed = ", ".join(f"{name} {n}" for name, n in modes.most_common())
        notes.append(f"pixel formats: {listed}; {converted} converted to {mode}")
    sizes = sizes_of(headers)
    if len(set(sizes)) > 1:
        notes.append(f"{len(set(sizes))} picture sizes, all resized to {target[0]}×{target[1]}")
    elif sizes[0] != target:
        width, height = sizes[0]
        notes.append(f"pictures of {width}×{height}, all resized to {target[0]}×{target[1]}")
    several = [header.pages for header in headers if header.pages > 1]
    if several and pages in (None, "first"):
        most = max(several)
        notes.append(
            f"{len(several)} files have several pages (up to {most}): the first alone is read "
            "(--pages channels or pictures)"
        )
    return notes
