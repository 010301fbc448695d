"""YOLO: a text file a picture, a line a box: class, centre and sides in shares of the picture.

Names of the classes stand in data.yaml (Ultralytics, Roboflow), classes.txt (labelImg, Label
Studio) or obj.names (Darknet, CVAT). A line of more numbers is a polygon, whose box is taken.
"""

from __future__ import annotations

import os
import re
from typing import Any

from augment.data.boxes.layout import (
    Box,
    BoxEntry,
    BoxLayout,
    folders_of,
    number,
    read_bytes,
    split_of_folders,
)
from augment.data.boxes.yolo_head import YoloHead, find_head, head_splits
from augment.data.layouts.listing import Listing
from augment.data.raw import first_names
from augment.errors import DataError

FILES_SAMPLED = 50  # label files by which YOLO's form is told
MIN_LIKE = 0.9  # share of these that are of the form
_LINES = re.compile(r"\s*(\d+(\.0*)?([ \t]+[\w.+\-]+){4,}[ \t]*(\r?\n\s*|$))*")
_NAMED = re.compile(r"([^\W\d]\S*)([ \t]+0?\.\d+){4}")
_SLACK = 1e-3  # by which rounding may lead a coordinate out of 0 … 1


def read_yolo(listing: Listing) -> BoxLayout | None:
    """Read the boxes of YOLO's text files; None where there are no such files.

    Raises DataError where nothing names the classes.
    """
    head = find_head(listing)
    texts = {name for name in listing.others if name.lower().endswith(".txt")} - head.files
    images = listing.images if texts else []
    label_files = {image: found for image in images if (found := _file_of(image, texts))}
    sample = [read_bytes(listing.root / name) for name in [*label_files.values()][:FILES_SAMPLED]]
    like = [bool(_LINES.fullmatch(content.decode(errors="replace"))) for content in sample]
    _refuse_names(listing, [*label_files.values()][:FILES_SAMPLED], sample)
    if not sample or (not any(map(bytes.strip, sample)) and not head.is_yaml):
        return None
    if sum(like) < (1 if head.is_yaml else MIN_LIKE * len(like)):
        return None
    if not head.names:
        if len(label_files) < MIN_LIKE * len(listing.images):
            return None
        first = next(iter(label_files.values()))
        raise DataError(
            f"{listing.root} has boxes in YOLO's layout (such as {first}) and nothing names the "
            "classes: write their names, in order, into classes.txt, or pass --labels folders if "
            "these are the classes"
        )
    layout = BoxLayout("YOLO", f"{folders_of(label_files.values())}, names in {head.place}")
    layout.in_shares, layout.classes = True, list(dict.fromkeys(head.names))
    layout.n_annotated = len(label_files)
    said = head.settings.get("nc", "")
    if isinstance(said, str) and said.isdigit() and int(said) != len(head.names):
        layout.notes.append(f"{head.place}: nc is {said}, and it names {len(head.names)} classes")
    polygons = _read_files(listing, label_files, head, layout)
    if polygons:
        layout.notes.append(f"{polygons} polygons: their boxes are taken")
    splits, layout.split_by = head_splits(listing, head, layout.notes)
    for entry in layout.entries:
        entry.split = splits.get(entry.name) or split_of_folders(entry.name)
    if not layout.split_by and any(entry.split for entry in layout.entries):
        layout.split_by = "splits from folders"
    if any(entry.split == "test" for entry in layout.entries):
        unlisted = [entry.name for entry in layout.entries if not entry.split]
        layout.left_out["pictures of no split"] += unlisted
        layout.entries = [entry for entry in layout.entries if entry.split]
    used = {*label_files.values()}
    of_labels = {name for name in texts if "labels" in name.split("/")[:-1]}
    for name in sorted(of_labels - used):
        layout.bad[name] = "its picture does not exist"
    return layout


def _refuse_names(listing: Listing, places: list[str], sample: list[bytes]) -> None:
    """Raise DataError where lines begin with the names of classes and are YOLO's otherwise."""
    firsts = [content.decode(errors="replace").strip().partition("\n")[0] for content in sample]
    found = [
        (place, match[1])
        for place, line in zip(places, firsts, strict=True)
        if (match := _NAMED.fullmatch(line.strip()))
    ]
    if found and len(found) >= MIN_LIKE * sum(map(bool, firsts)):
        place, name = found[0]
        raise DataError(
            f"{listing.root / place} names a class, '{name}', where YOLO has its number: write "
            "the number of each class, from 0, and their names, in order, into classes.txt"
        )


def _read_files(
    listing: Listing, label_files: dict[str, str], head: YoloHead, layout: BoxLayout
) -> int:
    """Add an entry for each picture, faults to `layout.bad`; return the number of polygons."""
    polygons, without, seen = 0, [], {}
    for image in listing.images:
        if image not in label_files:
            without.append(image)
            layout.entries.append(BoxEntry(image, ""))
            continue
        place = label_files[image]
        entry = BoxEntry(image, place)
        if place in seen:  # whose boxes these are cannot be told
            layout.bad[image] = f"and {seen[place]} have one label file, {place}"
            layout.bad[seen[place]] = f"and {image} have one label file, {place}"
        seen[place] = image
        text = read_bytes(listing.root / place).decode(errors="replace")
        for n, line in enumerate(text.splitlines(), 1):
            if not (cells := line.split()):
                continue
            try:
                box, is_polygon = _box_of(cells, head)
            except ValueError as error:
                layout.bad.setdefault(image, f"{error} ({place}, line {n})")
                break
            entry.boxes.append(box)
            polygons += is_polygon
        layout.entries.append(entry)
    if without:
        layout.notes.append(
            f"{len(without)} pictures without a label file count as pictures without objects: "
            f"{first_names(without)}"
        )
    return polygons


def _file_of(image: str, texts: set[str]) -> str:
    """Return the label file of a picture: in labels/ in place of images/, or beside it; or ""."""
    stem = os.path.splitext(image)[0]
    parts = stem.split("/")
    for k in reversed(range(len(parts) - 1)):
        if parts[k].lower() in ("images", "imgs", "img", "jpegimages"):
            # images/train/1.jpg → labels/train/1.txt; train/images/1.jpg → train/labels/1.txt
            found = "/".join([*parts[:k], "labels", *parts[k + 1 :]]) + ".txt"
            if found in texts:
                return found
    if f"{stem}.txt" in texts:
        return f"{stem}.txt"
    found = "/".join([*parts[:-1], "labels", parts[-1]]) + ".txt"
    return found if found in texts else ""


def _box_of(cells: list[str], head: YoloHead) -> tuple[Box, bool]:
    """Read a line, and whether it is a polygon; ValueError if it is neither box nor polygon."""
    key: Any = number(cells[0])
    if key != int(key) or not 0 <= key < len(head.names):
        raise ValueError(f"its class {cells[0]} is none of 0 to {len(head.names) - 1}")
    if head.has_keypoints:
        cells = cells[:5]
    if len(cells) < 5 or (len(cells) > 5 and len(cells) % 2 == 0):
        raise ValueError(f"{len(cells)} numbers are neither a box nor a polygon")
    values = [number(cell) for cell in cells[1:]]
    for value in values:
        if not -_SLACK <= value <= 1 + _SLACK:
            raise ValueError(f"{value:g} is no share of the picture's side, from 0 to 1")
    label = head.names[int(key)]
    if len(values) > 4:
        xs, ys = values[::2], values[1::2]
        return Box(label, min(xs), min(ys), max(xs), max(ys)), True
    x, y, width, height = values
    return Box(label, x - width / 2, y - height / 2, x + width / 2, y + height / 2), False
