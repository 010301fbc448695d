"""The latents of an autoencoder of the user's own, in place of images: latent diffusion.

`ddpm.autoencoder` is a local folder that diffusers' `save_pretrained` wrote. It was trained on
other data, so arms that use it are marked; it is hashed, and loaded from safetensors alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from augment.data.images import LabelledImages, pad_sides, to_float, to_uint8
from augment.errors import UsageError
from augment.generators.pipelines import read_config, unchanged_sha

SETTING = "ddpm.autoencoder"
AUTOENCODERS = ("AutoencoderTiny", "AutoencoderKL", "AutoencoderDC")
RANGE = 4.0  # deviations of a latent channel that become [-1, 1], as pixels are
MOST_LOST = 0.25  # share of the images' variance that an autoencoder may lose
IMAGES_COMPARED = 64  # images at most by which that is measured
AT_ONCE = 16  # images encoded or decoded at once
WEIGHTS = "diffusion_pytorch_model.safetensors"


class Latents(nn.Module):
    """Images [B, C, H, W] in [-1, 1] ↔ latents [B, c, h, w], mostly in [-1, 1].

    Only the scale of the latents is saved with a model: the autoencoder stays in its folder.
    """

    def __init__(self, data: LabelledImages, model: Any) -> None:
        super().__init__()
        self.sides, self.channels, device = data.shape[1:], data.shape[0], model.device
        self.parts = [model]  # in a list, where its weights are no part of this module
        config = model.config
        widths = getattr(config, "block_out_channels", None) or config.encoder_block_out_channels
        self.factor = 2 ** (len(widths) - 1)
        self.mean: Tensor  # [1, c, 1, 1]
        self.deviation: Tensor  # [1, c, 1, 1]
        channels = config.latent_channels
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1, device=device))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1, device=device))
        parts = data.images.split(AT_ONCE)
        latents = torch.cat([self.encode(to_float(part.to(device))) for part in parts]) * RANGE
        self.mean.copy_(latents.mean((0, 2, 3), keepdim=True))
        self.deviation.copy_(latents.std((0, 2, 3), keepdim=True).clamp(min=1e-6))

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Return the latents of images: the mean where the autoencoder gives a distribution."""
        padded = pad_sides(images, self.factor)
        padded = padded.expand(-1, 3, -1, -1) if self.channels == 1 else padded
        output = self.parts[0].encode(padded)
        if hasattr(output, "latent_dist"):  # AutoencoderKL
            z = output.latent_dist.mode()
        else:
            z = output.latents if hasattr(output, "latents") else output.latent
        return (z.float() - self.mean) / (RANGE * self.deviation)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return the images of latents, grey where the images are."""
        z = latents * (RANGE * self.deviation) + self.mean
        parts = [self.parts[0].decode(part).sample.float() for part in z.split(AT_ONCE)]
        images = torch.cat(parts)[..., : self.sides[0], : self.sides[1]]
        return images.mean(1, keepdim=True) if self.channels == 1 else images

    def of_set(self, data: LabelledImages) -> LabelledImages:
        """Return the latents of a set, rounded as images are: for statistics, not for training."""
        parts = data.images.split(AT_ONCE)
        encoded = [to_uint8(self.encode(to_float(part.to(self.mean.device)))) for part in parts]
        return LabelledImages(torch.cat(encoded).cpu(), data.labels, data.classes)


def lost_by(latents: Latents, data: LabelledImages, folder: str) -> float:
    """Return the share of the variance of images that encoding and decoding loses: 0 is none.

    UsageError if it is too much to draw such images. Of blank ones nothing can be lost.
    """
    images = to_float(data.images[:: -(-len(data) // IMAGES_COMPARED)].to(latents.mean.device))
    error = (latents.decode(latents.encode(images)).clamp(-1, 1) - images).square().mean()
    spread = (images - images.mean((0, 2, 3), keepdim=True)).square().mean()
    lost = float(error / spread) if spread else 0.0
    if lost > MOST_LOST:
        how = f"loses {lost:.0%} of what varies in the labelled images (at most {MOST_LOST:.0%})"
        if lost >= 1:
            how = (
                "gives the labelled images back worse than one mean picture would, so it is "
                "untrained or not for such images"
            )
        raise UsageError(
            f"{SETTING} '{folder}' {how}: use one that was trained on such images, larger "
            "images, or leave the setting out"
        )
    return lost


def sha_of_autoencoder(folder: str, sha: str) -> str:
    """Return the SHA-256 of an autoencoder's folder; UsageError if it is not the one that was.

    "" for none.
    """
    if not folder:
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


def open_autoencoder(folder: str) -> Any:
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
    return model.requires_grad_(False).eval()
