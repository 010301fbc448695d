"""Weights that a classifier starts from: a safetensors file, or torchvision's of ImageNet."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from augment.errors import MachineError, UsageError

TORCHVISION = "torchvision"  # value of --weights
_KINDS = {1: "grey", 3: "colour"}  # images by their channels


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


def backbone_tensors(
    backbone: nn.Module, found: dict[str, Tensor], source: str
) -> dict[str, Tensor]:
    """Return the tensors of a network without its last layer, out of a file with all of them.

    UsageError that names the file `source` and the way out if it is of another network.
    """
    # the files of runs name the EMA's tensors `ema.…`, torchvision's have no prefix
    found = {name.removeprefix("ema."): tensor for name, tensor in found.items()}
    own = backbone.state_dict()
    needed = {  # old files lack the counts of batches, which nothing here reads
        name: tuple(tensor.shape)
        for name, tensor in own.items()
        if name in found or not name.endswith("num_batches_tracked")
    }
    for name, shape in needed.items():
        given = tuple(found[name].shape) if name in found else ()
        if given != shape:
            raise UsageError(
                f"--weights {source}: '{name}' is {given or 'missing'} there and {shape} here; "
                f"{_weights_wanted(given, shape)}"
            )
    layers = {name.rpartition(".")[0] for name in found.keys() - own.keys()}
    if len(layers) > 1:  # one is the last layer, which is learnt anew
        raise UsageError(
            f"--weights {source}: {', '.join(sorted(layers))} are there and not here; "
            f"{_weights_wanted((), ())}"
        )
    return {name: found[name] for name in needed}


def _weights_wanted(given: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Say which weights would do: of the other kind of images where the first layer tells."""
    there, here = (_KINDS.get(sizes[1]) if len(sizes) == 4 else None for sizes in (given, shape))
    if there and here and there != here:
        return (
            f"they were learnt on {there} images and these are {here}: give weights learnt on "
            f"{here} ones"
        )
    return "give weights of the same classifier, width, image size and channels"
