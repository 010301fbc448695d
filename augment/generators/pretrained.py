"""A diffusion model of the user's own, trained on other data: a folder in diffusers' layout.

`pretrained.folder` is checked before anything runs, hashed, and loaded from safetensors alone.
Arms that use it are marked: its images do not come from the labelled ones only.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from augment.data.images import ImageShape, LabelledImages, resize, to_uint8
from augment.errors import MachineError, UsageError
from augment.generators.blocks import images_per_call, in_chunks
from augment.storage.artifacts import folder_sha
from augment.training.learner import Metrics
from augment.training.precision import autocast

# conditioning by a label number or by a text
LABEL_PIPELINES = ("DiTPipeline",)
TEXT_PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
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
        index, sha = _pipeline_index(self.folder), folder_sha(Path(self.folder))
        if self.sha not in ("", sha):
            raise UsageError(
                f"pretrained.folder '{self.folder}' is not what it was: put its files back or "
                "name the new ones in a run of their own"
            )
        self.sha = sha
        if index["_class_name"] in TEXT_PIPELINES:
            if "{label}" not in self.prompt:
                raise UsageError(f"pretrained.prompt '{self.prompt}' has no {{label}} in it")
            self.conditions = [self.prompt.replace("{label}", name) for name in data.classes]
        else:
            self.conditions = _label_numbers(
                Path(self.folder), self.labels, data.classes, self.guidance
            )
        self.pipe: Any = None  # loaded by `sample`: preparing a run needs no weights

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Raise TypeError: nothing is learnt, and with `steps` at 0 the loop never comes here."""
        raise TypeError("a pretrained pipeline takes no steps")

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Sample at the pipeline's size, then resize: [N], [N] → [N, C, H, W] uint8 on the CPU."""
        if self.pipe is None:
            self.pipe = _load_pipeline(self.folder).to(self.device)
        network = getattr(self.pipe, "unet", None) or self.pipe.transformer
        halvings = len(self.pipe.vae.config.block_out_channels) - 1
        side = network.config.sample_size * 2**halvings  # sample_size is the latent's
        rows = images_per_call((3, side, side), self.device)
        return in_chunks(self.sample_chunk, labels, seeds, rows)

    def sample_chunk(self, labels: Tensor, seeds: Tensor) -> Tensor:
        """Run one batch through the pipeline: [B], [B] → [B, C, H, W] uint8."""
        argument = "prompt" if type(self.pipe).__name__ in TEXT_PIPELINES else "class_labels"
        with autocast(self.precision, self.device):
            output = self.pipe(
                **{argument: [self.conditions[k] for k in labels.tolist()]},
                # a generator per image: a sample depends on its own seed alone
                generator=[torch.Generator().manual_seed(seed) for seed in seeds.tolist()],
                num_inference_steps=self.calls,
                guidance_scale=self.guidance,
                output_type="pt",
            ).images  # [B, 1 or 3, side, side] in [0, 1]
        return _fit_shape(self.shape, to_uint8(2 * output.float() - 1))


def _pipeline_index(folder: str) -> dict[str, Any]:
    """Read `model_index.json` of a pipeline; UsageError in a sentence if it cannot be used."""
    flag, root = f"pretrained.folder '{folder}'", Path(folder)
    if not folder or not root.is_dir():
        raise UsageError(f"{flag} is no folder: give --set pretrained.folder=PATH")
    try:
        index = json.loads((root / "model_index.json").read_text(encoding="utf-8"))
        kind = index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"{flag} has no readable model_index.json: give a folder that diffusers' "
            "save_pretrained wrote"
        ) from None
    known = LABEL_PIPELINES + TEXT_PIPELINES
    if kind not in known:
        raise UsageError(f"{flag} holds a {kind}: use one of {', '.join(known)}")
    # refused here, before anything runs; `from_pretrained` would refuse it when sampling begins
    for part in sorted(name for name in index if (root / name).is_dir()):
        pickles = [f for f in (root / part).iterdir() if f.suffix in (".bin", ".pt", ".ckpt")]
        if pickles and not list((root / part).glob("*.safetensors")):
            raise UsageError(
                f"{flag}: {part}/{pickles[0].name} is a pickle, which is never loaded: save the "
                "pipeline again with safe_serialization=True"
            )
    if kind in TEXT_PIPELINES and not importlib.util.find_spec("transformers"):
        raise MachineError(
            f"{flag} holds a {kind}, which needs the extra: "
            "pip install 'augment-compare[transformers]'"
        )
    return index


def _label_numbers(
    folder: Path, given: tuple[int, ...], classes: tuple[str, ...], guidance: float
) -> list[int]:
    """Return the pipeline's label of each class: as given, else by its names, else in order.

    UsageError if they do not fit the pipeline or the classes.
    """
    flag = f"pretrained.folder '{folder}'"
    config = json.loads((folder / "transformer/config.json").read_text(encoding="utf-8"))
    known = config["num_embeds_ada_norm"]  # how many labels the pipeline has
    if known < len(classes):
        raise UsageError(f"{flag} knows {known} labels, fewer than the {len(classes)} classes here")
    if guidance > 1 and known != GUIDED_LABELS:
        raise UsageError(
            f"pretrained.guidance = {guidance:g}: diffusers guides DiT models of {GUIDED_LABELS} "
            f"labels alone, and this one has {known}; give --guidance 1"
        )
    way_out = f"give --set 'pretrained.labels=[…]', {len(classes)} numbers from 0 to {known - 1}"
    numbers = list(given)
    if not given:
        index = _pipeline_index(str(folder))
        names = {  # a label may have several, separated by commas
            name.strip(): int(number)
            for number, line in (index.get("id2label") or {}).items()
            for name in line.split(",")
        }
        unknown = [name for name in classes if names and name not in names]
        if unknown:
            raise UsageError(f"{flag} has no label called '{unknown[0]}': {way_out}")
        numbers = [names.get(name, k) for k, name in enumerate(classes)]
    if len(numbers) != len(classes) or max(numbers) >= known:
        raise UsageError(f"pretrained.labels = {numbers} do not fit: {way_out}")
    return numbers


def _load_pipeline(folder: str) -> Any:
    """Load the pipeline, silenced, with a deterministic sampler; UsageError if it is damaged."""
    import diffusers

    kind = getattr(diffusers, _pipeline_index(folder)["_class_name"])
    diffusers.utils.logging.disable_progress_bar()  # they would run through ours
    if kind.__name__ in TEXT_PIPELINES:
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


def _fit_shape(shape: ImageShape, images: Tensor) -> Tensor:
    """Resize images [N, 1 or 3, h, w] uint8 and make them grey or colour: [N, *shape]."""
    from torchvision.transforms.v2.functional import rgb_to_grayscale

    channels, height, width = shape
    images = resize(images, (height, width))
    if channels == 1 and images.shape[1] == 3:
        # rounded here: of integers torchvision drops the fraction, and its weights sum to 0.9999
        return rgb_to_grayscale(images.float()).round().to(torch.uint8)
    return images.expand(-1, channels, -1, -1).contiguous()
