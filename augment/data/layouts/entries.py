"""What a reader of folders and tables works with: suffixes, splits, one image not yet opened."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

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


class Place(NamedTuple):
    """An image's path, and what the folders on it say."""

    path: str
    dirs: tuple[str, ...]  # folders whose meaning is still open, from the top
    label: str = ""
    split: str = ""
    group: str = ""

    def below(self, levels: int = 1) -> Place:
        """Return it without its upper folders."""
        return Place(self.path, self.dirs[levels:], self.label, self.split, self.group)


def folders_below(places: list[Place]) -> defaultdict[str, set[str]]:
    """Return the folders of the second level in each one of the first, which may have none."""
    found = defaultdict(set, {place.dirs[0]: set() for place in places if place.dirs})
    for place in places:
        if place.dirs[1:]:
            found[place.dirs[0]].add(place.dirs[1])
    return found


@dataclass(frozen=True)
class ImageEntry:
    """One image on the disk, not yet opened."""

    path: Path
    name: str  # relative to the root, for messages and the manifest
    label: str
    split: str = ""  # "train", "val", "test", "synthetic", or "" where none is given
    group: str = ""  # e.g. the patient
    page: int = 0  # of a file that has several


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
