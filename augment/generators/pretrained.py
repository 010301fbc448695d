"""A diffusion model of the user's own, trained on other data: a folder in diffusers' layout.

`pretrained.folder` is checked before anything runs, hashed, and loaded from safetensors alone.
Arms that use it are marked: its images do not come from the labelled ones only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from augment.data.images import LabelledImages, to_uint8
from augment.errors import UsageError
from augment.generators.blocks import images_per_call, in_chunks
from augment.generators.pipelines import (
    TEXT_PIPELINES,
    fit_shape,
    label_names,
    load_pipeline,
    need_extra,
    pipeline_index,
    prompts,
    unchanged_sha,
)
from augment.training.learner import Metrics
from augment.training.precision import autocast

PIPELINES = ("DiTPipeline", *TEXT_PIPELINES)  # conditioned on a label number, or on a text
GUIDED_LABELS = 1000  # of the only models that diffusers' DiTPipeline can guide


@dataclass
class Pretrained:
    """A diffusers pipeline of your own, not trained further: `pretrained.folder` is its folder."""

    folder: str = ""
    sha: str = ""  # of all that lies there; if given, as when a run is resumed, it must still be so
    prompt: str = "a photo of a {label}"  # of pipelines that take a text
    labels: tuple[int, ...] = ()  # the pipeline's label of each class, in order; (): by name
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
        """Find what each class is called there; weights are loaded when the first image is sampled.

        UsageError or MachineError, in a sentence, for a folder that cannot be used.
        """
        self.shape, self.device, self.precision = data.shape, device, precision
        index = pipeline_index("pretrained", self.folder, PIPELINES)
        self.kind = index["_class_name"]
        if self.kind in TEXT_PIPELINES:
            flag = f"pretrained.folder '{self.folder}'"
            need_extra(flag, self.kind, "transformers", "transformers")
        self.sha = unchanged_sha("pretrained.folder", self.folder, self.sha)
        if self.kind in TEXT_PIPELINES:
            self.conditions = prompts("pretrained", self.prompt, data.classes)
        else:
            self.conditions = _label_numbers(self, index, data.classes)
        self.pipe: Any = None  # loaded by `sample`: preparing a run needs no weights

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Raise TypeError: nothing is learnt, and with `steps` at 0 the loop never comes here."""
        raise TypeError("a pretrained pipeline takes no steps")

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Sample at the pipeline's size, then resize: [N], [N] → [N, C, H, W] uint8 on the CPU."""
        if self.pipe is None:
            self.pipe = self.load().to(self.device)
        network = getattr(self.pipe, "unet", None) or self.pipe.transformer
        halvings = len(self.pipe.vae.config.block_out_channels) - 1
        side = network.config.sample_size * 2**halvings  # sample_size is the latent's
        rows = images_per_call((3, side, side), self.device)
        return in_chunks(self.sample_chunk, labels, seeds, rows)

    def load(self) -> Any:
        """Load the pipeline with a deterministic sampler; UsageError if it is damaged."""
        from diffusers import DPMSolverMultistepScheduler

        pipe = load_pipeline("pretrained", self.folder, self.kind)
        # DiTPipeline hands no generator to its scheduler: one that adds noise would not repeat
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
        return pipe

    def sample_chunk(self, labels: Tensor, seeds: Tensor) -> Tensor:
        """Run one batch through the pipeline: [B], [B] → [B, C, H, W] uint8."""
        argument = "prompt" if self.kind in TEXT_PIPELINES else "class_labels"
        with autocast(self.precision, self.device):
            output = self.pipe(
                **{argument: [self.conditions[k] for k in labels.tolist()]},
                # a generator per image: a sample depends on its own seed alone
                generator=[torch.Generator().manual_seed(seed) for seed in seeds.tolist()],
                num_inference_steps=self.calls,
                guidance_scale=self.guidance,
                output_type="pt",
            ).images  # [B, 1 or 3, side, side] in [0, 1]
        return fit_shape(self.shape, to_uint8(2 * output.float() - 1))


def _label_numbers(model: Pretrained, index: dict[str, Any], classes: tuple[str, ...]) -> list[int]:
    """Return the pipeline's label of each class: as given, else by its names, else in order.

    UsageError if they do not fit the pipeline or the classes.
    """
    flag, guidance = f"pretrained.folder '{model.folder}'", model.guidance
    config = json.loads(
        (Path(model.folder) / "transformer/config.json").read_text(encoding="utf-8")
    )
    known = config["num_embeds_ada_norm"]  # how many labels the pipeline has
    if known < len(classes):
        raise UsageError(f"{flag} knows {known} labels, fewer than the {len(classes)} classes here")
    if guidance > 1 and known != GUIDED_LABELS:
        raise UsageError(
            f"pretrained.guidance = {guidance:g}: diffusers guides DiT models of {GUIDED_LABELS} "
            f"labels alone, and this one has {known}; give --guidance 1"
        )
    way_out = f"give --set 'pretrained.labels=[…]', {len(classes)} numbers from 0 to {known - 1}"
    numbers = list(model.labels)
    if not numbers:
        names = label_names(index)
        unknown = [name for name in classes if names and name not in names]
        if unknown:
            raise UsageError(f"{flag} has no label called '{unknown[0]}': {way_out}")
        numbers = [names.get(name, k) for k, name in enumerate(classes)]
    if len(numbers) != len(classes) or max(numbers) >= known:
        raise UsageError(f"pretrained.labels = {numbers} do not fit: {way_out}")
    return numbers
