"""Files of several pages, as `--pages` says: pages as pictures, or as channels of one picture."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from augment.data.layouts.entries import ImageEntry
from augment.data.pictures.decode import Header, Picture, Pixels, read_picture
from augment.data.pictures.deep import SKETCH_SIZE, Sketch
from augment.data.pictures.framing import Frame
from augment.data.raw import first_names

CLIPS = (".gif", ".tif", ".tiff", ".webp")  # files that may be clips
_BREAK = re.compile(r"[ _.\-]+(?=[^/]*$)")  # between the words of a file's name
MAX_CHANNELS = 3  # of a picture


def split_pages(entries: Sequence[ImageEntry], notes: list[str]) -> list[ImageEntry]:
    """List an entry for each page; those of one file are named by number and are one group."""
    pages: list[ImageEntry] = []
    n_files = 0
    for entry in entries:
        read = read_picture(entry.path, None)
        n_pages = 1 if isinstance(read, str) else read.header.pages
        if n_pages == 1:
            pages.append(entry)
            continue
        n_files += 1
        group = entry.group or entry.name
        pages += [
            dataclasses.replace(entry, name=f"{entry.name}#{k + 1}", group=group, page=k)
            for k in range(n_pages)
        ]
    if n_files:
        notes.append(
            f"{n_files} files have several pages: each page is a picture, those of a file a group"
        )
    return pages


def group_stills(entries: Sequence[ImageEntry], notes: list[str]) -> list[ImageEntry]:
    """Group clip_frame3.png with clip.gif of several pages beside it, unless it has a group."""
    clips = {
        posixpath.splitext(entry.name)[0]: entry
        for entry in entries
        if entry.name.lower().endswith(CLIPS)
    }
    if not clips:
        return [*entries]
    stills: dict[str, list[ImageEntry]] = defaultdict(list)  # by the clip's name without suffix
    for entry in entries:
        stem = posixpath.splitext(entry.name)[0]
        ends = [found.start() for found in _BREAK.finditer(stem)]
        if clip := next((stem[:end] for end in reversed(ends) if stem[:end] in clips), ""):
            stills[clip].append(entry)
    groups: dict[str, str] = {}
    for stem, named in stills.items():
        read = read_picture(clips[stem].path, None)
        if not isinstance(read, str) and read.header.pages > 1:
            group = clips[stem].group or clips[stem].name
            groups |= {entry.name: group for entry in (clips[stem], *named) if not entry.group}
    if told := [name for name in groups if not name.lower().endswith(CLIPS)]:
        notes.append(
            f"{len(told)} stills are named after a file of several pages and of its group: "
            f"{first_names(told)}"
        )
    return [dataclasses.replace(e, group=groups.get(e.name, e.group)) for e in entries]


def file_of_page(name: str) -> tuple[str, int]:
    """Part the name that `split_pages` gives a page, or that of a file: "a.tif#2" is a.tif, 1."""
    file, _, number = name.rpartition("#")
    return (file, int(number) - 1) if file and number.isdecimal() else (name, 0)


def read_channels(path: Path, frame: Frame | None) -> Picture | str:
    """Read the pages of a file as the channels of one picture; as `read_picture` else.

    Of two pages the third channel is 0. Pages must be grey and at most three.
    """
    first = read_picture(path, frame)
    if isinstance(first, str) or first.header.pages == 1:
        return first
    header = Header(*first.header[:2], f"{first.header.pages} pages")
    if first.header.pages > MAX_CHANNELS:
        return f"{first.header.pages} pages are more than {MAX_CHANNELS} channels"
    if first.decoded is None:
        return Picture(header, None)
    planes = [first.decoded]
    for page in range(1, first.header.pages):
        read = read_picture(path, frame, page)
        if isinstance(read, str):
            return f"page {page + 1}: {read}"
        assert read.decoded is not None  # there is a frame
        planes.append(read.decoded)
    if any(plane.pixels.ndim == 3 for plane in planes):
        return "pages in colour cannot be channels"
    if len({plane.sketch is None for plane in planes}) > 1:
        return "pages of several depths cannot be channels"
    pixels = np.stack([plane.pixels for plane in planes], 2)  # [H, W, pages]
    pixels = np.pad(pixels, ((0, 0), (0, 0), (0, MAX_CHANNELS - len(planes))))
    return Picture(header, Pixels(pixels, _pooled([plane.sketch for plane in planes])))


def _pooled(sketches: Sequence[Sketch | None]) -> Sketch | None:
    """Summarise the values of several pages together; None where they have 8 bits."""
    deep = [each for each in sketches if each is not None]
    if not deep:
        return None
    values = np.stack(deep)
    quantiles = np.sort(values[:, 1:-1], axis=None)
    middle = quantiles[len(deep) // 2 :: len(deep)][:SKETCH_SIZE]
    return np.concatenate([[values[:, 0].min()], middle, [values[:, -1].max()]])
