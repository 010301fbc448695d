"""What annotation files tell of pictures with boxes, before any picture is opened."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from augment.data.layouts.entries import SPLITS, LeftOut
from augment.data.raw import first_names
from augment.errors import DataError

# train2017, seg_val, instances_test-dev: a split as a word of a name
_SPLIT_WORD = re.compile(rf"(?<![a-z])({'|'.join(sorted(SPLITS, key=len, reverse=True))})(?![a-z])")
# how a file in UTF-16 begins, with its mark or with the first tag, as Windows' tools write XML
_WIDE = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*>")
MAX_ANNOTATION_BYTES = 1_000_000_000  # larger files are refused before they are read


class Box(NamedTuple):
    """One labelled box, in pixels from the upper left corner or in shares of the sides."""

    label: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float


@dataclass
class BoxEntry:
    """One picture, not yet opened, and its boxes."""

    name: str  # relative to the root, with slashes
    place: str  # the annotation file, for messages
    boxes: list[Box] = field(default_factory=list)
    split: str = ""  # "train", "val", "test", "synthetic", or "" where none is given
    size: tuple[int, int] | None = None  # (W, H) as the annotation has it
    group: str = ""  # e.g. the patient


@dataclass
class BoxLayout:
    """The pictures of a set with their boxes, as annotation files of one format tell them."""

    format: str  # key of BOX_FORMATS
    where: str  # the annotation files, in words
    entries: list[BoxEntry] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)  # those without a box among them
    in_shares: bool = False  # coordinates are shares of the picture's sides
    split_by: str = ""  # what tells the splits, in words
    notes: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=lambda: defaultdict(list))
    bad: dict[str, str] = field(default_factory=dict)  # picture or annotation → reason
    n_annotated: int = 0  # pictures that an annotation file is of


def split_in_name(text: str) -> str:
    """Find the split that a path names, the last one, "val" for valid/7.jpg; or ""."""
    for part in reversed(text.lower().split("/")):
        if found := _SPLIT_WORD.search(part):
            return SPLITS[found[1]]
    return ""


def split_of_folders(path: str) -> str:
    """Find the split that the folders on a path name; or ""."""
    return split_in_name(path.rpartition("/")[0])


def number(value: Any) -> float:
    """Read a number of an annotation file; ValueError if it is none, or not finite."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{str(value)[:20]!r} is no number") from None
    if isinstance(value, bool) or not math.isfinite(found):
        raise ValueError(f"{value} is no finite number")
    return found


def turned(box: Box, degrees: float) -> Box:
    """Return the upright box around one that is turned about its middle."""
    if not degrees:
        return box
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    width, height = box.xmax - box.xmin, box.ymax - box.ymin
    x, y = (box.xmin + box.xmax) / 2, (box.ymin + box.ymax) / 2
    dx, dy = (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2
    return Box(box.label, x - dx, y - dy, x + dx, y + dy)


def read_bytes(file: Path) -> bytes:
    """Read an annotation file, UTF-16 as UTF-8; DataError if that cannot be."""
    try:
        if file.stat().st_size > MAX_ANNOTATION_BYTES:
            raise DataError(f"{file} is larger than {MAX_ANNOTATION_BYTES // 10**6} MB: split it")
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from None
    if encoding := _WIDE.get(content[:2]):
        # without the declaration of XML, which would go on to say UTF-16
        text = content.decode(encoding, errors="replace")
        return _DECLARATION.sub("", text, count=1).encode(errors="replace")
    return content


def folders_of(files: Iterable[str]) -> str:
    """Name the folders that files lie in: "Annotations/", "the set's folder"."""
    folders = sorted({file.rpartition("/")[0] for file in files})
    return first_names([f"{folder}/" if folder else "the set's folder" for folder in folders])
