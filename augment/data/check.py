"""`augment check NAME`: what a data set holds, and what would be wrong with a run on it.

No file of the set is changed; a large one is decoded into the cache. A data set that cannot be used
as it is gets read a second time without its bad files and small classes, so that all faults are
listed at once.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from augment.data.boxed_images import AnyImages
from augment.data.boxes.summary import box_findings, box_summary
from augment.data.datasets import DATASETS, load_dataset
from augment.data.folder import MISSING, NO_FLAGS, UNREADABLE
from augment.data.images import pixel_hashes
from augment.data.layouts.direction_names import guess_notes
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.pictures.framing import Framing
from augment.data.split import Dataset
from augment.errors import DataError

FEW_IMAGES = 10  # images a class; a pool class with fewer gets a warning
MAX_CLASSES_LISTED = 10  # in that warning


def inspect(
    name: str,
    *,
    size: Framing | int | None = None,
    data_dir: Path | None = None,
    skip_bad: bool = False,
    drop_small_classes: bool = False,
    reading: ReadingFlags = NO_FLAGS,
) -> dict[str, Any]:
    """List counts and findings; `problems` must be mended before a run, `warnings` be known."""
    problems: list[str] = []
    where: dict[str, Any] = dict(size=size, data_dir=data_dir)
    try:
        data = load_dataset(
            name, **where, skip_bad=skip_bad, drop_small_classes=drop_small_classes, reading=reading
        )
    except DataError as error:
        problems.append(str(error))
        try:
            if _is_own(name):
                reading = dataclasses.replace(reading, skip_unlabelled=True)
            data = load_dataset(
                name, **where, skip_bad=True, drop_small_classes=True, reading=reading
            )
        except DataError as second:
            # the first problem may be the only one: said once, not twice
            notes = [*getattr(error, "__notes__", []), *getattr(second, "__notes__", [])]
            return {
                "dataset": name,
                "warnings": [*dict.fromkeys(notes)],
                "problems": [*dict.fromkeys([*problems, str(second)])],
            }
    counts = _counts(data)
    return {
        "dataset": name,
        **({"layout": data.layout} if data.layout else {}),
        "images": f"{'×'.join(map(str, data.pool.shape))} (channels, height, width)",
        "pool": len(data.pool),
        "test": f"{len(data.test)} ({_test_set_origin(data)})",
        **_of_task(data),
        "classes": len(counts),
        f"pool_{'boxes_' if data.task == 'detect' else ''}by_class": counts,
        "classic_transforms": data.classic,
        "unreadable": [f"{file}: {reason}" for file, reason in data.bad],
        # what only the second reading left out is told by its problem
        "warnings": [
            note
            for note in findings(data)
            if note != data.layout and not (problems and note.startswith((UNREADABLE, MISSING)))
        ],
        "problems": problems,
        "sha": data.sha,
    }


def findings(data: Dataset[Any], *, classic_given: bool = False) -> list[str]:
    """List what is to be known before a run: how the set was read, and what is odd about it.

    Unless classic transforms were given, also that those which mirror own pictures are a guess.
    """
    found = list(data.notes)
    if n_repeats := _count_repeats(data.pool):
        repeat = "image of the pool repeats" if n_repeats == 1 else "images of the pool repeat"
        found.append(f"{n_repeats} {repeat} another one of it, pixel by pixel")
    if data.task == "detect":
        return found + box_findings(data)
    few = [f"{label} ({n})" for label, n in _counts(data).items() if n < FEW_IMAGES]
    if few:
        listed = ", ".join(few[:MAX_CLASSES_LISTED])
        found.append(f"fewer than {FEW_IMAGES} images to learn from: {listed}")
    if data.skewed:
        found.append("classes are imbalanced: tables lead with balanced accuracy")
    if data.name not in DATASETS and not classic_given:
        found += guess_notes(data.pool.classes, data.classic)
    return found


def _of_task(data: Dataset[Any]) -> dict[str, Any]:
    """Say what a test image of one class each weighs, or count the boxes."""
    if data.task == "detect":
        return {"task": data.task, **box_summary(data)}
    return {"one_test_image": f"{100 / len(data.test):.2g} points of accuracy"}


def _counts(data: Dataset[Any]) -> dict[str, int]:
    """Count the images, or the boxes, of each class in the pool."""
    return dict(zip(data.pool.classes, data.pool.counts().tolist(), strict=True))


def _is_own(name: str) -> bool:
    """Tell whether a data set is a folder, whose tables may have rows without a label."""
    return Path(name).expanduser().is_dir()


def _test_set_origin(data: Dataset[Any]) -> str:
    """Say where the test set comes from."""
    return "given" if data.official_test else "held out, stratified, fixed by the data's hash"


def _count_repeats(pool: AnyImages) -> int:
    """Count the images whose pixels equal those of an earlier one."""
    return len(pool) - len(set(pixel_hashes(pool.images)))
