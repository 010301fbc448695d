"""What `--weights` means: a safetensors file, a run, or torchvision's own for resnet18."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from augment.errors import MachineError, UsageError
from augment.storage.artifacts import Store
from augment.storage.tables import read_csv

HUB = "torchvision"


STARTED = "real+classic"  # the arm of a run whose classifier is taken


def weights_file(source: str) -> Path:
    """The file of a `--weights`; torchvision's is fetched into torch's own cache if need be."""
    if source == HUB:
        _, file = hub_place()
        if not file.exists():
            hub_weights()
        return file
    return run_weights(Path(source)) if Path(source).is_dir() else Path(source)


def read_weights(source: str) -> dict[str, Tensor]:
    """Its tensors; UsageError for a file that is no safetensors: a pickle runs what it holds."""
    if source == HUB:
        return hub_weights()
    file = weights_file(source)
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"--weights {file} cannot be read as safetensors ({error}): give such a file, a run "
            f"folder, or {HUB}; pickles are never loaded"
        ) from None


def run_weights(folder: Path) -> Path:
    """Those of a run's classifier of labelled images with classic transforms, first trial."""
    table = folder / "results.csv"
    if not table.is_file():
        raise UsageError(f"--weights {folder} is no run folder: it has no results.csv")
    cells = read_csv(table, ("arm", "status", "signature"))
    done = cells[(cells["arm"] == STARTED) & (cells["status"] == "ok")]
    if done.empty:
        raise UsageError(
            f"--weights {folder} has no finished cell of {STARTED}: run it with that arm"
        )
    return Store(folder).path("score", done["signature"].iloc[0]) / "weights.safetensors"


def hub_place() -> tuple[str, Path]:
    """Where torchvision's weights of ImageNet come from, and where torch keeps them."""
    from torchvision.models import ResNet18_Weights

    url = ResNet18_Weights.DEFAULT.url
    return url, Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name


def hub_weights() -> dict[str, Tensor]:
    """torchvision's weights; MachineError says where to put them if they cannot be fetched."""
    url, file = hub_place()
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise MachineError(
            f"--weights {HUB} could not be had ({why}): fetch {url} elsewhere and put it at {file}"
        ) from None
