"""Pascal VOC: an XML file a picture, lists of the splits in ImageSets/Main.

Corners are pixels counted from 1, the last one included, as the VOC development kit has them: the
box of a whole picture is (1, 1, W, H). Sets that count from 0 or between pixels are told by a
corner below 1 or a fraction.
"""

from __future__ import annotations

import os
from collections import defaultdict
from xml.etree import ElementTree

from augment.data.boxes.layout import (
    Box,
    BoxEntry,
    BoxLayout,
    folders_of,
    number,
    read_bytes,
    split_of_folders,
)
from augment.data.layouts.file_index import FileIndex
from augment.data.layouts.listing import Listing
from augment.data.tables.label_values import class_order
from augment.errors import DataError

MIN_ALL = 0.9  # share of the pictures with an XML file from which these are the set's annotation
CORNERS = ("xmin", "ymin", "xmax", "ymax")
SPLIT_LISTS = ("train", "val", "trainval", "test")  # in ImageSets/Main


def read_voc(listing: Listing) -> BoxLayout | None:
    """Read the boxes of VOC's XML files; None where there are no such files."""
    contents = {
        name: content
        for name in listing.others
        if name.lower().endswith(".xml")
        and b"<annotation" in (content := read_bytes(listing.root / name))
    }
    if not any(b"<bndbox" in content for content in contents.values()):
        _refuse_without_boxes(listing, contents)
        return None
    layout = BoxLayout("Pascal VOC", folders_of(contents))
    index, annotated = FileIndex(listing.images), {}
    difficult = 0
    for name, content in contents.items():
        entry = BoxEntry("", name)
        try:
            if b"<!ENTITY" in content:
                raise ValueError("it declares entities, which are not read")
            root = ElementTree.fromstring(content)
            entry.name = _picture(name, root, index)
            _read_objects(root, entry)
            difficult += sum(
                e.findtext("difficult", "").strip() == "1" for e in root.iter("object")
            )
        except (ElementTree.ParseError, ValueError) as error:
            layout.bad[entry.name or name] = f"{error} ({name})" if entry.name else str(error)
            if not entry.name:
                continue
        if entry.name in annotated:
            layout.bad[entry.name] = f"is annotated in {annotated[entry.name]} and in {name}"
        annotated[entry.name] = name
        layout.entries.append(entry)
    if difficult:
        layout.notes.append(f"{difficult} boxes marked difficult count as all others")
    layout.n_annotated = len(annotated)
    _count_from_0(layout)
    _split(listing, layout, index)
    named = {entry.name for entry in layout.entries}
    layout.left_out["pictures without an XML file"] += [n for n in listing.images if n not in named]
    layout.classes = class_order({box.label for entry in layout.entries for box in entry.boxes})
    return layout


def _refuse_without_boxes(listing: Listing, contents: dict[str, bytes]) -> None:
    """Raise DataError where XML files of nearly all pictures hold no box that is read."""
    own = {name: text for name, text in contents.items() if b"<annotations" not in text}  # CVAT's
    if not own or len(own) < MIN_ALL * len(listing.images):
        return
    place, texts = listing.root / next(iter(own)), own.values()
    if any(b"<robndbox" in content for content in texts):
        raise DataError(
            f"{place} and all others hold turned boxes alone (robndbox), which are not read: "
            "export upright ones (bndbox)"
        )
    if not any(b"<object" in content for content in texts):
        raise DataError(f"{place} and all others hold no object: there is no box to learn from")


def _picture(name: str, root: ElementTree.Element, index: FileIndex) -> str:
    """Find the picture of an XML file, by its name or what it says; ValueError if there is none."""
    stem, folder = os.path.splitext(name.rpartition("/")[2])[0], name.rpartition("/")[0]
    said = (root.findtext("filename") or "").strip()
    found = index.by_stem.get(stem.lower(), [])
    if len(found) > 1:  # a.jpg and a.png, or of two folders
        found = [f for f in found if f.rpartition("/")[2] == said.rpartition("/")[2]] or found
    if len(found) > 1:  # in the folder of its name: Annotations/Short/a.xml, images/Short/a.jpg
        own = [f for f in found if f.split("/")[-2:-1] == folder.split("/")[-1:]]
        found = own or found
    if len(found) > 1:
        shared = [len(os.path.commonpath([f"/{file}", f"/{folder}"])) for file in found]
        found = [f for f, n in zip(found, shared, strict=True) if n == max(shared)]
    if not found and said:
        found = index.find(said)
    if len(found) != 1:
        raise ValueError(
            f"its picture may be any of {', '.join(found)}"
            if found
            else "its picture does not exist"
        )
    return found[0]


def _read_objects(root: ElementTree.Element, entry: BoxEntry) -> None:
    """Add the size and the boxes of an XML file; ValueError for one that is no box."""
    try:
        width, height = (int(root.findtext(f"size/{side}", "0")) for side in ("width", "height"))
    except ValueError:
        width = height = 0
    if width > 0 and height > 0:  # some tools write 0
        entry.size = width, height
    for each in root.findall("object"):
        label, corners = (each.findtext("name") or "").strip(), each.find("bndbox")
        if not label:
            raise ValueError("a box has no class")
        if corners is None:
            raise ValueError(f"the {label} has no bndbox")
        entry.boxes.append(Box(label, *(number(corners.findtext(name)) for name in CORNERS)))


def _count_from_0(layout: BoxLayout) -> None:
    """Turn corners that are counted from 1 into edges between pixels, counted from 0."""
    boxes = [box for entry in layout.entries for box in entry.boxes]
    if any(min(box.xmin, box.ymin) < 1 for box in boxes):
        layout.notes.append("corners are taken as counted from 0, since some lie at 0")
    elif any(corner != int(corner) for box in boxes for corner in box[1:]):
        layout.notes.append("corners are taken as edges between pixels, since some have fractions")
    else:
        for entry in layout.entries:
            entry.boxes = [
                box._replace(xmin=box.xmin - 1, ymin=box.ymin - 1) for box in entry.boxes
            ]


def _split(listing: Listing, layout: BoxLayout, index: FileIndex) -> None:
    """Tell the splits by lists in ImageSets, else by folders; listed pictures without boxes count.

    Raises DataError for a picture of two splits.
    """
    lists = {
        (name.rpartition("/")[2])[: -len(".txt")]: name
        for name in listing.others
        if "ImageSets/" in f"/{name}" and name.endswith(".txt")
    }
    split_of: dict[str, str] = {}
    for split in SPLIT_LISTS:
        if split not in lists:
            continue
        for line in read_bytes(listing.root / lists[split]).decode(errors="replace").splitlines():
            if not (cell := line.strip()):
                continue
            found = index.find(cell)
            if len(found) != 1:
                layout.bad[cell] = f"is named in {lists[split]} and does not exist"
            elif split == "trainval":
                split_of.setdefault(found[0], "train")
            elif split_of.setdefault(found[0], split) != split and split == "test":
                raise DataError(
                    f"{found[0]} is in {split_of[found[0]]} and in test by the lists in "
                    f"{lists[split].rpartition('/')[0]}: give it to one"
                )
    if not split_of:
        for entry in layout.entries:
            entry.split = split_of_folders(entry.name)
        layout.split_by = "splits from folders" if any(e.split for e in layout.entries) else ""
        return
    by_name = defaultdict(list)
    for entry in layout.entries:
        by_name[entry.name].append(entry)
    unlisted = [name for name in by_name if name not in split_of]
    layout.left_out["pictures that no list names"] += unlisted
    broken = {os.path.splitext(name.rpartition("/")[2])[0] for name in layout.bad}
    negatives = [
        name
        for name in split_of
        if name not in by_name and os.path.splitext(name.rpartition("/")[2])[0] not in broken
    ]
    layout.entries = [entry for entry in layout.entries if entry.name in split_of]
    place = folders_of(lists.values())
    layout.entries += [BoxEntry(name, place) for name in negatives]
    if negatives:
        layout.notes.append(
            f"{len(negatives)} listed pictures without an XML file count as pictures without "
            f"objects: {', '.join(negatives[:3])}"
        )
    for entry in layout.entries:
        entry.split = split_of[entry.name]
    layout.split_by = f"split lists in {place.rstrip('/')}"
