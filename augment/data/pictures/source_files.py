"""Sources of images: files, their pages, and the heads of all of them."""

from __future__ import annotations

from pathlib import Path

from augment.data.pictures.decode import Picture, read_picture
from augment.data.pictures.framing import Frame
from augment.data.pictures.pages import read_channels

FilePage = tuple[Path, int | None]  # a file and its page; None: its pages are channels


def read_source(source: FilePage, frame: Frame | None) -> Picture | str:
    """Read one picture into a frame, or its head alone; or return why that cannot be."""
    path, page = source
    return read_channels(path, frame) if page is None else read_picture(path, frame, page)
