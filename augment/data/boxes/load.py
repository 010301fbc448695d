"""Whether a folder is learnt with its boxes, and the data set that it then is."""

from __future__ import annotations

from pathlib import Path

from augment.data.boxed_images import BoxedImages
from augment.data.boxes.layout import BoxLayout
from augment.data.boxes.reading import find_boxes, read_boxes
from augment.data.boxes.split import split_boxes
from augment.data.listing import list_files
from augment.data.raw import notes_on_error
from augment.data.reading_flags import ReadingFlags
from augment.data.split import TEST_SHARE, Dataset
from augment.errors import DataError, UsageError

MIN_ANNOTATED = 0.9  # share of the pictures with boxes from which a set is one of boxes
MIN_AGREEING = 0.9  # share of these whose folder names the class of a box


def boxes_to_learn(root: Path, flags: ReadingFlags) -> BoxLayout | None:
    """Return the boxes of a folder if these are what it is to be learnt by, else None.

    That is as --task says; without it, where nearly all pictures have boxes and neither a table
    nor the folders tell a class. Raises UsageError for --task detect where there are no boxes.
    """
    of_classes = [flags.labels, flags.class_level, *flags.columns().values()]
    if flags.task == "classify" or (any(of_classes) and not flags.task):
        return None
    if any(of_classes):
        raise UsageError("--task detect reads annotation files: flags on tables are for classes")
    layout = _readable(root)
    if flags.task == "detect":
        if layout is None:
            raise DataError(
                f"{root} holds no boxes that are read: COCO's JSON, Pascal VOC's XML or YOLO's "
                "text files with data.yaml or classes.txt"
            )
        return layout
    return layout if layout and _is_of_boxes(root, layout) else None


def _readable(root: Path) -> BoxLayout | None:
    """Read the annotation files; DataError for what the system does not let be read."""
    try:
        return find_boxes(root)
    except OSError as error:
        raise DataError(
            f"{error.filename or root} cannot be read: {error.strerror or error}"
        ) from None


def _is_of_boxes(root: Path, layout: BoxLayout) -> bool:
    """Tell whether boxes are what a folder is about, and not its folders or a metadata.csv."""
    listing = list_files(root)
    tables = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
    if any(name.rpartition("/")[2] in tables for name in listing.others):
        return False
    if layout.n_annotated < MIN_ANNOTATED * len(listing.images):
        return False
    with_boxes = [entry for entry in layout.entries if entry.boxes]
    agreeing = sum(
        any(box.label.lower() in map(str.lower, entry.name.split("/")[:-1]) for box in entry.boxes)
        for entry in with_boxes
    )
    return not with_boxes or agreeing < MIN_AGREEING * len(with_boxes)


def load_boxes(
    root: Path,
    layout: BoxLayout,
    size: int | None,
    *,
    skip_bad: bool,
    drop_small_classes: bool,
    flags: ReadingFlags,
) -> Dataset[BoxedImages]:
    """Load a folder of pictures with boxes, split; DataError for what cannot be used."""
    raw = read_boxes(root, layout, size, skip_bad=skip_bad, flags=flags)
    # as of images of one class each: colour may be mirrored, grey may not
    classic = "natural" if raw.images.shape[1] == 3 else "document"
    with notes_on_error(raw.notes):
        return split_boxes(str(root), raw, classic, TEST_SHARE, drop_small=drop_small_classes)
