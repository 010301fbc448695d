"""COCO's JSON: one file of all pictures, or one of each split, as COCO, CVAT, Label Studio and
Roboflow write it. Boxes are [xmin, ymin, width, height] in pixels.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from augment.data.boxes.coco_file import coco_file, refuse_without_boxes
from augment.data.boxes.layout import (
    Box,
    BoxEntry,
    BoxLayout,
    number,
    split_in_name,
    split_of_folders,
    turned,
)
from augment.data.layouts.file_index import FileIndex
from augment.data.layouts.listing import Listing
from augment.data.raw import first_names


def read_coco(listing: Listing) -> BoxLayout | None:
    """Read the boxes of COCO's JSON files; None where there are no such files.

    Raises DataError for a file of that form which is damaged.
    """
    jsons = [name for name in listing.others if name.lower().endswith(".json")]
    files = {name: found for name in jsons if (found := coco_file(listing, name))}
    if not files:
        return None
    refuse_without_boxes(listing, files)
    layout = BoxLayout("COCO", "")
    # COCO's own set tells the people and their joints in files of their own, too
    own = [name for name in files if name.rpartition("/")[2].startswith("instances")]
    if own and len(own) < len(files):
        others = [name for name in files if name not in own]
        layout.notes.append(f"not used: {first_names(others)}, beside {first_names(own)}")
        files = {name: files[name] for name in own}
    layout.where = first_names(sorted(files))
    index, annotated = FileIndex(listing.images), {}
    for name, found in files.items():
        for entry in _entries(name, found, index, layout, len(files)):
            if entry.name in annotated:
                other = annotated[entry.name]
                in_both = f"twice in {name}" if other == name else f"in {other} and in {name}"
                layout.bad[entry.name] = f"is annotated {in_both}"
            annotated[entry.name] = name
            layout.entries.append(entry)
    layout.n_annotated = len(annotated)
    layout.split_by = _split(layout, files)
    unnamed = [name for name in listing.images if name not in annotated and name not in layout.bad]
    layout.left_out["pictures that the annotations do not name"] += unnamed
    return layout


def _split(layout: BoxLayout, files: dict[str, Any]) -> str:
    """Tell the splits by the names of the files, else by the pictures' folders; say by what."""
    if len(files) > 1 and all(split_in_name(name) for name in files):
        for entry in layout.entries:
            entry.split = entry.split or split_in_name(entry.place)
        return "splits by annotation file"
    for entry in layout.entries:
        entry.split = entry.split or split_of_folders(entry.name)
    return "splits from folders" if any(entry.split for entry in layout.entries) else ""


def _entries(
    place: str, found: dict[str, Any], index: FileIndex, layout: BoxLayout, n_files: int
) -> list[BoxEntry]:
    """Read the pictures of one file, faults into `layout.bad`."""
    names = {_id(each, "id"): str(each.get("name", "")).strip() for each in found["categories"]}
    if twins := [name for name, n in Counter(names.values()).items() if n > 1]:
        layout.notes.append(f"{place} has several categories of one name: {first_names(twins)}")
    known = {*layout.classes, ""}
    layout.classes += [name for name in dict.fromkeys(names.values()) if name not in known]
    word = split_in_name(place) if n_files > 1 else ""
    entries: dict[Any, BoxEntry] = {}
    for each in found["images"]:
        cell, key = str(each.get("file_name", "")), _id(each, "id")
        files = index.find(cell, f"{place.rpartition('/')[0]}/" if "/" in place else "")
        if len(files) > 1 and word:  # 1.jpg of both images/train and images/val
            files = [file for file in files if split_of_folders(file) == word] or files
        if len(files) != 1:
            several = f"may be any of {first_names(files)}" if files else "does not exist"
            layout.bad[cell or f"{place}: image {key}"] = f"is named in {place} and {several}"
        elif key in entries:  # whose boxes these are cannot be told
            first = entries[key].name
            for one, other in ((first, files[0]), (files[0], first)):
                layout.bad[one] = f"has the id {key}, as {other} has, in {place}"
        name = files[0] if len(files) == 1 else cell
        entry = BoxEntry(name, place, size=_size(each), group=str(each.get("group") or ""))
        entry.split = "synthetic" if each.get("source") == "synthetic" else ""
        entries.setdefault(key, entry)
    counts: Counter[str] = Counter()
    unlisted: dict[str, Any] = {}  # image → the first annotation of it
    for each in found["annotations"]:
        entry = entries.get(_id(each, "image_id"))
        if each.get("iscrowd"):
            counts["crowds"] += 1
        elif entry is None:
            unlisted.setdefault(str(each.get("image_id")), each.get("id"))
        else:
            try:
                entry.boxes.append(_box(each, names, counts))
            except ValueError as error:
                layout.bad.setdefault(entry.name, f"{error} ({place}, annotation {each.get('id')})")
    for image, first in unlisted.items():
        layout.bad[f"{place}: annotation {first}"] = (
            f"is of the image {image}, which the file does not list"
        )
    if n := counts["crowds"]:
        layout.notes.append(f"{n} boxes of crowds (iscrowd) in {place} are left out")
    if n := counts["polygons"]:
        layout.notes.append(
            f"{n} annotations in {place} have no bbox: the boxes of their polygons are taken"
        )
    if n := counts["turned"]:
        layout.notes.append(f"{n} boxes in {place} are turned: the upright ones around are taken")
    return list(entries.values())


def _id(record: dict[str, Any], key: str) -> Any:
    """Return an id of a record; what is neither number nor text can be no id, and is None."""
    value = record.get(key)
    return value if isinstance(value, (int, float, str)) else None


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    """Return the (W, H) that an image's record has, where it has both."""
    width, height = image.get("width"), image.get("height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None


def _box(annotation: dict[str, Any], names: dict[Any, str], counts: Counter[str]) -> Box:
    """Read one annotation, "polygons" and "turned" counted; ValueError if it is no box."""
    label, bbox = names.get(_id(annotation, "category_id")), annotation.get("bbox")
    if not label:
        raise ValueError(f"its class {annotation.get('category_id')} is none of the categories")
    if not bbox and (points := _points(annotation.get("segmentation"))):
        counts["polygons"] += 1
        xs, ys = points[::2], points[1::2]
        return Box(label, min(xs), min(ys), max(xs), max(ys))
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise ValueError("it has no bbox of four numbers")
    x, y, width, height = map(number, bbox)
    box = Box(label, x, y, x + width, y + height)
    attributes = annotation.get("attributes")  # CVAT's
    degrees = number(attributes.get("rotation") or 0) if isinstance(attributes, dict) else 0
    counts["turned"] += bool(degrees)
    return turned(box, degrees)


def _points(segmentation: Any) -> list[float]:
    """Return x, y, x, y … of all polygons of an annotation; [] where it has none."""
    polygons = segmentation if isinstance(segmentation, list) else []
    polygons = polygons if all(isinstance(each, list) for each in polygons) else [polygons]
    if any(len(each) % 2 or len(each) < 6 for each in polygons):
        raise ValueError("its polygon is no list of three or more pairs of numbers")
    return [number(value) for each in polygons for value in each]
