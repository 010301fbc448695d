"""Large sets of image files, decoded once into a file that is mapped: see `mapped`.

The file is named by the list of files, their sizes and times, and the frame. Beside it lies what
was found out on the way, as JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from augment.data.pictures.decode import Header, Picture, Pixels
from augment.data.pictures.deep import Sketch, choose_range, to_8_bits
from augment.data.pictures.forked import map_files
from augment.data.pictures.framing import Frame
from augment.data.pictures.mapped import Mapped, reserve
from augment.data.pictures.source_files import FilePage, read_source
from augment.storage.atomic import write_atomic

FORMAT = 1  # raised when the same files would give other pixels


class Found(NamedTuple):
    """What is known of a file whose pixels are on disk."""

    header: Header | str  # or the reason why it cannot be read
    colour: bool = False
    sketch: Sketch | None = None  # of a deep picture, which is scaled once all are known


class DecodedFile(NamedTuple):
    """Decoded images in a file, in the order of the sources; blank where one cannot be read."""

    mapped: Mapped  # [N, 3, H, W], grey spread over the channels
    headers: list[Header | str]
    colour: bool  # whether any picture was saved with colour
    deep: tuple[int, float, float] | None  # number of deep pictures; values that become 0 and 255


def decode_to_file(sources: Sequence[FilePage], frame: Frame, folder: Path) -> DecodedFile:
    """Decode into a file in `folder`, or find it there."""
    shape = (len(sources), 3, frame.height, frame.width)
    mapped = Mapped(folder / f"{_key(sources, frame)}.u8", shape)
    about = mapped.file.with_suffix(".about")  # no suffix of a table
    if mapped.file.exists() and about.exists():
        known = json.loads(about.read_text(encoding="utf-8"))
        headers = [each if isinstance(each, str) else Header(*each) for each in known["headers"]]
        return DecodedFile(mapped, headers, known["colour"], known["deep"])
    partial = reserve(mapped)
    try:
        pixels = np.memmap(partial, np.uint8, "r+", shape=shape)
        found = map_files(lambda k: _decode(k, sources[k], frame, pixels), range(len(sources)))
        deep = _scale_deep(found, sources, frame, pixels)
        pixels.flush()
        headers, colour = [each.header for each in found], any(each.colour for each in found)
        known = {"headers": headers, "colour": colour, "deep": deep}
        write_atomic(about, json.dumps(known))
        partial.replace(mapped.file)
    finally:
        partial.unlink(missing_ok=True)
    return DecodedFile(mapped, headers, colour, deep)


def _key(sources: Sequence[FilePage], frame: Frame) -> str:
    """Hash the names, sizes and times of the files, and how they are decoded."""
    digest = hashlib.sha256(repr((FORMAT, frame)).encode())
    for path, page in sources:
        try:
            found = path.stat()
            facts = found.st_size, found.st_mtime_ns
        except OSError:
            facts = None
        digest.update(repr((str(path.absolute()), page, facts)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:24]


def _decode(k: int, source: FilePage, frame: Frame, images: np.ndarray) -> Found:
    """Decode one file into its place; a deep one is left blank."""
    read = read_source(source, frame)
    if isinstance(read, str):
        return Found(read)
    picture = _pixels_of(read)
    if picture.sketch is None:
        images[k] = _channels_first(picture.pixels)
    return Found(read.header, picture.pixels.ndim == 3, picture.sketch)


def _scale_deep(
    found: Sequence[Found], sources: Sequence[FilePage], frame: Frame, images: np.ndarray
) -> tuple[int, float, float] | None:
    """Decode deep pictures a second time, into the range of the whole set."""
    places = [k for k, each in enumerate(found) if each.sketch is not None]
    if not places:
        return None
    low, high = choose_range([each.sketch for each in found if each.sketch is not None])

    def decode(k: int) -> None:
        read = read_source(sources[k], frame)
        if not isinstance(read, str):  # else it has changed since it was read
            images[k] = _channels_first(to_8_bits(_pixels_of(read).pixels, low, high))

    map_files(decode, places)
    return len(places), low, high


def _pixels_of(picture: Picture) -> Pixels:
    """Return the pixels of a picture that was read into a frame."""
    assert picture.decoded is not None
    return picture.decoded


def _channels_first(pixels: np.ndarray) -> np.ndarray:
    """Bring [H, W, 3] to [3, H, W]; grey [H, W] spreads over the channels."""
    return pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
