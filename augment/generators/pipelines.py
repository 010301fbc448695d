"""A diffusers pipeline in a local folder: checked before anything runs, loaded from safetensors."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.data.images import ImageShape, resize
from augment.errors import MachineError, UsageError
from augment.storage.artifacts import folder_sha

# pipelines conditioned on a text; they need transformers
TEXT_PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def read_config(
    setting: str, folder: str, file: str, known: tuple[str, ...], way_out: str
) -> dict[str, Any]:
    """Read the JSON file that diffusers' save_pretrained wrote into the folder of a setting.

    UsageError in a sentence if it is of none of the `known` classes; `way_out` says what to give.
    """
    flag, root = f"{setting} '{folder}'", Path(folder)
    if not folder or not root.is_dir():
        raise UsageError(f"{flag} is no folder: give --set {setting}=PATH, {way_out}")
    try:
        config = json.loads((root / file).read_text(encoding="utf-8"))
        kind = config["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{flag} has no readable {file}: give {way_out}") from None
    if kind not in known:
        raise UsageError(f"{flag} holds a {kind}: use one of {', '.join(known)}")
    return config


def pipeline_index(owner: str, folder: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Read `model_index.json` of the setting `folder` of generator `owner`.

    UsageError in a sentence if it is none of the `known` pipelines or holds pickles alone.
    """
    setting, root = f"{owner}.folder", Path(folder)
    way_out = "a folder that diffusers' save_pretrained wrote"
    index = read_config(setting, folder, "model_index.json", known, way_out)
    # refused here, before anything runs; `from_pretrained` would refuse it when sampling begins
    for part in sorted(name for name in index if (root / name).is_dir()):
        pickles = [f for f in sorted((root / part).iterdir()) if f.suffix in PICKLES]
        if pickles and not list((root / part).glob("*.safetensors")):
            raise UsageError(
                f"{setting} '{folder}': {part}/{pickles[0].name} is a pickle, which is never "
                "loaded: save the pipeline again with safe_serialization=True"
            )
    return index


def need_extra(flag: str, kind: str, extra: str, *packages: str) -> None:
    """Raise MachineError unless the packages of an extra are there."""
    if not all(map(importlib.util.find_spec, packages)):
        raise MachineError(
            f"{flag} holds a {kind}, which needs the extra: pip install 'augment-compare[{extra}]'"
        )


def unchanged_sha(setting: str, folder: str, sha: str) -> str:
    """Return the SHA-256 of all that lies in a folder; UsageError if it was another one before."""
    found = folder_sha(Path(folder))
    if sha not in ("", found):
        raise UsageError(
            f"{setting} '{folder}' is not what it was: put its files back or name the new "
            "ones in a run of their own"
        )
    return found


def prompts(owner: str, template: str, classes: tuple[str, ...]) -> list[str]:
    """Put the name of each class into a template; UsageError if it has no place for it."""
    if "{label}" not in template:
        raise UsageError(f"{owner}.prompt '{template}' has no {{label}} in it")
    return [template.replace("{label}", name) for name in classes]


def label_names(index: dict[str, Any]) -> dict[str, int]:
    """Return the pipeline's label by each of its names; a label may have several, with commas."""
    names = index.get("id2label") or {}
    return {name.strip(): int(k) for k, line in names.items() for name in line.split(",")}


def load_pipeline(owner: str, folder: str, kind: str, **parts: Any) -> Any:
    """Load a pipeline of a kind, silenced, some `parts` replaced; UsageError if it is damaged."""
    import diffusers

    diffusers.utils.logging.disable_progress_bar()  # they would run through ours
    if kind in TEXT_PIPELINES:
        from transformers.utils import logging  # pyright: ignore[reportMissingImports]

        logging.disable_progress_bar()
    try:
        pipe = getattr(diffusers, kind).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, **parts
        )
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise UsageError(f"{owner}.folder '{folder}' cannot be loaded: {why}") from None
    pipe.set_progress_bar_config(disable=True)
    return pipe


def fit_shape(shape: ImageShape, images: Tensor) -> Tensor:
    """Resize images [N, 1 or 3, h, w] uint8 and make them grey or colour: [N, *shape]."""
    from torchvision.transforms.v2.functional import rgb_to_grayscale

    channels, height, width = shape
    images = resize(images, (height, width))
    if channels == 1 and images.shape[1] == 3:
        # rounded here: of integers torchvision drops the fraction, and its weights sum to 0.9999
        return rgb_to_grayscale(images.float()).round().to(torch.uint8)
    return images.expand(-1, channels, -1, -1).contiguous()
