"""The class of each image in its own JSON file, as four labelling tools write it.

Other annotation files of an image are not read (`image_annotations`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from augment.data.tables.annotation_files import SEVERAL
from augment.data.tables.image_annotations import MOST_ANNOTATED, files_of_images
from augment.data.tables.label_tables import LabelTable
from augment.data.tables.text_frames import rows_frame
from augment.errors import DataError

MIN_TAGGED = 0.5  # share of the images with a tag, from which the tags may be classes


def _labelme_flags(found: dict[str, Any]) -> list[str] | None:
    """List the true flags of a file of labelme, None for another file."""
    flags = found.get("flags")
    if not isinstance(flags, dict) or not isinstance(found.get("shapes"), list):
        return None
    return [str(name) for name, is_true in flags.items() if is_true is True]


def _darwin_tags(found: dict[str, Any]) -> list[str] | None:
    """List the tags of the whole image in a file of V7 Darwin, None for another file."""
    notes = found.get("annotations")
    if not isinstance(found.get("item"), dict) or not isinstance(notes, list):
        return None
    tags = [each for each in notes if isinstance(each, dict) and "tag" in each]
    return list(dict.fromkeys(str(each.get("name", "")) for each in tags))


def _superannotate_tags(found: dict[str, Any]) -> list[str] | None:
    """List the tags of a file of SuperAnnotate, None for another file."""
    tags = found.get("tags")
    if not isinstance(found.get("instances"), list) or not isinstance(tags, list):
        return None
    return list(dict.fromkeys(map(str, tags)))


def _dataloop_classes(found: dict[str, Any]) -> list[str] | None:
    """List the classes of the whole image in a file of Dataloop, None for another file."""
    notes = found.get("annotations")
    if not isinstance(found.get("filename"), str) or not isinstance(notes, list):
        return None
    marks = [each for each in notes if isinstance(each, dict) and each.get("type") == "class"]
    return list(dict.fromkeys(str(each.get("label", "")) for each in marks))


TOOLS = (
    ("flags", _labelme_flags),
    ("tags", _darwin_tags),
    ("tags", _superannotate_tags),
    ("classes", _dataloop_classes),
)


def tagged_images(root: Path, images: list[str], others: list[str]) -> LabelTable | None:
    """Read a table of images and the flag or tag of each; None where files do not have these.

    Raises DataError for an image that has several, and for a damaged file among them.
    """
    pairs = files_of_images(images, [name for name in others if name.lower().endswith(".json")])
    if len(pairs) < max(2, MOST_ANNOTATED * len(images)):
        return None
    if not _tags(_parsed(root / pairs[0][1]))[0]:
        return None
    rows, lines = [], []
    for number, (image, file) in enumerate(pairs, 1):
        if (found := _parsed(root / file)) is None:
            raise DataError(
                f"{root / file} cannot be read as JSON, where other images have their class: "
                "mend it, or remove it together with its image"
            )
        tool, tags = _tags(found)
        if len(tags) > 1:
            raise DataError(
                f"{root / file} has several {tool} ({', '.join(tags)}), and augment learns one "
                "class an image: leave one"
            )
        rows.append((image, SEVERAL.join(tags)))
        lines.append(number)
    if sum(bool(tag) for _, tag in rows) < MIN_TAGGED * len(rows):
        return None
    frame = rows_frame(rows, ["file_name", "label"])
    return LabelTable(root / "*.json", "", frame, lines)


def _parsed(file: Path) -> Any:
    """Parse a file, None where it cannot be read as JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None


def _tags(found: Any) -> tuple[str, list[str]]:
    """Return how a tool calls what it says of the whole image, and what it says; "" for none."""
    for name, tags_in in TOOLS if isinstance(found, dict) else ():
        if (tags := tags_in(found)) is not None:
            return name, tags
    return "", []
