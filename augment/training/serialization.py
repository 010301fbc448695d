"""What a learner leaves: its whole state to go on from, its weights to be used, as safetensors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.data.images import LabelledImages
from augment.errors import Diverged
from augment.training.learner import Learner


def kept_state(learner: Learner) -> dict[str, Tensor]:
    """The tensors that the finished learner needs, named `module.parameter`."""
    modules = learner.modules
    if "ema" in modules:
        modules = {name: modules[name] for name in ("ema", "memory") if name in modules}
    return {
        f"{name}.{key}": value.detach().contiguous().cpu()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }


def load_kept_state(learner: Learner, tensors: dict[str, Tensor]) -> None:
    """Put back what `kept_state` gave."""
    for name, module in learner.modules.items():
        own = {k.partition(".")[2]: v for k, v in tensors.items() if k.startswith(name + ".")}
        if own:
            module.load_state_dict(own)


def full_state(learner: Learner) -> dict[str, Tensor]:
    """Every tensor that training needs to go on: weights, averages and optimiser moments."""
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


def good_state(learner: Learner, step: int) -> dict[str, Tensor]:
    """A copy of `full_state`; raises Diverged if a number in it is not finite."""
    tensors = {key: value.clone() for key, value in full_state(learner).items()}
    for key, value in tensors.items():
        if not value.sum().isfinite():  # ten times as fast as to look at each
            raise Diverged(f"{key} was not finite at step {step}")
    return tensors


def load_full_state(learner: Learner, tensors: dict[str, Tensor]) -> None:
    """Put back what `full_state` gave."""
    for name, module in learner.modules.items():
        prefix = f"module.{name}."
        module.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
    for name, optimiser in learner.optimisers.items():
        own = [p for group in optimiser.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        prefix = f"optimiser.{name}."
        for full, value in tensors.items():
            if full.startswith(prefix):
                index, _, key = full.removeprefix(prefix).partition(".")
                # a copy: the optimiser steps in place, and `tensors` may be gone back to again
                copied = value.clone()
                if value.shape == own[int(index)].shape:
                    # fused optimisers walk moments and weights side by side: same strides, or wrong
                    copied = torch.empty_like(own[int(index)]).copy_(value)
                state.setdefault(int(index), {})[key] = copied
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def describe(data: LabelledImages) -> dict[str, Any]:
    """What `prepare` needs to know of the data, as plain values for a JSON file."""
    return {"n": len(data), "shape": list(data.shape), "classes": list(data.classes)}


def save_weights(learner: Learner, folder: Path, share: float = 1.0) -> None:
    """What the learner keeps, after so much of its training."""
    from safetensors.torch import save_file

    save_file(kept_state(learner), folder / weights_name(share))


def weights_name(share: float) -> str:
    """The file of the weights after so much of the training."""
    return "weights.safetensors" if share == 1 else f"weights-{share:g}.safetensors"


def save_learner(
    learner: Any, name: str, data: LabelledImages, folder: Path, precision: str = "fp32"
) -> None:
    """`weights.safetensors` and `model.json` in `folder`."""
    save_weights(learner, folder)
    settings = {f.name: getattr(learner, f.name) for f in dataclasses.fields(learner) if f.init}
    record = {"name": name, "settings": settings, "data": describe(data), "precision": precision}
    (folder / "model.json").write_text(json.dumps(record, indent=1))


def load_learner(
    registry: dict[str, Any], folder: Path, device: torch.device, **changed: Any
) -> Any:
    """The learner that `save_learner` wrote, with some settings changed (guidance, snapshot…).

    It runs in the precision that it was trained in, so that its pictures are those of its run.
    """
    from safetensors.torch import load_file

    record = json.loads((folder / "model.json").read_text())
    learner = registry[record["name"]](**{**record["settings"], **changed})
    about = record["data"]
    blank = LabelledImages.blank(about["n"], about["shape"], about["classes"])
    learner.prepare(blank, seed=0, device=device, precision=record["precision"])
    file = folder / weights_name(getattr(learner, "snapshot", 1.0))
    load_kept_state(learner, load_file(file, device=str(device)))
    return learner
