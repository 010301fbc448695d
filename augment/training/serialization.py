"""State of a learner as safetensors: all of it to resume training, or the weights to use it.

The names of the tensors are on disk in run folders: `kept_state` and `full_state` say which.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.data.boxed_images import AnyImages
from augment.data.images import LabelledImages
from augment.errors import Diverged
from augment.training.learner import Learner


def kept_state(learner: Learner) -> dict[str, Tensor]:
    """Return the tensors that the finished learner needs, named `module.parameter`, on the CPU."""
    modules = learner.modules
    if "ema" in modules:  # it predicts or samples in place of the network
        modules = {name: modules[name] for name in ("ema", "memory") if name in modules}
    return {
        f"{name}.{key}": value.detach().contiguous().cpu()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }


def load_kept_state(learner: Learner, tensors: dict[str, Tensor]) -> None:
    """Load what `kept_state` returned."""
    for name, module in learner.modules.items():
        state = {k.partition(".")[2]: v for k, v in tensors.items() if k.startswith(name + ".")}
        if state:  # where there is an EMA, the network itself was not saved
            module.load_state_dict(state)


def full_state(learner: Learner) -> dict[str, Tensor]:
    """Return every tensor that training needs to resume: weights, EMA and optimiser moments."""
    tensors = {
        f"module.{name}.{key}": value
        for name, module in learner.modules.items()
        for key, value in module.state_dict().items()
    }
    for name, optimiser in learner.optimisers.items():
        for index, moments in optimiser.state_dict()["state"].items():
            for key, value in moments.items():
                if isinstance(value, Tensor):
                    tensors[f"optimiser.{name}.{index}.{key}"] = value
    return {key: value.detach().contiguous().cpu() for key, value in tensors.items()}


def finite_state(learner: Learner, step: int) -> dict[str, Tensor]:
    """Copy `full_state`; Diverged if a number in it is not finite."""
    # `.cpu()` copies nothing on a CPU, and training goes on in place
    tensors = {key: value.clone() for key, value in full_state(learner).items()}
    for key, value in tensors.items():
        if not value.sum().isfinite():  # ten times as fast as a check of each number
            raise Diverged(f"{key} was not finite at step {step}")
    return tensors


def load_full_state(learner: Learner, tensors: dict[str, Tensor]) -> None:
    """Load what `full_state` returned."""
    for name, module in learner.modules.items():
        prefix = f"module.{name}."
        module.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
    for name, optimiser in learner.optimisers.items():
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        prefix = f"optimiser.{name}."
        for name_on_disk, value in tensors.items():
            if name_on_disk.startswith(prefix):
                index, _, key = name_on_disk.removeprefix(prefix).partition(".")
                # a copy: the optimiser steps in place, and `tensors` may be loaded again
                copied = value.clone()
                if value.shape == parameters[int(index)].shape:
                    # fused optimisers read moments and weights in memory order: strides must agree
                    copied = torch.empty_like(parameters[int(index)]).copy_(value)
                state.setdefault(int(index), {})[key] = copied
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _describe(data: AnyImages) -> dict[str, Any]:
    """Return what `prepare` needs to know of the data, as plain values for a JSON file."""
    return {"n": len(data), "shape": list(data.shape), "classes": list(data.classes)}


def save_weights(learner: Learner, folder: Path, share: float = 1.0) -> None:
    """Save the weights of `kept_state` after a share of the training, 0…1."""
    from safetensors.torch import save_file

    save_file(kept_state(learner), folder / weights_name(share))


def weights_name(share: float) -> str:
    """Return the name of the weights' file after a share of the training, 0…1."""
    return "weights.safetensors" if share == 1 else f"weights-{share:g}.safetensors"


def save_learner(
    learner: Any, name: str, data: AnyImages, folder: Path, precision: str = "fp32"
) -> None:
    """Write `weights.safetensors` and `model.json` (name, settings, shapes) to `folder`."""
    save_weights(learner, folder)
    settings = {f.name: getattr(learner, f.name) for f in dataclasses.fields(learner) if f.init}
    record = {"name": name, "settings": settings, "data": _describe(data), "precision": precision}
    (folder / "model.json").write_text(json.dumps(record, indent=1))


def load_learner(
    registry: dict[str, Any], folder: Path, device: torch.device, **changed: Any
) -> Any:
    """Load the learner that `save_learner` wrote, with some settings changed (guidance, snapshot…).

    It computes in the precision of its training, so that its samples are those of its run.
    """
    from safetensors.torch import load_file

    record = json.loads((folder / "model.json").read_text())
    learner = registry[record["name"]](**{**record["settings"], **changed})
    data = record["data"]
    # networks depend on shapes and classes alone; weights and statistics are loaded below
    blank = LabelledImages.blank(data["n"], data["shape"], data["classes"])
    learner.prepare(blank, seed=0, device=device, precision=record["precision"])
    file = folder / weights_name(getattr(learner, "snapshot", 1.0))
    load_kept_state(learner, load_file(file, device=str(device)))
    return learner
