"""What `--weights` means: a safetensors file, a run, or torchvision's own for resnet18."""

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

SOURCE_ARM = "real+classic"  # the arm of a run whose classifier is taken


def weights_file(source: str) -> Path:
    """The file of a `--weights`; torchvision's is fetched into torch's own cache if need be."""
    if source == TORCHVISION:
        _, file = torchvision_source()
        if not file.exists():
            torchvision_weights()
        return file
    return run_weights(Path(source)) if Path(source).is_dir() else Path(source)


def read_weights(source: str) -> dict[str, Tensor]:
    """The tensors of a `--weights`; UsageError for a file that is no safetensors."""
    return (
        torchvision_weights() if source == TORCHVISION else read_safetensors(weights_file(source))
    )


def run_weights(folder: Path) -> Path:
    """Those of a run's classifier of labelled images with classic transforms, first trial."""
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
