"""A user's own images: a folder a class, or a `metadata.csv`. Nothing there is changed.

Links are followed to files inside the folder only, hidden folders make no class, and whatever is
left out is counted in the notes.
"""

from __future__ import annotations

import csv
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from augment.data.decode import choose_size, decode, head, stack
from augment.errors import DataError
from augment.storage.tables import unguarded

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
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
COLUMNS = ("file_name", "label", "group", "split")  # of metadata.csv
SHOWN = 3  # names of each kind in a message

LeftOut = defaultdict[str, list[str]]  # kind → names


@dataclass
class Found:
    """What a reader found, before it is split: one entry an image in every list."""

    images: Tensor  # [N, C, H, W] uint8
    labels: list[int]
    classes: list[str]  # those without any image among them
    splits: list[str]  # "train", "val", "test", or "" where none is given
    files: list[str]
    groups: list[str] | None = None  # e.g. the patient; a group never straddles a split
    notes: list[str] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)  # file, reason


@dataclass(frozen=True)
class Entry:
    """One picture on the disk, not yet opened."""

    path: Path
    name: str  # relative to the root, for messages and the manifest
    label: str
    split: str = ""
    group: str = ""


def read_folder(path: Path, size: int | None, *, skip_bad: bool = False) -> Found:
    """Read a folder of images; DataError names the file at fault."""
    left: LeftOut = defaultdict(list)
    try:
        if (path / "metadata.csv").is_file():
            entries = list(metadata_entries(path))
            classes = {e.label for e in entries}
            refuse_twice(path, entries)
            left["images that metadata.csv does not name"] += unnamed(path, entries)
        else:
            entries, classes = folder_entries(path, left)
    except OSError as error:
        raise DataError(
            f"{error.filename or path} cannot be read: {error.strerror or error}"
        ) from None
    notes = [
        f"left out {kind} ({len(names)}): {some(names)}" for kind, names in left.items() if names
    ]
    if not entries:
        raise DataError(
            f"{path} holds no images ({' '.join(SUFFIXES)}): expected one folder a class, "
            f"or a metadata.csv{''.join(f'; {note}' for note in notes)}"
        )
    for name in [*classes, *(e.name for e in entries)]:
        if not is_text(name):
            raise DataError(f"{path}: the name {name!a} is not UTF-8: rename it")
    return read_entries(entries, sorted(classes), size, notes, skip_bad=skip_bad)


def refuse_twice(root: Path, entries: list[Entry]) -> None:
    """DataError if a file has two lines: it would count twice, or under two labels."""
    names = Counter(os.path.normpath(entry.path) for entry in entries)
    if twice := [e.name for e in entries if names[os.path.normpath(e.path)] > 1]:
        raise DataError(f"{root / 'metadata.csv'} names {twice[0]} twice: leave one line of it")


def unnamed(root: Path, entries: list[Entry]) -> list[str]:
    """Images in the folder that no entry is of."""
    named = {os.path.normpath(entry.path) for entry in entries}
    found = image_files(root, root, defaultdict(list))
    return [f.relative_to(root).as_posix() for f in found if os.path.normpath(f) not in named]


def some(names: list[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")


def is_text(name: str) -> bool:
    """False for a file name that holds bytes of no character, which no report could print."""
    return not any("\ud800" <= char <= "\udfff" for char in name)


def folder_entries(root: Path, left: LeftOut) -> tuple[list[Entry], set[str]]:
    """One folder a class, with or without train/ val/ test/ above them."""
    tops = visible_folders(root, root, left)
    given = [top for top in tops if top.name.lower() in SPLITS]
    parts = [("", root)]
    if any(SPLITS[t.name.lower()] == "train" and holds_folders(t) for t in given):
        parts = sorted((SPLITS[top.name.lower()], top) for top in given)
        left["folders beside train/"] += [top.name for top in tops if top not in given]
    elif given and given == tops:  # their names must not be taken for classes
        raise DataError(
            f"{root}: expected train/ with a folder a class in it, "
            f"found only {some([top.name for top in given])} without such folders"
        )
    entries, classes = [], set()
    for split, part in parts:
        for folder in tops if part == root else visible_folders(part, root, left):
            classes.add(folder.name)
            for file in image_files(folder, root, left):
                entries.append(Entry(file, file.relative_to(root).as_posix(), folder.name, split))
        loose = [f.name for f in sorted(part.iterdir()) if is_image(f.name)]
        left["images outside class folders"] += loose
    for kind in [kind for kind, names in left.items() if not names]:
        del left[kind]
    return entries, classes


def is_image(name: str) -> bool:
    """By its suffix."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def holds_folders(folder: Path) -> bool:
    """Whether a folder that is called train/ has classes in it, or is a class of that name."""
    return bool(visible_folders(folder, folder, defaultdict(list)))


def visible_folders(folder: Path, root: Path, left: LeftOut) -> list[Path]:
    """Sub-folders in name order, without hidden ones and links (left out)."""
    items = [i for i in sorted(folder.iterdir()) if i.is_dir() or is_dangling(i)]
    return [item for item in items if keep_folder(item, root, left)]


def is_dangling(item: Path) -> bool:
    """A link to nothing, or to itself."""
    return item.is_symlink() and not item.exists()


def is_run(folder: Path) -> bool:
    """Whether `augment` wrote this folder: its pictures are no data."""
    return (folder / "settings.json").is_file() and (folder / "recipe.toml").is_file()


def keep_folder(folder: Path, root: Path, left: LeftOut) -> bool:
    """False for hidden folders and links, which are counted."""
    if folder.is_symlink():
        left["links to folders or to nothing"].append(folder.relative_to(root).as_posix())
    elif is_run(folder):
        left["run folders"].append(folder.relative_to(root).as_posix())
    elif folder.name.startswith((".", "__MACOSX")):
        left["hidden folders"].append(folder.relative_to(root).as_posix())
    else:
        return True
    return False


def image_files(folder: Path, root: Path, left: LeftOut) -> Iterator[Path]:
    """Image files below a class folder, in name order, without links that lead out of the root."""

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [f for f in sorted(folders) if keep_folder(Path(place, f), root, left)]
        for name in sorted(names):
            file = Path(place, name)
            if name.startswith("."):
                continue
            if not is_image(name):
                left["files that are no images"].append(file.relative_to(root).as_posix())
            elif file.is_symlink() and not inside(file, root):
                left["links out of the folder"].append(file.relative_to(root).as_posix())
            else:
                yield file


def inside(file: Path, root: Path) -> bool:
    """Whether the file really lies below the root, once links and .. are resolved."""
    return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(root))


def metadata_entries(root: Path) -> Iterator[Entry]:
    """Rows of `metadata.csv`: file_name,label[,group][,split]."""
    table = root / "metadata.csv"
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            names = [name.strip().lower() for name in reader.fieldnames or []]
            if twice := [name for name in COLUMNS if names.count(name) > 1]:
                raise DataError(f"{table} has the column {twice[0]} twice: leave one")
            reader.fieldnames = names
            missing = {"file_name", "label"} - set(names)
            if missing:
                raise DataError(f"{table} lacks the column {' and '.join(sorted(missing))}")
            for row in reader:
                yield metadata_entry(root, f"{table} line {reader.line_num}", row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{table} is no CSV in UTF-8: {error}") from None


def metadata_entry(root: Path, where: str, row: dict[str, str]) -> Entry:
    """One row; DataError names its line."""
    if None in row or None in row.values():
        raise DataError(f"{where} has another number of cells than the head line")
    name, label = row["file_name"], unguarded(row["label"])  # `augment export` guards it
    split = row.get("split", "").strip().lower()
    if not label:
        raise DataError(f"{where}: {name} has no label")
    if "\0" in name or not inside(root / name, root):
        raise DataError(f"{where} names {name!r}, outside its folder")
    if split and split not in SPLITS:
        raise DataError(f"{where}: split '{split}' is none of {', '.join(SPLITS)}")
    return Entry(root / name, name, label, SPLITS.get(split, ""), row.get("group", "").strip())


def sizes_of(heads: list[tuple[int, int, str] | str]) -> list[tuple[int, int]]:
    """(W, H) of each readable picture."""
    return [h[:2] for h in heads if not isinstance(h, str)]


def read_entries(
    entries: list[Entry], classes: list[str], size: int | None, notes: list[str], *, skip_bad: bool
) -> Found:
    """Decode all pictures, in threads, at one size and one number of channels."""
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        warnings.simplefilter("ignore")  # decoders warn of what is told below
        heads = list(threads.map(lambda e: head(e.path), entries))
        target = None
        while target != (wanted := choose_size(sizes_of(heads), size)):
            target = wanted
            pixels = list(
                threads.map(
                    lambda e, h: h if isinstance(h, str) else decode(e.path, wanted), entries, heads
                )
            )  # a picture that turns out bad has no say in the size
            heads = [p if isinstance(p, str) else h for h, p in zip(heads, pixels, strict=True)]
    bad = [(e.name, p) for e, p in zip(entries, pixels, strict=True) if isinstance(p, str)]
    if bad and not skip_bad:
        listed = "; ".join(f"{name} ({why})" for name, why in bad[:SHOWN])
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise DataError(
            f"{len(bad)} unreadable images: {listed}{more}: mend them or pass --skip-bad"
        )
    kept = [(e, p) for e, p in zip(entries, pixels, strict=True) if not isinstance(p, str)]
    if not kept:
        raise DataError(f"none of {len(bad)} images could be read, the first: {' '.join(bad[0])}")
    images = stack([p for _, p in kept])
    modes = Counter(h[2] for h in heads if not isinstance(h, str))
    mode = "RGB" if images.shape[1] == 3 else "L"
    if converted := modes.total() - modes[mode]:
        listed = ", ".join(f"{m} {n}" for m, n in modes.most_common())
        notes.append(f"pixel formats: {listed}; {converted} converted to {mode}")
    sizes = len(set(sizes_of(heads)))
    if sizes > 1:
        notes.append(f"{sizes} picture sizes, all resized to {wanted[0]}×{wanted[1]}")
    elif (own := sizes_of(heads)[0]) != wanted:
        notes.append(f"pictures of {own[0]}×{own[1]}, all resized to {wanted[0]}×{wanted[1]}")
    if bad:
        notes.append(f"left out unreadable images ({len(bad)}): {some([n for n, _ in bad])}")
    place = {name: k for k, name in enumerate(classes)}
    return Found(
        images,
        [place[e.label] for e, _ in kept],
        classes,
        [e.split for e, _ in kept],
        [e.name for e, _ in kept],
        [e.group for e, _ in kept] if any(e.group for e, _ in kept) else None,
        notes,
        bad,
    )
