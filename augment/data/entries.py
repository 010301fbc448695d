"""Image files of a folder with one sub-folder a class: found by name, not yet opened.

Links are followed to files inside the folder only, hidden folders make no class, and whatever is
left out is counted by kind in a `LeftOut` that the caller passes down.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from augment.data.decode import SUFFIXES
from augment.data.raw import first_names
from augment.errors import DataError

# name of a folder, or word in metadata.csv, in lower case → split
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
    split: str = ""  # "train", "val", "test", or "" where none is given
    group: str = ""  # e.g. the patient


def class_folder_entries(root: Path, left_out: LeftOut) -> tuple[list[ImageEntry], set[str]]:
    """List images and classes: one folder a class, with or without train/ val/ test/ above.

    A class may have no image. Raises DataError where the names of splits would become classes.
    """
    tops = _visible_folders(root, root, left_out)
    split_tops = [top for top in tops if top.name.lower() in SPLITS]
    parts = [("", root)]
    if any(SPLITS[top.name.lower()] == "train" and _holds_folders(top) for top in split_tops):
        parts = sorted((SPLITS[top.name.lower()], top) for top in split_tops)
        left_out["folders beside train/"] += [top.name for top in tops if top not in split_tops]
    elif split_tops and split_tops == tops:  # their names must not be taken for classes
        raise DataError(
            f"{root}: expected train/ with a folder a class in it, "
            f"found only {first_names([top.name for top in split_tops])} without such folders"
        )
    entries, classes = [], set()
    for split, part in parts:
        for folder in tops if part == root else _visible_folders(part, root, left_out):
            classes.add(folder.name)
            for file in image_files(folder, root, left_out):
                name = file.relative_to(root).as_posix()
                entries.append(ImageEntry(file, name, folder.name, split))
        loose = [f.name for f in sorted(part.iterdir()) if _is_image(f.name)]
        left_out["images outside class folders"] += loose
    for kind in [kind for kind, names in left_out.items() if not names]:
        del left_out[kind]
    return entries, classes


def image_files(folder: Path, root: Path, left_out: LeftOut) -> Iterator[Path]:
    """Yield the image files below a folder, in name order, without links out of the root."""

    def refuse(error: OSError) -> None:
        raise error  # os.walk would skip an unreadable folder without a word

    for parent, folders, names in os.walk(folder, onerror=refuse):
        # in place: os.walk goes down into what is left in this list, in this order
        folders[:] = [f for f in sorted(folders) if _keep_folder(Path(parent, f), root, left_out)]
        for name in sorted(names):
            file = Path(parent, name)
            if name.startswith("."):
                continue
            if not _is_image(name):
                left_out["files that are no images"].append(file.relative_to(root).as_posix())
            elif file.is_symlink() and not lies_inside(file, root):
                left_out["links out of the folder"].append(file.relative_to(root).as_posix())
            else:
                yield file


def lies_inside(file: Path, root: Path) -> bool:
    """Tell whether the file really lies below the root, once links and .. are resolved."""
    return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(root))


def _is_image(name: str) -> bool:
    """Judge a file by its suffix."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _holds_folders(folder: Path) -> bool:
    """Tell a train/ with classes in it from a class of that name."""
    return bool(_visible_folders(folder, folder, defaultdict(list)))


def _visible_folders(folder: Path, root: Path, left_out: LeftOut) -> list[Path]:
    """List sub-folders in name order, without hidden ones and links (left out)."""
    items = [item for item in sorted(folder.iterdir()) if item.is_dir() or _is_dangling(item)]
    return [item for item in items if _keep_folder(item, root, left_out)]


def _is_dangling(item: Path) -> bool:
    """Recognise a link to nothing, or to itself."""
    return item.is_symlink() and not item.exists()


def _is_run_folder(folder: Path) -> bool:
    """Tell whether `augment` wrote this folder: its images are no data."""
    return (folder / "settings.json").is_file() and (folder / "recipe.toml").is_file()


def _keep_folder(folder: Path, root: Path, left_out: LeftOut) -> bool:
    """Return False for links, run folders and hidden folders, which are counted."""
    if folder.is_symlink():
        left_out["links to folders or to nothing"].append(folder.relative_to(root).as_posix())
    elif _is_run_folder(folder):
        left_out["run folders"].append(folder.relative_to(root).as_posix())
    elif folder.name.startswith((".", "__MACOSX")):
        left_out["hidden folders"].append(folder.relative_to(root).as_posix())
    else:
        return True
    return False
