"""What a run is made of, written before it starts: its recipe, its images, its notes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from augment.data.split import Dataset
from augment.experiment.cells import Cell
from augment.experiment.recipe import Recipe
from augment.storage.atomic import write_atomic
from augment.storage.tables import write_csv


def write_start(
    folder: Path, recipe: Recipe, cells: list[Cell], data_of: Callable[[Cell], Dataset]
) -> None:
    """Write `recipe.toml`, which can be given back as the recipe, `manifest.csv`, `notes.csv`."""
    settings = recipe.model_dump(mode="json", exclude_none=True)
    write_atomic(folder / "recipe.toml", tomli_w.dumps(settings))
    lines, notes = [], []
    for name, trials in _trials_by_dataset(cells).items():
        data = data_of(trials[0])
        notes += [(name, note) for note in data.notes]
        lines += _image_lines(name, data, trials)
        for file, reason in data.bad:
            lines.append({"dataset": name, "file": file, "split": f"left out: {reason}"})
    write_csv(folder / "manifest.csv", pd.DataFrame(lines))
    write_csv(folder / "notes.csv", pd.DataFrame(notes, columns=["dataset", "note"]))


def _image_lines(name: str, data: Dataset, trials: list[Cell]) -> list[dict[str, Any]]:
    """List the labelled images of all trials, each with its trials, and the test images."""
    seeds_of: dict[int, set[str]] = {}
    for cell in trials:
        for index in cell.labelled_indices(data).tolist():
            seeds_of.setdefault(index, set()).add(str(cell.seed))
    lines = []
    for images, files, groups, split, indices in (
        (data.pool, data.pool_files, data.pool_groups, "labelled", sorted(seeds_of)),
        (data.test, data.test_files, data.test_groups, "test", range(len(data.test))),
    ):
        for index in indices:
            pixels = images.images[index].contiguous().numpy().data
            seeds = sorted(seeds_of[index], key=int) if split == "labelled" else []
            lines.append(
                {
                    "dataset": name,
                    "file": files[index],
                    "sha256": hashlib.sha256(pixels).hexdigest(),
                    "group": groups[index] if groups else "",
                    "label": images.label_text(index),
                    "split": split,
                    "seeds": " ".join(seeds),
                }
            )
    return lines


def _trials_by_dataset(cells: list[Cell]) -> dict[str, list[Cell]]:
    """Group cells by data set, one for each (seed, amount)."""
    groups: dict[str, dict[tuple[Any, ...], Cell]] = {}
    for cell in cells:
        key = (cell.seed, cell.frac, cell.per_class)
        groups.setdefault(cell.dataset, {})[key] = cell
    return {name: list(group.values()) for name, group in groups.items()}
