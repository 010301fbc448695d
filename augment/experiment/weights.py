"""Pretrained weights of `--weights`: a safetensors file, a run, or torchvision's resnet18."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.classifiers import CLASSIFIERS
from augment.classifiers.pretrained import (
    TORCHVISION,
    read_safetensors,
    torchvision_source,
    torchvision_weights,
)
from augment.data.images import LabelledImages
from augment.errors import UsageError
from augment.experiment.cells import Cell
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


def check_weights(cell: Cell, data: LabelledImages) -> None:
    """Load a cell's weights into its classifier for such images; UsageError if they do not fit."""
    source = str(cell.weights)
    learner = CLASSIFIERS[cell.classifier](**cell.classifier_settings)
    learner.prepare(data, seed=0, device=torch.device("cpu"))
    weights = read_weights(source)
    try:
        learner.load_backbone(weights, source=source, frozen=False)
    except UsageError:
        _refuse_other_training(source, cell.classifier, data)
        raise


def _refuse_other_training(source: str, classifier: str, data: LabelledImages) -> None:
    """Raise UsageError where the record beside the weights of a run tells why they do not fit."""
    record = _training_record(source)
    name, shape = record.get("name"), record.get("data", {}).get("shape")
    if name and name != classifier:
        raise UsageError(
            f"--weights {source} are those of {name}, and this run trains {classifier}: "
            f"--classifier {name}"
        )
    if not shape or shape[0] != data.shape[0] or shape[1:] == list(data.shape[1:]):
        return
    (height, width), (own_height, own_width) = shape[1:], data.shape[1:]
    raise UsageError(
        f"--weights {source} were learnt on images of {width}×{height} px (width×height), and "
        f"these are {own_width}×{own_height}: --size {max(width, height)}"
    )


def _training_record(source: str) -> dict[str, Any]:
    """Read what a run noted beside its weights: name and images; empty where there is nothing."""
    file = weights_file(source).parent / "model.json"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # weights of elsewhere
        return {}
    return record if isinstance(record, dict) else {}


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
