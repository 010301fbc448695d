"""The latents of an autoencoder, in place of images: latent diffusion.

`ddpm.autoencoder` is a local folder that diffusers' `save_pretrained` wrote. It was trained on
other data, so arms that use it are marked; it is hashed, and loaded from safetensors alone. Or it
is `own`, of the labelled images alone (see `components`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from augment.data.images import LabelledImages, pad_sides, to_float, to_uint8
from augment.errors import UsageError
from augment.generators.pipelines import read_config, unchanged_sha

SETTING = "ddpm.autoencoder"
OWN = "own"  # in place of a folder
AUTOENCODERS = ("AutoencoderTiny", "AutoencoderKL", "AutoencoderDC")
RANGE = 4.0  # deviations of a latent channel that become [-1, 1], as pixels are
MOST_LOST = 0.25  # share of the images' variance that an autoencoder may lose
IMAGES_COMPARED = 64  # images at most by which that is measured
AT_ONCE = 16  # images encoded or decoded at once
WEIGHTS = "diffusion_pytorch_model.safetensors"


class Autoencoder(Protocol):
    """Images [B, C', H, W] in [-1, 1] ↔ latents [B, c, H / factor, W / factor] of any size."""

    in_channels: int
    factor: int  # that the sides must be multiples of
    latent_channels: int

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """Return the latents of images."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Return the images of latents."""
        ...


class FolderAutoencoder:
    """A model of diffusers as an `Autoencoder`."""

    def __init__(self, model: Any) -> None:
        config, self.model = model.config, model
        widths = getattr(config, "block_out_channels", None) or config.encoder_block_out_channels
        self.factor = 2 ** (len(widths) - 1)
        self.in_channels, self.latent_channels = config.in_channels, config.latent_channels

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def encode(self, images: Tensor) -> Tensor:
        """Return the latents of images: the mean where the model gives a distribution."""
        output = self.model.encode(images)
        if hasattr(output, "latent_dist"):  # AutoencoderKL
            return output.latent_dist.mode()
        return output.latents if hasattr(output, "latents") else output.latent

    def decode(self, latents: Tensor) -> Tensor:
        """Return the images of latents."""
        return self.model.decode(latents).sample


class Latents(nn.Module):
    """Images [B, C, H, W] in [-1, 1] ↔ latents [B, c, h, w], mostly in [-1, 1].

    Of an autoencoder in a folder only the scale of its latents is saved with a model. One that is a
    module is a part of this one, and saved whole.
    """

    def __init__(self, data: LabelledImages, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.sides, self.channels, device = data.shape[1:], data.shape[0], autoencoder.device
        self.autoencoder = autoencoder
        self.mean: Tensor  # [1, c, 1, 1]
        self.deviation: Tensor  # [1, c, 1, 1]
        if autoencoder.in_channels not in (self.channels, 3):
            raise UsageError(
                f"{SETTING} takes pictures of {autoencoder.in_channels} channels, and these have "
                f"{self.channels}: use one that was trained on such images"
            )
        channels = autoencoder.latent_channels
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1, device=device))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1, device=device))
        parts = data.images.split(AT_ONCE)
        latents = torch.cat([self.encode(self._on_device(part)) for part in parts]) * RANGE
        self.mean.copy_(latents.mean((0, 2, 3), keepdim=True))
        self.deviation.copy_(latents.std((0, 2, 3), keepdim=True).clamp(min=1e-6))

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Return the latents of images."""
        padded = pad_sides(images, self.autoencoder.factor)
        padded = padded.expand(-1, self.autoencoder.in_channels, -1, -1)  # grey ones in colour
        z = self.autoencoder.encode(padded).float()
        return (z - self.mean) / (RANGE * self.deviation)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return the images of latents, grey where the images are."""
        z = latents * (RANGE * self.deviation) + self.mean
        parts = [self.autoencoder.decode(part).float() for part in z.split(AT_ONCE)]
        images = torch.cat(parts)[..., : self.sides[0], : self.sides[1]]
        return images.mean(1, keepdim=True) if self.channels == 1 else images

    def passed_through(self, data: LabelledImages) -> LabelledImages:
        """Return the images of a set as they come back: what is drawn can hardly be better."""
        parts = data.images.split(AT_ONCE)
        back = [to_uint8(self.decode(self.encode(self._on_device(part)))).cpu() for part in parts]
        return LabelledImages(torch.cat(back), data.labels, data.classes)

    def of_set(self, data: LabelledImages) -> LabelledImages:
        """Return the latents of a set, rounded as images are: for statistics, not for training."""
        parts = data.images.split(AT_ONCE)
        encoded = [to_uint8(self.encode(self._on_device(part))) for part in parts]
        return LabelledImages(torch.cat(encoded).cpu(), data.labels, data.classes)

    def _on_device(self, images: Tensor) -> Tensor:
        """Convert images [B, C, H, W] uint8 to what `encode` takes."""
        return to_float(images.to(self.mean.device))


def lost_by(latents: Latents, data: LabelledImages, autoencoder: str) -> float:
    """Return the share of the variance of images that encoding and decoding loses: 0 is none.

    `autoencoder` is the setting. UsageError if it is too much to draw such images. Of blank ones
    nothing can be lost.
    """
    some = data.select(torch.arange(0, len(data), -(-len(data) // IMAGES_COMPARED)))
    images, back = to_float(some.images), to_float(latents.passed_through(some).images)
    spread = (images - images.mean((0, 2, 3), keepdim=True)).square().mean()
    lost = float((back - images).square().mean() / spread) if spread else 0.0
    if lost > MOST_LOST:
        how = f"loses {lost:.0%} of what varies in real images (at most {MOST_LOST:.0%})"
        if lost >= 1:
            how = (
                "gives real images back worse than one mean picture would, so it is untrained or "
                "not for such images"
            )
        raise UsageError(
            f"{SETTING} '{autoencoder}' {how}: use one that was trained on such images, larger "
            "images, or leave the setting out"
        )
    return lost


def sha_of_autoencoder(folder: str, sha: str) -> str:
    """Return the SHA-256 of an autoencoder's folder; UsageError if it is not the one that was.

    "" for none, and for one that is no folder: `own`.
    """
    if folder in ("", OWN):
        return ""
    _config(folder)
    return unchanged_sha(SETTING, folder, sha)


def _config(folder: str) -> dict[str, Any]:
    """Read the `config.json` of an autoencoder; UsageError if it cannot be used."""
    way_out = (
        "a folder that diffusers' save_pretrained wrote for an autoencoder, such as the folder vae "
        "of a pipeline"
    )
    config = read_config(SETTING, folder, "config.json", AUTOENCODERS, way_out)
    if not (Path(folder) / WEIGHTS).is_file():
        raise UsageError(
            f"{SETTING} '{folder}' has no {WEIGHTS}, and nothing else is loaded: save it again "
            "with safe_serialization=True"
        )
    return config


def open_autoencoder(folder: str, device: torch.device) -> FolderAutoencoder:
    """Load an autoencoder; UsageError if its weights are damaged or are not of its config."""
    import diffusers

    kind, flag = getattr(diffusers, _config(folder)["_class_name"]), f"{SETTING} '{folder}'"
    logging = diffusers.utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # it warns of a setting that it writes itself
    try:
        model, info = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        why = str(error).splitlines()[0]
        raise UsageError(f"{flag} cannot be loaded: {why}") from None
    finally:
        logging.set_verbosity(before)
    if missing := info["missing_keys"]:  # diffusers would go on with random numbers
        raise UsageError(f"{flag} has no weights called {missing[0]}: save it again")
    return FolderAutoencoder(model.to(device).requires_grad_(False).eval())
