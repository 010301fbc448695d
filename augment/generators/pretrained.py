"""A diffusion model of the user's own, trained on other data: a folder in diffusers' layout."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from augment.data.images import LabelledImages, resize, to_uint8
from augment.errors import MachineError, UsageError
from augment.generators.blocks import in_chunks, rows_at_once
from augment.storage.artifacts import folder_sha
from augment.training.learner import Metrics
from augment.training.precision import autocast

# pipelines that are told by a label number or by a text
LABELS, TEXT = ("DiTPipeline",), ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
GUIDED = 1000  # labels of the only models that diffusers' DiTPipeline can guide


@dataclass
class Pretrained:
    """A diffusers pipeline of your own, not trained further: `pretrained.folder` is its folder."""

    folder: str = ""
    sha: str = ""  # of all that lies there; given, as when a run goes on, it must be that still
    prompt: str = "a photo of a {label}"  # of pipelines that take a text
    labels: tuple[int, ...] = ()  # the pipeline's label of each class, by place; (): by name
    calls: int = 20
    guidance: float = 4.0  # 1: none

    steps: int = field(default=0, init=False)
    batch: int = field(default=64, init=False)
    transformed: float = field(default=0.0, init=False)
    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    closed_set: ClassVar[bool] = False
    sampling: ClassVar[tuple[str, ...]] = ("prompt", "labels", "calls", "guidance")
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(calls=4),
        "quick": dict(calls=20),
        "full": dict(calls=50),
    }

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """What each class is called there; the weights are read when the first image is drawn."""
        self.shape, self.device, self.precision = data.shape, device, precision
        index, found = pipeline_index(self.folder), folder_sha(Path(self.folder))
        if self.sha not in ("", found):
            raise UsageError(
                f"pretrained.folder '{self.folder}' is not what it was: put its files back or "
                "name the new ones in a run of their own"
            )
        self.sha = found
        if index["_class_name"] in TEXT:
            if "{label}" not in self.prompt:
                raise UsageError(f"pretrained.prompt '{self.prompt}' has no {{label}} in it")
            self.wanted = [self.prompt.replace("{label}", name) for name in data.classes]
        else:
            self.wanted = label_numbers(Path(self.folder), self.labels, data.classes, self.guidance)
        self.pipe: Any = None

    def update(self, images: Tensor, labels: Tensor, *, step: int, rng: torch.Generator) -> Metrics:
        """Nothing is learnt: with `steps` at 0 the loop never comes here."""
        raise TypeError("a pretrained pipeline takes no steps")

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """[N], [N] → [N, C, H, W] uint8 on the CPU: drawn at the pipeline's size, then resized."""
        if self.pipe is None:
            self.pipe = load_pipeline(self.folder).to(self.device)
        network = getattr(self.pipe, "unet", None) or self.pipe.transformer
        halvings = len(self.pipe.vae.config.block_out_channels) - 1
        side = network.config.sample_size * 2**halvings
        return in_chunks(self.draw, labels, seeds, rows_at_once((3, side, side), self.device))

    def draw(self, labels: Tensor, seeds: Tensor) -> Tensor:
        """One batch through the pipeline."""
        argument = "prompt" if type(self.pipe).__name__ in TEXT else "class_labels"
        with autocast(self.precision, self.device):
            drawn = self.pipe(
                **{argument: [self.wanted[k] for k in labels.tolist()]},
                generator=[torch.Generator().manual_seed(seed) for seed in seeds.tolist()],
                num_inference_steps=self.calls,
                guidance_scale=self.guidance,
                output_type="pt",
            ).images
        return like(self.shape, to_uint8(2 * drawn.float() - 1))


def pipeline_index(folder: str) -> dict[str, Any]:
    """`model_index.json` of a pipeline that can be used; UsageError in a sentence if it cannot."""
    said, place = f"pretrained.folder '{folder}'", Path(folder)
    if not folder or not place.is_dir():
        raise UsageError(f"{said} is no folder: give --set pretrained.folder=PATH")
    try:
        index = json.loads((place / "model_index.json").read_text(encoding="utf-8"))
        kind = index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"{said} has no readable model_index.json: give a folder that diffusers' "
            "save_pretrained wrote"
        ) from None
    if kind not in LABELS + TEXT:
        raise UsageError(f"{said} holds a {kind}: use one of {', '.join(LABELS + TEXT)}")
    for part in sorted(name for name in index if (place / name).is_dir()):
        pickled = [f for f in (place / part).iterdir() if f.suffix in (".bin", ".pt", ".ckpt")]
        if pickled and not list((place / part).glob("*.safetensors")):
            raise UsageError(
                f"{said}: {part}/{pickled[0].name} is a pickle, which is never loaded: save the "
                "pipeline again with safe_serialization=True"
            )
    if kind in TEXT and not importlib.util.find_spec("transformers"):
        raise MachineError(
            f"{said} holds a {kind}, which needs the extra: "
            "pip install 'augment-compare[transformers]'"
        )
    return index


def label_numbers(
    folder: Path, asked: tuple[int, ...], classes: tuple[str, ...], guidance: float
) -> list[int]:
    """The pipeline's label of each class: as asked, else by its names, else by place."""
    said = f"pretrained.folder '{folder}'"
    config = json.loads((folder / "transformer/config.json").read_text(encoding="utf-8"))
    known = config["num_embeds_ada_norm"]
    if known < len(classes):
        raise UsageError(f"{said} knows {known} labels, fewer than the {len(classes)} classes here")
    if guidance > 1 and known != GUIDED:
        raise UsageError(
            f"pretrained.guidance = {guidance:g}: diffusers guides DiT models of {GUIDED} labels "
            f"alone, and this one has {known}; give --guidance 1"
        )
    way_out = f"give --set 'pretrained.labels=[…]', {len(classes)} numbers from 0 to {known - 1}"
    numbers = list(asked)
    if not asked:
        index = pipeline_index(str(folder))
        names = {
            name.strip(): int(number)
            for number, line in (index.get("id2label") or {}).items()
            for name in line.split(",")
        }
        strange = [name for name in classes if names and name not in names]
        if strange:
            raise UsageError(f"{said} has no label called '{strange[0]}': {way_out}")
        numbers = [names.get(name, place) for place, name in enumerate(classes)]
    if len(numbers) != len(classes) or max(numbers) >= known:
        raise UsageError(f"pretrained.labels = {numbers} do not fit: {way_out}")
    return numbers


def load_pipeline(folder: str) -> Any:
    """The pipeline, silent, with a sampler that draws no noise on the way."""
    import diffusers

    kind = getattr(diffusers, pipeline_index(folder)["_class_name"])
    diffusers.utils.logging.disable_progress_bar()  # they would run through ours
    if kind.__name__ in TEXT:
        from transformers.utils import logging  # pyright: ignore[reportMissingImports]

        logging.disable_progress_bar()
    try:
        pipe = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise UsageError(f"pretrained.folder '{folder}' cannot be loaded: {why}") from None
    pipe.set_progress_bar_config(disable=True)
    # DiTPipeline hands no generator to its scheduler: one that adds noise would not repeat
    pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    return pipe


def like(shape: tuple[int, int, int], images: Tensor) -> Tensor:
    """Images [N, 1 or 3, h, w] uint8 at another size and in grey or colour: [N, *shape]."""
    from torchvision.transforms.v2.functional import rgb_to_grayscale

    channels, height, width = shape
    images = resize(images, (height, width))
    if channels == 1 and images.shape[1] == 3:
        return rgb_to_grayscale(images)
    return images.expand(-1, channels, -1, -1).contiguous()
