"""ReadingFlags: what the user says of a folder of images that cannot be guessed from it.

Free of heavy imports: the command line reads the names.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


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

    def __bool__(self) -> bool:
        """Tell whether anything is said."""
        return self != ReadingFlags()

    def columns(self) -> dict[str, str]:
        """Return the columns that are named, by role."""
        roles = ("label", "file", "group", "split")
        return {role: name for role in roles if (name := getattr(self, f"{role}_column"))}


READING_FLAGS = tuple(each.name for each in dataclasses.fields(ReadingFlags))
FOLDERS = "folders"  # as --labels: the folders tell the class, whatever tables there are
PAGES = ("first", "channels", "pictures")
GROUP_BY = ("folder", "name", "none")
