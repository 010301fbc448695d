"""What a reader of folders and tables works with: suffixes, splits, one image not yet opened."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".webp",
    ".pgm",
    ".ppm",
    ".pbm",
    ".pnm",
    ".jp2",
    ".tga",
)
# name of a folder, or word in a table, in lower case → split
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}

LeftOut = defaultdict[str, list[str]]  # kind → names, relative to the root


@dataclass(frozen=True)
class ImageEntry:
    """One image on the disk, not yet opened."""

    path: Path
    name: str  # relative to the root, for messages and the manifest
    label: str
    split: str = ""  # "train", "val", "test", "synthetic", or "" where none is given
    group: str = ""  # e.g. the patient


@dataclass(frozen=True)
class ReadingFlags:
    """What the user says of a data set that cannot be guessed from it."""

    labels: str | None = None  # a table, or FOLDERS
    label_column: str | None = None
    file_column: str | None = None
    group_column: str | None = None
    split_column: str | None = None
    group_by: str | None = None  # a key of GROUP_BY
    class_level: int | None = None  # of the folders on the path of an image, from 1
    skip_unlabelled: bool = False

    def __bool__(self) -> bool:
        """Tell whether anything is said."""
        return self != ReadingFlags()

    def columns(self) -> dict[str, str]:
        """Return the columns that are named, by role."""
        roles = ("label", "file", "group", "split")
        return {role: name for role in roles if (name := getattr(self, f"{role}_column"))}


READING_FLAGS = tuple(each.name for each in dataclasses.fields(ReadingFlags))
FOLDERS = "folders"  # as --labels: the folders tell the class, whatever tables there are
GROUP_BY = ("folder", "name", "none")


@dataclass
class SetLayout:
    """What each image is, as folders and tables tell it, before any is opened."""

    entries: list[ImageEntry]
    classes: set[str]  # those without an image among them
    left_out: LeftOut
    sentence: str = ""  # what was taken for classes, splits, groups and labels
    plain: bool = True  # a folder a class, or a plain metadata.csv: needs no word
    notes: list[str] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)  # file of a table, reason
