"""The parts of a diffusers pipeline that training and sampling need, as one interface.

Images are resized to the pipeline's sides and given its channels, and brought into the latents of
its autoencoder if it has one. Labels are 0…K-1, and K for no class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import ImageShape, LabelledImages
from augment.errors import UsageError
from augment.generators.adapters import add_adapters, teach_classes
from augment.generators.pipelines import label_names, load_pipeline, need_extra, prompts


class PipelineSettings(Protocol):
    """What of the generator's settings a denoiser depends on."""

    folder: str
    size: int
    prompt: str
    labels: tuple[int, ...]
    rank: int
    layers: tuple[str, ...]


@dataclass
class Denoiser:
    """A pipeline's network with its noise schedule, its conditions and its autoencoder."""

    network: Any  # diffusers' UNet2DModel, UNet2DConditionModel or DiTTransformer2DModel
    autoencoder: Any | None  # AutoencoderKL
    schedule: Any  # diffusers' DDPMScheduler of the training
    texts: Tensor | None  # [K + 1, tokens, D] of a network that takes a text
    channels: int  # of the images that the pipeline makes
    sides: tuple[int, int]  # height and width in pixels

    def __post_init__(self) -> None:
        self.alpha_bar: Tensor = self.schedule.alphas_cumprod  # [levels]

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """Shape of what noise is added to."""
        factor = _shrinking(self.autoencoder)
        height, width = self.sides
        return self.network.config.in_channels, height // factor, width // factor

    def to(self, device: torch.device) -> None:
        """Move all parts to a device."""
        for part in filter(None, (self.network, self.autoencoder)):
            part.to(device)
        self.alpha_bar = self.alpha_bar.to(device)
        self.texts = None if self.texts is None else self.texts.to(device)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Bring images [B, C, H, W] in [-1, 1] to where noise is added: [B, c, h, w]."""
        images = F.interpolate(images, self.sides, mode="bilinear", antialias=True)
        images = images.expand(-1, self.channels, -1, -1)  # grey ones
        if self.autoencoder is None:
            return images
        latents = self.autoencoder.encode(images).latent_dist.mean.float()
        shift, scale = _latent_range(self.autoencoder)
        return (latents - shift) * scale

    def decode(self, x: Tensor) -> Tensor:
        """Turn what `encode` made back into images [B, channels, H, W], in fp32."""
        if self.autoencoder is None:
            return x
        shift, scale = _latent_range(self.autoencoder)
        # bf16 has no steps as fine as grey levels
        with torch.autocast(x.device.type, enabled=False):
            return self.autoencoder.decode(x.float() / scale + shift, return_dict=False)[0]

    def predict(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Call the network on noisy x [B, c, h, w] at levels [B] of classes [B]."""
        if self.texts is not None:
            condition: dict[str, Any] = {"encoder_hidden_states": self.texts[labels]}
        else:
            condition = {"class_labels": labels}
        predicted = self.network(x, t, return_dict=False, **condition)[0]
        return predicted[:, : x.shape[1]]  # behind it the variance, where that was learnt

    def noised(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Add noise eps to x0 at levels [B] (Ho et al. 2020, eq. 4)."""
        alpha, sigma = self._level(t)
        return alpha * x0 + sigma * eps

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Return what the network is to predict: the noise, the image or v (Salimans & Ho 2022)."""
        kind = self.schedule.config.prediction_type
        if kind == "v_prediction":
            alpha, sigma = self._level(t)
            return alpha * eps - sigma * x0
        return x0 if kind == "sample" else eps

    def _level(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma of levels [B]: [B, 1, 1, 1] each."""
        alpha_bar = self.alpha_bar[t][:, None, None, None]
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def scheduler(self) -> Any:
        """Build DPM-Solver++ (Lu et al. 2022) on the pipeline's noise schedule."""
        from diffusers import DPMSolverMultistepScheduler

        return DPMSolverMultistepScheduler(
            num_train_timesteps=len(self.schedule.betas),
            # a schedule that ends in noise alone would divide by 0
            trained_betas=self.schedule.betas.clamp(max=1 - 1e-6).numpy(),
            prediction_type=self.schedule.config.prediction_type,
            final_sigmas_type="zero",
        )


def fine_tuned_denoiser(
    settings: PipelineSettings, index: dict[str, Any], data: LabelledImages, seed: int
) -> Denoiser:
    """Load the pipeline of a folder and add what is trained; UsageError if they do not fit."""
    flag, kind = f"finetune.folder '{settings.folder}'", index["_class_name"]
    texts, beside, conditions = None, {}, []
    if kind == "StableDiffusionPipeline":
        need_extra(flag, kind, "finetune", "transformers")
        conditions = [*prompts("finetune", settings.prompt, data.classes), ""]
        # the filter of pictures would replace some by black ones
        beside = dict(safety_checker=None, requires_safety_checker=False)
    pipe = load_pipeline("finetune", settings.folder, kind, **beside)
    network = getattr(pipe, "unet", None) or pipe.transformer
    autoencoder = getattr(pipe, "vae", None)
    add_adapters(network, settings.layers, settings.rank, seed)
    if conditions:
        with torch.no_grad():
            texts = pipe.encode_prompt(conditions, "cpu", 1, False)[0]
    else:
        teach_classes(network, _numbers(settings, index, network, data.classes))
    channels = (autoencoder or network).config.in_channels
    if data.shape[0] > channels:
        raise UsageError(f"{flag} makes grey pictures and these are in colour: use another one")
    sides = _sides(settings, network, _shrinking(autoencoder), data.shape)
    return Denoiser(network, autoencoder, _schedule(flag, pipe), texts, channels, sides)


def _schedule(flag: str, pipe: Any) -> Any:
    """Return the noise schedule that a pipeline was trained with; UsageError for another kind."""
    from diffusers import DDPMScheduler

    if not hasattr(pipe.scheduler, "alphas_cumprod"):
        raise UsageError(
            f"{flag} has a {type(pipe.scheduler).__name__}: use a pipeline with the noise levels "
            "of a DDPMScheduler or a DDIMScheduler"
        )
    return DDPMScheduler.from_config(pipe.scheduler.config)


def _numbers(
    settings: PipelineSettings, index: dict[str, Any], network: nn.Module, classes: tuple[str, ...]
) -> list[int | None]:
    """Return the pipeline's label that each class starts as; None where it knows none.

    `settings.labels`, else by the names in the folder. UsageError if they do not fit.
    """
    config: Any = network.config
    known = config.get("num_embeds_ada_norm") or config.get("num_class_embeds") or 0
    if not settings.labels:
        names = label_names(index)
        return [names.get(name) for name in classes]
    numbers = list(settings.labels)
    if len(numbers) != len(classes) or min(numbers) < 0 or max(numbers) >= known:
        raise UsageError(
            f"finetune.labels = {numbers} do not fit: give {len(classes)} numbers from 0 to "
            f"{known - 1}, or none"
        )
    return [*numbers]


def _sides(
    settings: PipelineSettings, network: Any, shrinking: int, shape: ImageShape
) -> tuple[int, int]:
    """Choose height and width in pixels: the longer one as set, the shape that of the images."""
    size = network.config.sample_size  # of what noise is added to
    own = (size if isinstance(size, int) else max(size)) * shrinking
    if hasattr(network.config, "patch_size"):  # a transformer takes squares of one size
        if settings.size not in (0, own):
            raise UsageError(f"finetune.size = {settings.size}: this pipeline takes {own} alone")
        return own, own
    multiple = shrinking * 2 ** (len(network.config.block_out_channels) - 1)
    longer = settings.size or own
    if longer < multiple or longer % multiple:
        raise UsageError(f"finetune.size = {longer}: this pipeline takes multiples of {multiple}")
    sides = [round(longer * side / max(shape[1:]) / multiple) * multiple for side in shape[1:]]
    return max(multiple, sides[0]), max(multiple, sides[1])


def _shrinking(autoencoder: Any | None) -> int:
    """Return how many pixels a side are one of the latents."""
    return 1 if autoencoder is None else 2 ** (len(autoencoder.config.block_out_channels) - 1)


def _latent_range(autoencoder: Any) -> tuple[float, float]:
    """Return what is subtracted from latents, and what they are multiplied with."""
    config = autoencoder.config
    return getattr(config, "shift_factor", None) or 0.0, config.scaling_factor
