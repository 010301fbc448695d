"""Labelled images at the size of their files, with their own boxes, for an export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from augment.data.boxed_images import BoxedImages
from augment.data.boxes.task import boxes_to_learn
from augment.data.boxes.validity import boxes_in_pixels
from augment.data.datasets import DATASETS
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.pictures.decode import Picture, read_picture
from augment.data.pictures.framing import Frame
from augment.data.pictures.pages import file_of_page, read_channels
from augment.errors import DataError


def data_folder(dataset: str) -> Path | None:
    """Return the folder of image files that a data set is, or None if it is none."""
    folder = Path(dataset).expanduser()
    return folder if dataset not in DATASETS and folder.is_dir() else None


def original_image(root: Path, name: str, channels: int, pages: str | None = None) -> Tensor:
    """Read an image as a run does, but at its own size: [C, H, W] uint8.

    `pages` is what --pages said of files that have several.
    Raises DataError for an image that is gone, and for one of more than 8 bits a channel: which
    grey levels a run kept of those depends on the whole set.
    """
    file, page = file_of_page(name) if pages == "pictures" else (name, 0)

    def at_size(frame: Frame | None) -> Picture | str:
        if pages == "channels":
            return read_channels(root / file, frame)
        return read_picture(root / file, frame, page)

    read = at_size(None)
    if not isinstance(read, str):
        read = at_size(Frame(read.header.width, read.header.height))
    if isinstance(read, str):
        raise DataError(f"--original-size: {root / name} cannot be read ({read})")
    assert read.decoded is not None  # a frame was given
    pixels = np.atleast_3d(read.decoded.pixels)  # [H, W, 1 or 3]
    if pixels.dtype != np.uint8:
        raise DataError(
            f"--original-size: {root / name} has more than 8 bits a channel, and a run scales "
            "those as a set: leave the flag out"
        )
    image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    # a set of colour images may hold grey ones, and a grey set grey ones saved as colour
    return image[:1] if channels == 1 else image.expand(channels, -1, -1)


def original_pictures(
    root: Path, files: Sequence[str], data: BoxedImages, reading: ReadingFlags
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read pictures with their boxes as their files have them: [C, H, W] uint8, [b, 5] float64.

    Classes and channels are those of `data`, the same pictures at the size of the run. Raises
    DataError as `original_image` does.
    """
    layout, _ = boxes_to_learn(root, reading)
    assert layout is not None  # the run learnt them
    entries = {entry.name: entry for entry in layout.entries}
    number = {name: k for k, name in enumerate(data.classes)}
    for file in files:
        pixels = original_image(root, file, data.shape[0])
        size = pixels.shape[2], pixels.shape[1]
        boxes = boxes_in_pixels(entries[file], size, layout.in_shares, Counter())
        # classes that were too small to learn are left out, as in the run
        rows = [(number[box.label], *box[1:]) for box in boxes if box.label in number]
        yield pixels, torch.tensor(rows, dtype=torch.float64).reshape(-1, 5)
