"""CVAT's own XML, "CVAT for images": one file of all pictures, with boxes and polygons."""

from __future__ import annotations

from xml.etree import ElementTree

from augment.data.boxes.layout import (
    Box,
    BoxEntry,
    BoxLayout,
    number,
    read_bytes,
    split_in_name,
    split_of_folders,
    turned,
)
from augment.data.layouts.file_index import FileIndex
from augment.data.layouts.listing import Listing
from augment.data.raw import first_names
from augment.data.tables.label_values import class_order
from augment.errors import DataError

EDGES = ("xtl", "ytl", "xbr", "ybr")  # of a box: between pixels, from 0


def read_cvat(listing: Listing) -> BoxLayout | None:
    """Read the boxes of CVAT's XML files; None where there are none, or tags tell classes."""
    contents = {
        name: content
        for name in listing.others
        if name.lower().endswith(".xml")
        and b"<image " in (content := read_bytes(listing.root / name))
        and b"<tag" not in content
        and (b"<box" in content or b"<polygon" in content)
    }
    if not contents:
        return None
    layout, index, annotated = (
        BoxLayout("CVAT", first_names([*contents])),
        FileIndex(listing.images),
        {},
    )
    known: dict[str, None] = {}
    n_turned = 0
    for place, content in contents.items():
        for image in _root(listing, place, content).iter("image"):
            name = _picture(image, place, index, layout)
            if name in annotated:
                layout.bad[name] = f"is annotated in {annotated[name]} and in {place}"
            annotated[name] = place
            entry = BoxEntry(name, place)
            entry.split = split_in_name(image.get("subset", "")) or split_of_folders(name)
            try:
                width, height = (int(number(image.get(side))) for side in ("width", "height"))
                entry.size = width, height
                shapes = [each for each in image if each.tag in ("box", "polygon")]
                entry.boxes = [_box(each) for each in shapes]
                n_turned += sum(float(each.get("rotation") or 0) != 0 for each in shapes)
            except ValueError as error:
                layout.bad.setdefault(name, f"{error} ({place})")
            known |= dict.fromkeys(box.label for box in entry.boxes)
            layout.entries.append(entry)
    if n_turned:
        layout.notes.append(f"{n_turned} boxes are turned: the upright ones around are taken")
    layout.classes, layout.n_annotated = class_order(known), len(annotated)
    layout.split_by = "splits from subsets" if any(e.split for e in layout.entries) else ""
    unnamed = [name for name in listing.images if name not in annotated]
    layout.left_out["pictures that the annotations do not name"] += unnamed
    return layout


def _root(listing: Listing, place: str, content: bytes) -> ElementTree.Element:
    """Parse a file; DataError if that cannot be."""
    if b"<!ENTITY" in content:
        raise DataError(f"{listing.root / place} declares entities, which are not read")
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{listing.root / place} is no XML: {error}") from None


def _picture(image: ElementTree.Element, place: str, index: FileIndex, layout: BoxLayout) -> str:
    """Find the picture of a record; one that is not there, or not alone, is a fault."""
    cell = image.get("name", "")
    files = index.find(cell, f"{place.rpartition('/')[0]}/" if "/" in place else "")
    if len(files) == 1:
        return files[0]
    several = f"may be any of {first_names(files)}" if files else "does not exist"
    layout.bad[cell] = f"is named in {place} and {several}"
    return cell


def _box(shape: ElementTree.Element) -> Box:
    """Read a box, or the box of a polygon; ValueError if it is neither."""
    label = shape.get("label", "").strip()
    if not label:
        raise ValueError("a box has no class")
    if shape.tag == "box":
        box = Box(label, *(number(shape.get(edge)) for edge in EDGES))
        return turned(box, number(shape.get("rotation") or 0))
    points = [point.split(",") for point in shape.get("points", "").split(";")]
    if any(len(point) != 2 for point in points):
        raise ValueError("a polygon has points of other than two numbers")
    xs, ys = ([number(value) for value in values] for values in zip(*points, strict=True))
    return Box(label, min(xs), min(ys), max(xs), max(ys))
