"""Annotation files, one an image: 0001.xml, 0001.jpg.json or 0001.txt of 0001.jpg.

They are not read, and may hold the class or boxes. A set that has them is not learnt by its
folders without a word.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from augment.data.layouts.reading_flags import FOLDERS
from augment.data.tables.label_tables import LabelTable
from augment.data.tables.text_frames import rows_frame

ANNOTATIONS = (".xml", ".json", ".txt", ".cls")
MOST_ANNOTATED = (
    0.9  # share of the images that have a file, and of these files that agree with the folders
)
OPENED = 50  # files that are opened
OPENED_BYTES = 1_000_000  # of each
_PATHS = re.compile(r"<(folder|path|filename)>.*?</\1>", re.DOTALL)
_BOXES = re.compile(r"<bndbox>|\"(?:bbox|boundingbox|shapes|points|exterior)\"\s*:", re.IGNORECASE)
_YOLO = re.compile(r"(?:\s*\d+(?:\s+[\d.e\-]+){4,}\s*(?:\n|$))+")


def class_files(root: Path, images: list[str], others: list[str]) -> LabelTable | None:
    """Read NAME.cls beside each image, as WebDataset has them, as a table; None without these.

    Where a NAME.json lies there too, that may say more of the image.
    """
    stems = {os.path.splitext(name) for name in others}
    if len(stems) < len(images):
        return None
    pairs = [(image, os.path.splitext(image)[0]) for image in images]
    if not pairs or any((s, ".cls") not in stems or (s, ".json") in stems for _, s in pairs):
        return None
    rows = [(image, _text(root / f"{stem}.cls").strip()) for image, stem in pairs]
    frame = rows_frame(rows, ["file_name", "label"])
    return LabelTable(root / "*.cls", "", frame, list(range(1, len(rows) + 1)))


def annotated_images(
    root: Path, images: list[str], others: list[str], labels: dict[str, str]
) -> str:
    """Say that each image has an annotation file, unless these name the class of the folder too.

    `labels` holds the class of an image by path, as folders tell it. Returns "" where there are
    no such files.
    """
    pairs = files_of_images(images, others)
    if len({file for _, file in pairs}) < max(2, MOST_ANNOTATED * len(images)):
        return ""
    sample = pairs[:: max(1, len(pairs) // OPENED)]
    texts = [_text(root / file) for _, file in sample]
    agreeing = [
        image in labels and _names(text, labels[image])
        for (image, _), text in zip(sample, texts, strict=True)
    ]
    if sum(agreeing) >= MOST_ANNOTATED * len(sample):
        return ""
    boxes = any(_BOXES.search(text) or _YOLO.fullmatch(text) for text in texts)
    holding = (
        "boxes (--task detect learns those of COCO, Pascal VOC and YOLO)" if boxes else "its class"
    )
    ways = f", or pass --labels {FOLDERS} if the folders tell it" if labels else ""
    return (
        f"each image has a file like {pairs[0][1]}, which is not read and may hold {holding}: "
        "write the class of each image into a table with the columns file_name and label and name "
        f"it with --labels{ways}"
    )


def files_of_images(images: list[str], others: list[str]) -> list[tuple[str, str]]:
    """Pair images with the annotation file of each; [] where there are too few such files."""
    beside: dict[str, list[str]] = {}
    for other in others:
        stem, suffix = os.path.splitext(other.rpartition("/")[2])
        if suffix.lower() in ANNOTATIONS:
            beside.setdefault(stem.partition("___")[0], []).append(other)  # 1.jpg___objects.json
    if sum(map(len, beside.values())) < max(2, MOST_ANNOTATED * len(images)):
        return []
    return [(image, file) for image in images if (file := _annotation_of(image, beside))]


def _annotation_of(image: str, beside: dict[str, list[str]]) -> str:
    """Return the file of an image's name or stem, the one that lies nearest to it; or ""."""
    name = image.rpartition("/")[2]
    found = beside.get(name) or beside.get(os.path.splitext(name)[0]) or [""]
    return max(found, key=lambda file: len(os.path.commonpath([file, image])))


def _text(file: Path) -> str:
    """Read the beginning of a file, without the paths in it; whatever is no text is passed over."""
    with file.open("rb") as opened:
        return _PATHS.sub("", opened.read(OPENED_BYTES).decode("utf-8", errors="ignore"))


def _names(text: str, label: str) -> bool:
    """Tell whether a text has a class as a word or value, and not as a part of a path."""
    word = re.escape(label)
    return re.search(rf"(?<![\w/\\]){word}(?![\w/\\.])", text, re.IGNORECASE) is not None
