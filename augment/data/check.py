"""`augment check`: what is in a data set, and what would be wrong with a run on it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from augment.data.datasets import Dataset, load_dataset
from augment.data.images import LabelledImages, pixel_hashes
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
    twins, clashes = repeats(data.pool)
    warnings = list(data.notes) + clashes
    if twins:
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


def repeats(pool: LabelledImages) -> tuple[int, list[str]]:
    """How many images repeat an earlier one, and the pictures that carry two labels."""
    seen: dict[bytes, set[int]] = defaultdict(set)
    hashes = pixel_hashes(pool.images)
    for key, label in zip(hashes, pool.labels.tolist(), strict=True):
        seen[key].add(label)
    clashes = [labels for labels in seen.values() if len(labels) > 1]
    said = [
        "one picture is labelled " + " and ".join(pool.classes[i] for i in sorted(labels))
        for labels in clashes[:SHOWN]
    ]
    return len(hashes) - len(seen), said
