"""List the files below a folder by name, once; no image is opened.

Links are followed to files inside the folder only, hidden folders are passed over, and whatever
is left out is counted by kind.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from augment.data.layouts.entries import LeftOut
from augment.data.pictures.decode import SUFFIXES

RUN_FILES = {"settings.json", "recipe.toml"}  # a folder with both was written by `augment`


@dataclass
class Listing:
    """The visible files and folders below a root, by paths relative to it, in name order."""

    root: Path
    images: list[str] = field(default_factory=list)  # by suffix
    others: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)  # those without images among them
    left_out: LeftOut = field(default_factory=lambda: defaultdict(list))


def list_files(root: Path) -> Listing:
    """List a folder and all below it; of each folder the files come first, then its folders."""
    found = Listing(root)
    _list_folder(found, os.fspath(root), "")
    return found


def _list_folder(found: Listing, folder: str, prefix: str) -> None:
    """Add what lies in a folder, whose path relative to the root is `prefix`, with a slash."""
    with os.scandir(folder) as items:
        entries = sorted(items, key=lambda item: item.name)
    below = []
    for entry in entries:
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            if entry.name.startswith((".", "__MACOSX")):
                found.left_out["hidden folders"].append(name)
            else:
                below.append(entry)
        elif entry.is_symlink() and _leads_nowhere(entry):
            found.left_out["links to folders or to nothing"].append(name)
        elif not entry.name.startswith("."):
            _add_file(found, entry, name)
    for entry in below:
        if set(_names(entry.path)) >= RUN_FILES:
            found.left_out["run folders"].append(prefix + entry.name)
        else:
            found.folders.append(prefix + entry.name)
            _list_folder(found, entry.path, f"{prefix}{entry.name}/")


def _add_file(found: Listing, entry: os.DirEntry[str], name: str) -> None:
    """Add a file to the images or to the others; a link out of the root is left out."""
    if not is_image(entry.name):
        found.others.append(name)
    elif entry.is_symlink() and not lies_inside(Path(entry.path), found.root):
        found.left_out["links out of the folder"].append(name)
    else:
        found.images.append(name)


def _names(folder: str) -> Iterator[str]:
    """Yield the names of those of a run's own files that a folder holds."""
    return (name for name in RUN_FILES if os.path.isfile(f"{folder}/{name}"))


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Recognise a link to a folder, or one to nothing that is not named as an image is."""
    is_there = os.path.exists(entry.path)
    return os.path.isdir(entry.path) or not (is_there or is_image(entry.name))


def is_image(name: str) -> bool:
    """Judge a file by its suffix."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def lies_inside(file: Path, root: Path) -> bool:
    """Tell whether the file really lies below the root, once links and .. are resolved."""
    return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(root))
