"""ReadingFlags: what the user says of a folder of images that cannot be guessed from it.

Free of heavy imports: the command line reads the names.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


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
    pages: str | None = None  # a key of PAGES; None: the first
    task: str | None = None  # "classify" or "detect"; None: what the data hold

    def __bool__(self) -> bool:
        """Tell whether anything is said of folders and tables."""
        return dataclasses.replace(self, task=None) != ReadingFlags()

    def record(self) -> dict[str, Any]:
        """Return what is said of folders and tables, for signatures: data tell their task."""
        return {name: getattr(self, name) for name in READING_FLAGS}

    def columns(self) -> dict[str, str]:
        """Return the columns that are named, by role."""
        roles = ("label", "file", "group", "split")
        return {role: name for role in roles if (name := getattr(self, f"{role}_column"))}


# of folders and tables: flags of their own
READING_FLAGS = tuple(e.name for e in dataclasses.fields(ReadingFlags) if e.name != "task")
FOLDERS = "folders"  # as --labels: the folders tell the class, whatever tables there are
PAGES = ("first", "channels", "pictures")
GROUP_BY = ("folder", "name", "none")
