"""What a set of pictures with boxes holds, for `augment check` and the notes of a run."""

from __future__ import annotations

from typing import Any

from augment.data.boxed_images import NO_BOX, BoxedImages
from augment.data.boxes.stratify import class_presence
from augment.data.split import Dataset

SMALL, LARGE = 32**2, 96**2  # areas in pixels that COCO's sizes end and begin at
FEW_BOXES = 10  # a class; one with fewer gets a warning


def box_summary(data: Dataset[BoxedImages]) -> dict[str, Any]:
    """Count the boxes: by part, picture, and size at which they are learnt."""
    parts = {"pool": data.pool, "test": data.test}
    per_picture = (data.pool.labels[..., 0] != NO_BOX).sum(1)
    areas = _areas(data.pool)
    small, large = int((areas < SMALL).sum()), int((areas >= LARGE).sum())
    return {
        "boxes": ", ".join(f"{name} {int(part.counts().sum()):,}" for name, part in parts.items()),
        "boxes_a_picture": f"{per_picture.min()} to {per_picture.max()}, median "
        f"{per_picture.median()}",
        "boxes_by_size": f"{small:,} below 32×32 px, {len(areas) - small - large:,} medium, "
        f"{large:,} from 96×96 on",
        "without_boxes": ", ".join(f"{name} {_n_empty(part)}" for name, part in parts.items()),
        "pool_pictures_by_class": dict(
            zip(data.pool.classes, _presence(data.pool).sum(0).tolist(), strict=False)
        ),
    }


def box_findings(data: Dataset[BoxedImages]) -> list[str]:
    """List what is to be known of the boxes before a run."""
    few = [
        f"{name} ({n})"
        for name, n in zip(data.pool.classes, data.pool.counts().tolist(), strict=True)
        if n < FEW_BOXES
    ]
    return [f"fewer than {FEW_BOXES} boxes to learn from: {', '.join(few[:10])}"] if few else []


def _presence(part: BoxedImages) -> Any:
    """Tell which pictures show each class, and last which show none: [N, K + 1] bool."""
    return class_presence(part.labels, len(part.classes))


def _n_empty(part: BoxedImages) -> int:
    """Count the pictures without boxes."""
    return int(_presence(part)[:, -1].sum())


def _areas(part: BoxedImages) -> Any:
    """Return the areas of all boxes in pixels: [M]."""
    boxes = part.labels[part.labels[..., 0] != NO_BOX]  # [M, 5]
    return (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2])
