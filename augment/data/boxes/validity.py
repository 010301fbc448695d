"""Boxes as annotated → boxes in pixels inside their picture; what is wrong counts or is refused."""

from __future__ import annotations

from collections import Counter

from augment.data.boxes.layout import Box, BoxEntry, BoxLayout
from augment.data.raw import first_names
from augment.errors import DataError

MIN_CUT = 1.0  # pixels beyond the border from which a cut is told: less is a matter of counting
FAR = 100.0  # no percentage is above it
FEW = 20  # boxes: fewer may lie in a corner by chance

BoxChanges = Counter[str]  # "cut", "empty", "doubled" → boxes


def boxes_in_pixels(
    entry: BoxEntry, size: tuple[int, int], in_shares: bool, counts: BoxChanges
) -> list[Box]:
    """Return the boxes of a picture of (W, H) pixels, cut at its border; changes are counted.

    Raises ValueError for boxes that cannot be of this picture.
    """
    width, height = size
    if entry.size and entry.size != size:
        said = "×".join(map(str, entry.size))
        turned = entry.size == (height, width)
        why = ", turned by its EXIF orientation" if turned else ""
        raise ValueError(f"is of {width}×{height} pixels{why}, and {said} in {entry.place}")
    found: dict[Box, None] = {}
    for box in entry.boxes:
        if in_shares:
            box = Box(
                box.label, box.xmin * width, box.ymin * height, box.xmax * width, box.ymax * height
            )
        corners = ", ".join(f"{corner:g}" for corner in box[1:])
        if box.xmin > box.xmax or box.ymin > box.ymax:
            raise ValueError(f"has a box with its corners swapped ({corners}; {entry.place})")
        if box.xmin == box.xmax or box.ymin == box.ymax:
            counts["empty"] += 1
            continue
        if box.xmin >= width or box.ymin >= height or box.xmax <= 0 or box.ymax <= 0:
            raise ValueError(
                f"has a box outside its {width}×{height} pixels ({corners}; {entry.place})"
            )
        cut = Box(
            box.label,
            max(box.xmin, 0.0),
            max(box.ymin, 0.0),
            min(box.xmax, float(width)),
            min(box.ymax, float(height)),
        )
        moved = max(abs(a - b) for a, b in zip(cut[1:], box[1:], strict=True))
        counts["cut"] += moved > MIN_CUT
        counts["doubled"] += cut in found
        found[cut] = None
    return list(found)


def refuse_other_units(layout: BoxLayout) -> None:
    """Raise DataError where coordinates that should be pixels are shares; note likely percents."""
    boxes = [box for entry in layout.entries for box in entry.boxes]
    if not boxes or layout.in_shares:
        return
    highest = max(max(box.xmax, box.ymax) for box in boxes)
    if highest <= 1:
        raise DataError(
            f"all boxes of {layout.where} end within one pixel: they are shares of the picture's "
            f"sides, and {layout.format} has pixels: export them in pixels, or in YOLO's layout"
        )
    small = min((min(entry.size) for entry in layout.entries if entry.size), default=0)
    if len(boxes) >= FEW and highest <= FAR and small > 2 * FAR:
        layout.notes.append(
            f"all boxes of {layout.where} end within {FAR:.0f} pixels: if these are percentages, "
            "export them in pixels"
        )


def refuse_corners(layout: BoxLayout, sizes: dict[str, tuple[int, int]]) -> None:
    """Raise DataError where COCO's boxes lie inside their pictures as corners alone.

    `sizes` holds the (W, H) of pictures by name.
    """
    if layout.format != "COCO":
        return
    n = beyond = 0
    for entry in layout.entries:
        width, height = sizes.get(entry.name, (0, 0))
        for box in entry.boxes if width else []:
            x, y = box.xmax - box.xmin, box.ymax - box.ymin  # the last two numbers of the bbox
            if not (box.xmin < x <= width and box.ymin < y <= height):
                return
            n += 1
            beyond += box.xmax > width + MIN_CUT or box.ymax > height + MIN_CUT
    if beyond > n / 2:
        raise DataError(
            f"{beyond} of {n} boxes of {layout.where} reach beyond the border, and none does if "
            "they are corners: COCO has [x, y, width, height]: export them so"
        )


def validity_notes(counts: BoxChanges, layout: BoxLayout, kept: Counter[str]) -> list[str]:
    """Say what was changed; `kept` counts the boxes of each class that are left."""
    notes = []
    if counts["cut"]:
        notes.append(f"{counts['cut']} boxes reach beyond the border and are cut there")
    if counts["empty"]:
        notes.append(f"{counts['empty']} boxes without width or height are left out")
    if counts["doubled"]:
        notes.append(f"{counts['doubled']} boxes stand twice and are taken once")
    if without := [name for name in layout.classes if not kept[name]]:
        notes.append(f"classes without boxes, left out: {first_names(without)} ({len(without)})")
    return notes
