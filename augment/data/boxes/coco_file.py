"""Which JSON files are COCO's: parsed if they hold boxes, refused by name if they are damaged."""

from __future__ import annotations

import json
import re
from typing import Any

from augment.data.boxes.layout import read_bytes
from augment.data.layouts.listing import Listing
from augment.errors import DataError

_PARTS = ("images", "annotations", "categories")
_MARKS = (b'"images"', b'"annotations"', b'"categories"')
_BOXES = (b'"bbox"', b'"segmentation"')
# instances_val2017.json, _annotations.coco.json
_NAMED = re.compile(r"instances[^/]*|([^/]*[._-])?coco", re.IGNORECASE)
_HEAD = re.compile(rb'"(images|categories)"\s*:\s*\[')
_HEAD_BYTES = 65_536  # by which a file that is no JSON is told
_OTHERWISE = "mend it, or pass --task classify if the set is one of classes"


def coco_file(listing: Listing, name: str) -> dict[str, Any] | None:
    """Parse a JSON file if it has COCO's parts; boxes may be missing. None if it is another's.

    Raises DataError for a file that is damaged, and for the like that has boxes of another form.
    """
    file, content = listing.root / name, read_bytes(listing.root / name)
    if content.lstrip().startswith(b"[") and b'"rectanglelabels"' in content:
        if b'"choices"' in content:  # classes, too
            return None
        raise DataError(
            f"{file} holds boxes in Label Studio's own JSON, which is not read: export COCO or YOLO"
        )
    named = bool(_NAMED.fullmatch(name.rpartition("/")[2][: -len(".json")]))
    like = named or all(mark in content for mark in _MARKS)
    if not like and not _HEAD.search(content[:_HEAD_BYTES]):
        return None
    try:
        found = json.loads(content)
    except UnicodeDecodeError:
        raise DataError(f"{file} is no JSON in UTF-8: {_OTHERWISE}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is no JSON: {error}: {_OTHERWISE}") from None
    missing = [part for part in _PARTS if not isinstance(found, dict) or part not in found]
    if missing and named and (not found or (isinstance(found, dict) and len(missing) < 3)):
        raise DataError(
            f"{file} is not of COCO's form, an object with {', '.join(_PARTS)}: it lacks "
            f"{', '.join(missing)}: {_OTHERWISE}"
        )
    if missing:
        return None
    for part in _PARTS:
        if not isinstance(found[part], list) or not all(isinstance(e, dict) for e in found[part]):
            raise DataError(f"{file}: '{part}' is no list of records, as COCO has it")
    return found if not found["annotations"] or _has_boxes(content) else None


def _has_boxes(content: bytes) -> bool:
    """Tell whether annotations have boxes or polygons: else they are of whole pictures."""
    return any(mark in content for mark in _BOXES)


def refuse_without_boxes(listing: Listing, files: dict[str, dict[str, Any]]) -> None:
    """Raise DataError if no file has an annotation."""
    if any(found["annotations"] for found in files.values()):
        return
    file = listing.root / next(iter(files))
    raise DataError(f"{file} has no boxes: its 'annotations' list is empty: {_OTHERWISE}")
