"""Pretrained weights of `--weights`: a safetensors file, a run, or torchvision's resnet18."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from augment.classifiers.pretrained import (
    TORCHVISION,
    read_safetensors,
    torchvision_source,
    torchvision_weights,
)
from augment.errors import UsageError
from augment.experiment.records import classifier_path
from augment.storage.artifacts import Store
from augment.storage.tables import read_csv

SOURCE_ARM = "real+classic"  # whose classifier of a run is used


def weights_file(source: str) -> Path:
    """Find the file of `--weights`; download torchvision's into the cache of torch if missing."""
    if source == TORCHVISION:
        _, file = torchvision_source()
        if not file.exists():
            torchvision_weights()
        return file
    return run_weights(Path(source)) if Path(source).is_dir() else Path(source)


def read_weights(source: str) -> dict[str, Tensor]:
    """Read the tensors of `--weights`; UsageError for a file that is no safetensors."""
    return (
        torchvision_weights() if source == TORCHVISION else read_safetensors(weights_file(source))
    )


def run_weights(folder: Path) -> Path:
    """Find the weights of a run's first finished real+classic classifier; UsageError if none."""
    table = folder / "results.csv"
    if not table.is_file():
        raise UsageError(f"--weights {folder} is no run folder: it has no results.csv")
    cells = read_csv(table, ("arm", "status", "signature"))
    done = cells[(cells["arm"] == SOURCE_ARM) & (cells["status"] == "ok")]
    if done.empty:
        raise UsageError(
            f"--weights {folder} has no finished cell of {SOURCE_ARM}: run it with that arm"
        )
    store = Store(folder)
    score = store.path("score", done["signature"].iloc[0])
    return classifier_path(store, score) / "weights.safetensors"
