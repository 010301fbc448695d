"""Weights that a classifier starts from: a safetensors file, or torchvision's of ImageNet."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from augment.errors import MachineError, UsageError

TORCHVISION = "torchvision"  # value of --weights


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a file; UsageError if it is no safetensors file.

    Pickles are refused, because loading one runs whatever code it holds.
    """
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"--weights {file} cannot be read as safetensors ({error}): give such a file, a run "
            f"folder, or {TORCHVISION}; pickles are never loaded"
        ) from None


def torchvision_source() -> tuple[str, Path]:
    """Return the address of torchvision's ImageNet weights and their file in torch's cache."""
    from torchvision.models import ResNet18_Weights

    url = ResNet18_Weights.DEFAULT.url
    return url, Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name


def torchvision_weights() -> dict[str, Tensor]:
    """Load torchvision's weights; MachineError says where to put them if the download fails."""
    url, file = torchvision_source()
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        # torch's messages have several lines
        why = str(error).partition("\n")[0] or type(error).__name__
        raise MachineError(
            f"--weights {TORCHVISION} could not be had ({why}): fetch {url} elsewhere and "
            f"put it at {file}"
        ) from None
