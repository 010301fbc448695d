"""A folder of pictures with boxes → RawBoxes: the format is told by what the folder holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from augment.data.boxed_images import NO_BOX
from augment.data.boxes.coco import read_coco
from augment.data.boxes.cvat import read_cvat
from augment.data.boxes.layout import Box, BoxEntry, BoxLayout
from augment.data.boxes.pictures import (
    Letterbox,
    choose_letterbox,
    read_headers,
    read_pictures,
    size_notes,
    stack_letterboxed,
)
from augment.data.boxes.validity import (
    BoxChanges,
    boxes_in_pixels,
    refuse_corners,
    refuse_other_units,
    validity_notes,
)
from augment.data.boxes.voc import read_voc
from augment.data.boxes.yolo import read_yolo
from augment.data.layouts.listing import Listing
from augment.data.layouts.name_groups import clear_groups, groups_by_name
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.pictures.decode import Header, Pixels
from augment.data.raw import MAX_NAMES, RawDataset, first_names, notes_on_error
from augment.errors import DataError

# the first whose files are there is read
BOX_FORMATS: dict[str, Callable[[Listing], BoxLayout | None]] = {
    "COCO": read_coco,
    "Pascal VOC": read_voc,
    "CVAT": read_cvat,
    "YOLO": read_yolo,
}
MIN_SIDE_SEEN = 2.0  # px: narrower boxes are told of, since nothing can be seen in them


@dataclass
class RawBoxes(RawDataset):
    """Pictures with boxes as they were read, before the split; `labels` are of the first ones."""

    boxes: Tensor = field(default_factory=lambda: torch.empty(0, 0, 5))  # as of BoxedImages


def find_boxes(listing: Listing) -> BoxLayout | None:
    """Read the annotation files with boxes among these files; None where there are none."""
    for read in BOX_FORMATS.values():
        if layout := read(listing):
            return layout
    return None


def read_boxes(
    root: Path, layout: BoxLayout, size: int | None, *, skip_bad: bool, flags: ReadingFlags
) -> RawBoxes:
    """Decode the pictures of a layout at one shape, with their boxes.

    Raises DataError for what is wrong, all of it counted, unless `skip_bad` leaves it out.
    """
    notes = list(layout.notes)
    notes += [
        f"left out {kind} ({len(names)}): {first_names(names)}"
        for kind, names in layout.left_out.items()
        if names
    ]
    with notes_on_error(notes):
        refuse_other_units(layout)
        good, bad, counts = _headed(root, layout)
        if not good or (bad and not skip_bad):
            _refuse(root, layout, bad, len(layout.entries))
        letterbox = choose_letterbox([header[:2] for _, header, _ in good], size)
        decoded = read_pictures(
            [root / entry.name for entry, _, _ in good], [h[:2] for _, h, _ in good], letterbox
        )
        bad |= {e.name: p for (e, _, _), p in zip(good, decoded, strict=True) if isinstance(p, str)}
        if len(bad) == len(layout.entries) or (bad and not skip_bad):
            _refuse(root, layout, bad, len(layout.entries))
        raw = _assemble(good, decoded, layout, letterbox, notes)
        raw.notes += validity_notes(counts, layout, _class_counts(raw))
    raw.bad = list(bad.items())
    if bad:
        raw.notes.append(f"left out what is wrong ({len(bad)}): {first_names(list(bad))}")
    how = "groups from the annotations"
    if raw.groups is None or flags.group_by:
        raw.groups, how = _groups_of(raw.files, flags)
    raw.layout = ", ".join(
        [
            f"{len(raw.files):,} pictures",
            f"{int((raw.boxes[..., 0] != NO_BOX).sum()):,} boxes of {len(raw.classes)} classes",
            f"{layout.format} in {layout.where}",
            *filter(None, [layout.split_by, how]),
        ]
    )
    raw.notes.insert(0, raw.layout)
    return raw


def _headed(
    root: Path, layout: BoxLayout
) -> tuple[list[tuple[BoxEntry, Header, list[Box]]], dict[str, str], BoxChanges]:
    """Read the heads of the pictures and put their boxes into pixels.

    Returns the pictures that are right, name → reason of all others, and what was changed. Raises
    DataError for boxes that are corners where sides belong.
    """
    entries = [entry for entry in layout.entries if entry.name not in layout.bad]
    headers = read_headers([root / entry.name for entry in entries])
    sizes = {
        entry.name: header[:2]
        for entry, header in zip(entries, headers, strict=True)
        if not isinstance(header, str)
    }
    refuse_corners(layout, sizes)
    bad, counts = dict(layout.bad), BoxChanges()
    good: list[tuple[BoxEntry, Header, list[Box]]] = []
    for entry, header in zip(entries, headers, strict=True):
        try:
            if isinstance(header, str):
                raise ValueError(header)
            boxes = boxes_in_pixels(entry, header[:2], layout.in_shares, counts)
            good.append((entry, header, boxes))
        except ValueError as error:
            bad[entry.name] = str(error)
    return good, bad, counts


def _refuse(root: Path, layout: BoxLayout, bad: dict[str, str], n: int) -> None:
    """Raise DataError for pictures or boxes that are wrong."""
    if not bad:
        raise DataError(f"{root}: {layout.format} in {layout.where} names no pictures")
    listed = "; ".join(f"{name} {reason}" for name, reason in [*bad.items()][:MAX_NAMES])
    more = f"; and {len(bad) - MAX_NAMES} more" if len(bad) > MAX_NAMES else ""
    raise DataError(
        f"{len(bad)} of {max(n, len(bad))} pictures or annotations in {root} are wrong: "
        f"{listed}{more}: mend them or pass --skip-bad"
    )


def _assemble(
    good: list[tuple[BoxEntry, Header, list[Box]]],
    decoded: list[Pixels | str],
    layout: BoxLayout,
    letterbox: Letterbox,
    notes: list[str],
) -> RawBoxes:
    """Stack what could be decoded, boxes scaled; DataError where no box is left."""
    both = [
        (*each, pixels)
        for each, pixels in zip(good, decoded, strict=True)
        if not isinstance(pixels, str)
    ]
    used = {box.label for _, _, boxes, _ in both for box in boxes}
    classes = [name for name in layout.classes if name in used]
    if not classes:
        raise DataError(f"{layout.format} in {layout.where}: no box is left to learn from")
    index = {name: k for k, name in enumerate(classes)}
    most = max(len(boxes) for _, _, boxes, _ in both)
    boxes = torch.full((len(both), most, 5), NO_BOX)
    for row, (_, header, own, _) in zip(boxes, both, strict=True):
        width, height = letterbox.fitted(header[:2])
        x, y = width / header.width, height / header.height
        for k, box in enumerate(own):
            corners = box.xmin * x, box.ymin * y, box.xmax * x, box.ymax * y
            row[k] = torch.tensor([index[box.label], *corners])
    images = stack_letterboxed([pixels for *_, pixels in both], letterbox, notes)
    headers = [header for _, header, _, _ in both]
    notes += size_notes(headers, letterbox, images.shape[1])
    narrow = (boxes[..., 3:] - boxes[..., 1:3]).amin(-1)[boxes[..., 0] != NO_BOX] < MIN_SIDE_SEEN
    if n := int(narrow.sum()):
        notes.append(f"{n} boxes are narrower than {MIN_SIDE_SEEN:.0f} px at this size (--size)")
    if n := sum(entry.split == "synthetic" for entry, _, _, _ in both):
        notes.append(f"{n} synthetic pictures are learnt from and never held out")
    names = [entry.name for entry, _, _, _ in both]
    splits = [entry.split for entry, _, _, _ in both]
    first = boxes[:, 0, 0].long().tolist()  # -1 where there is none
    groups = [entry.group for entry, _, _, _ in both]
    given = groups if any(groups) else None
    return RawBoxes(images, first, classes, splits, names, given, notes=notes, boxes=boxes)


def _class_counts(raw: RawBoxes) -> Counter[str]:
    """Count the boxes of each class."""
    classes = raw.boxes[..., 0]
    return Counter(raw.classes[int(k)] for k in classes[classes != NO_BOX].tolist())


def _groups_of(files: list[str], flags: ReadingFlags) -> tuple[list[str] | None, str]:
    """Tell whose picture each is, as of folders of classes; and by what, in words."""
    one = [""] * len(files)  # pictures hold several classes, or none
    if flags.group_by == "none":
        return None, ""
    if flags.group_by == "name":
        return groups_by_name(files, one)
    if flags.group_by == "folder":
        return [file.rpartition("/")[0] for file in files], "groups from folders"
    found = clear_groups(files, one)
    return found or None, f"groups from names like {files[0]}" if found else ""
