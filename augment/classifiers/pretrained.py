"""Weights that a classifier starts from: a safetensors file, or torchvision's of ImageNet."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from augment.errors import MachineError, UsageError

HUB = "torchvision"


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file; UsageError if it is no safetensors: a pickle runs what it holds."""
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"--weights {file} cannot be read as safetensors ({error}): give such a file, a run "
            f"folder, or {HUB}; pickles are never loaded"
        ) from None


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
