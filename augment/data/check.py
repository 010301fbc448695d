"""`augment check`: what is in a data set, and what would be wrong with a run on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from augment.data.datasets import load_dataset
from augment.data.images import LabelledImages, pixel_hashes
from augment.data.split import Dataset
from augment.errors import DataError

SHOWN = 10  # of each kind of finding
FEW = 10  # images a class


def inspect(name: str, *, size: int | None = None, data_dir: Path | None = None) -> dict[str, Any]:
    """Counts and findings; `problems` must be mended before a run, `warnings` should be known."""
    problems: list[str] = []
    try:
        data = load_dataset(name, size=size, data_dir=data_dir)
    except DataError as error:
        problems.append(str(error))
        try:
            data = load_dataset(
                name, size=size, data_dir=data_dir, skip_bad=True, drop_small_classes=True
            )
        except DataError as second:
            return {"dataset": name, "problems": [*dict.fromkeys([*problems, str(second)])]}
    warnings = list(data.notes)
    if twins := repeats(data.pool):
        warnings.append(f"{twins} images of the pool repeat another one of it, pixel by pixel")
    counts = dict(zip(data.pool.classes, data.pool.counts().tolist(), strict=True))
    few = [f"{c} ({n})" for c, n in counts.items() if n < FEW]
    if few:
        warnings.append(f"fewer than {FEW} images to learn from: {', '.join(few[:SHOWN])}")
    if data.skewed:
        warnings.append("classes are imbalanced: tables lead with balanced accuracy")
    return {
        "dataset": name,
        "images": f"{'×'.join(map(str, data.pool.shape))} (channels, height, width)",
        "pool": len(data.pool),
        "test": f"{len(data.test)} ({origin(data)})",
        "one_test_image": f"{100 / len(data.test):.2g} points of accuracy",
        "classes": len(counts),
        "pool_by_class": counts,
        "classic_transforms": data.classic,
        "unreadable": [f"{file}: {why}" for file, why in data.bad],
        "warnings": warnings,
        "problems": problems,
        "sha": data.sha,
    }


def origin(data: Dataset) -> str:
    """Where the test set comes from."""
    return "given" if data.official_test else "held out, stratified, fixed by the data's hash"


def repeats(pool: LabelledImages) -> int:
    """How many images repeat an earlier one."""
    return len(pool) - len(set(pixel_hashes(pool.images)))
