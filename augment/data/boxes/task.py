"""Whether a folder is learnt with its boxes."""

from __future__ import annotations

from pathlib import Path

from augment.data.boxes.layout import BoxLayout
from augment.data.boxes.reading import find_boxes
from augment.data.layouts.listing import list_files
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.tables.table_search import METADATA
from augment.errors import DataError, UsageError

MIN_ANNOTATED = 0.9  # share of the pictures with boxes from which a set is one of boxes
MIN_AGREEING = 0.9  # share of these whose folder names the class of a box


def boxes_to_learn(root: Path, flags: ReadingFlags) -> tuple[BoxLayout | None, str]:
    """Return the boxes of a folder if these are what it is to be learnt by, else a note of them.

    That is as --task says; without it, where nearly all pictures have boxes and neither a table
    nor the folders tell a class. Raises UsageError for --task detect where there are no boxes.
    """
    of_classes = any([flags.labels, flags.class_level, *flags.columns().values()])
    if flags.task == "classify" or (of_classes and not flags.task):
        return None, ""
    if of_classes:
        raise UsageError("--task detect reads annotation files: flags on tables are for classes")
    layout, n_images, tables = _readable(root)
    if flags.task == "detect" and layout is None:
        raise DataError(
            f"{root} holds no boxes that are read: COCO's JSON, Pascal VOC's or CVAT's XML, or "
            "YOLO's text files with data.yaml or classes.txt"
        )
    if layout is None or flags.task == "detect":
        return layout, ""
    if tables or layout.n_annotated < MIN_ANNOTATED * n_images or _folders_agree(layout):
        return None, (
            f"{layout.n_annotated} pictures have boxes, {layout.format} in {layout.where}: "
            "--task detect learns these"
        )
    return layout, ""


def _readable(root: Path) -> tuple[BoxLayout | None, int, list[str]]:
    """Read the annotation files; return the number of pictures and the metadata tables, too."""
    try:
        listing = list_files(root)
        tables = [n for n in listing.others if METADATA.fullmatch(n.rpartition("/")[2])]
        return find_boxes(listing), len(listing.images), tables
    except OSError as error:
        raise DataError(
            f"{error.filename or root} cannot be read: {error.strerror or error}"
        ) from None


def _folders_agree(layout: BoxLayout) -> bool:
    """Tell whether the folders of nearly all pictures name the class of a box: they are classes."""
    with_boxes = [entry for entry in layout.entries if entry.boxes]
    agreeing = sum(
        any(box.label.lower() in entry.name.lower().split("/")[:-1] for box in entry.boxes)
        for entry in with_boxes
    )
    return bool(with_boxes) and agreeing >= MIN_AGREEING * len(with_boxes)
