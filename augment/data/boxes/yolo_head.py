"""The head of a set in YOLO's layout: names of the classes, pictures of each split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from augment.data.boxes.layout import read_bytes
from augment.data.layouts.entries import SPLITS
from augment.data.layouts.file_index import FileIndex
from augment.data.layouts.listing import Listing
from augment.data.raw import first_names
from augment.errors import DataError

NAME_LISTS = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt", "names.txt")
NOTHING = ("", "~", "null", "None")  # an entry that names no pictures
MAX_YAML_BYTES = 1_000_000


@dataclass
class YoloHead:
    """What a set says of its classes and splits."""

    place: str = ""  # the file, relative to the root
    names: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)  # of data.yaml
    files: set[str] = field(default_factory=set)  # texts that label no picture

    @property
    def is_yaml(self) -> bool:
        """Whether a data.yaml tells the names."""
        return bool(self.settings)

    @property
    def has_keypoints(self) -> bool:
        """Whether lines go on with keypoints after the box."""
        return "kpt_shape" in self.settings


def find_head(listing: Listing) -> YoloHead:
    """Find the names of the classes; an empty head where there are none.

    Raises DataError for a damaged data.yaml, and for several that differ.
    """
    by_depth = sorted(listing.others, key=lambda name: (name.count("/"), name))
    base = {name: name.rpartition("/")[2].lower() for name in by_depth}
    lists = [f"{word}.txt" for word in SPLITS]
    texts = {name for name in by_depth if base[name] in (*NAME_LISTS, *lists)}
    heads = [
        YoloHead(name, _names(settings, listing, name), settings, texts)
        for name in by_depth
        if base[name].endswith((".yaml", ".yml")) and (settings := _settings(listing, name))
    ]
    if len({tuple(head.names) for head in heads}) > 1:
        places = first_names([head.place for head in heads])
        raise DataError(
            f"{listing.root}: {places} name different classes: leave the one that counts"
        )
    if heads:
        return heads[0]
    for name in by_depth:
        if base[name] in NAME_LISTS or base[name].endswith(".names"):
            lines = read_bytes(listing.root / name).decode("utf-8-sig", "replace").splitlines()
            names = [line.strip() for line in lines if line.strip()]
            if names:
                return YoloHead(name, names, files=texts)
    return YoloHead(files=texts)


def _settings(listing: Listing, name: str) -> dict[str, Any] | None:
    """Parse a YAML file if it names classes as a data.yaml does."""
    file = listing.root / name
    content = read_bytes(file)
    if b"names" not in content or not any(key in content for key in (b"train", b"val", b"nc")):
        return None
    if len(content) > MAX_YAML_BYTES:
        raise DataError(f"{file} is larger than {MAX_YAML_BYTES // 10**6} MB, and no data.yaml")
    import yaml  # here: most sets have no such file

    try:
        # all as text: a class called no would become false, and 01 the number 1
        found = yaml.load(content, yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file} is no YAML: {reason}") from None
    return found if isinstance(found, dict) and "names" in found else None


def _names(settings: dict[str, Any], listing: Listing, place: str) -> list[str]:
    """Return the names of the classes in order; DataError if they are no names."""
    names = settings["names"]
    if isinstance(names, dict) and {*names} == {*map(str, range(len(names)))}:  # else it has gaps
        names = [names[str(k)] for k in range(len(names))]
    if not isinstance(names, list) or not names or any(isinstance(e, (list, dict)) for e in names):
        raise DataError(
            f"{listing.root / place}: 'names' is neither a list of names nor 0: NAME, 1: NAME …"
        )
    return [str(name).strip() for name in names]


def _texts(value: Any) -> list[str]:
    """Return the texts of an entry that is one or a list of them."""
    return [each for each in (value if isinstance(value, list) else [value]) if type(each) is str]


def head_splits(listing: Listing, head: YoloHead, notes: list[str]) -> tuple[dict[str, str], str]:
    """Tell the split of each picture that data.yaml, train.txt and the like name; say by what."""
    index = FileIndex(listing.images)
    given = {
        key: [path for path in _texts(value) if path not in NOTHING]
        for key, value in head.settings.items()
        if key in SPLITS
    }
    place = head.place
    if not given:  # Darknet: train.txt beside obj.names
        folder = head.place.rpartition("/")[0]
        lists = [name for name in listing.others if name.rpartition("/")[0] == folder]
        found = {name: name.rpartition("/")[2].removesuffix(".txt").lower() for name in lists}
        given = {
            word: [name] for name, word in found.items() if name.endswith(".txt") and word in SPLITS
        }
        place = first_names([path for paths in given.values() for path in paths])
    images_of: dict[str, set[str]] = {}
    base = "/".join(_texts(head.settings.get("path")))
    for key, paths in given.items():
        for path in paths:
            if images := set(_images_of(f"{base}/{path}", listing, index)):
                images_of[SPLITS[key]] = images_of.get(SPLITS[key], set()) | images
            else:
                notes.append(f"{place}: {key}: {path} names no pictures here")
    found: dict[str, str] = {}
    for split, images in images_of.items():
        if set(found) & images:
            notes.append(f"{place} gives pictures to two splits: its splits are not used")
            return {}, ""
        found |= dict.fromkeys(images, split)
    return (found, f"splits from {place}") if len(images_of) > 1 else ({}, "")


def _images_of(path: str, listing: Listing, index: FileIndex) -> Iterator[str]:
    """Yield the pictures that an entry of data.yaml means: a folder's, or those of a list.

    Entries are often relative to where the set once was: the longest end that is here counts.
    """
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    folders, others = set(listing.folders), set(listing.others)
    for k in range(len(parts) + 1):
        end = "/".join(parts[k:])
        if end in others and end.endswith(".txt"):
            text = read_bytes(listing.root / end).decode("utf-8-sig", "replace")
            for line in text.splitlines():
                if line.strip():
                    yield from index.find(line)[:1]
            return
        if end in folders:
            yield from (name for name in listing.images if name.startswith(f"{end}/"))
            return
