"""A small autoencoder that learns the labelled images alone, whose latents `ddpm` can learn.

Its latents get noise in training, and their size is a part of the loss: a variational autoencoder
whose encoder has one given variance (Ghosh et al. 2020, section 3). Else the decoder of so few
images would read numbers that no diffusion model draws exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import ImageShape, LabelledImages, pad_sides, to_float
from augment.generators.blocks import normalise
from augment.training.ema import ema_copy, ema_update
from augment.training.learner import Metrics, seeded_init
from augment.training.optim import optimizer_step, set_rate, warmup_cosine
from augment.training.precision import autocast

GRID = 16  # latents at most along the longer side
LEAST_CHANNELS = 4  # of latents
WIDTH = 32  # channels of the network at its highest resolution


class Block(nn.Module):
    """Two 3×3 convolutions beside the identity, which the block starts as."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(normalise(self.first(x))))


class OwnNetwork(nn.Module):
    """Images [B, C, H, W] ↔ latents [B, c, H / factor, W / factor], sides multiples of the factor.

    Patches are folded into channels, so that images of 128 pixels a side cost no more than of 64:
    at most GRID latents lie along a side, and they are a quarter as many numbers as grey pixels.
    """

    def __init__(self, shape: ImageShape, width: int = WIDTH) -> None:
        super().__init__()
        self.in_channels = shape[0]
        self.factor = max(2, 2 ** (-(-max(shape[1:]) // GRID) - 1).bit_length())
        self.latent_channels = max(LEAST_CHANNELS, self.factor**2 // 4)
        fold, wide = self.factor // 2, 2 * width
        folded = shape[0] * fold**2
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(fold),
            nn.Conv2d(folded, width, 3, padding=1),
            Block(width),
            nn.Conv2d(width, wide, 3, 2, 1),
            Block(wide),
            nn.Conv2d(wide, self.latent_channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(self.latent_channels, wide, 3, padding=1),
            Block(wide),
            Block(wide),
            nn.Conv2d(wide, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            Block(width),
            nn.SiLU(),
            nn.Conv2d(width, folded, 3, padding=1),
            nn.PixelShuffle(fold),
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def encode(self, images: Tensor) -> Tensor:
        """Return the latents of images."""
        return self.encoder(images.contiguous(memory_format=torch.channels_last))

    def decode(self, latents: Tensor) -> Tensor:
        """Return the images of latents."""
        return self.decoder(latents.contiguous(memory_format=torch.channels_last))


def network_for(shape: ImageShape, seed: int = 0) -> OwnNetwork:
    """Build the network for images [C, H, W], with random weights."""
    net = seeded_init(lambda: OwnNetwork(shape), seed)
    return net.to(memory_format=torch.channels_last)


@dataclass
class OwnAutoencoder:
    """The training of an `OwnNetwork`, as a learner; labels are not used."""

    steps: int = 600
    batch: int = 16
    lr: float = 2e-3
    noise: float = 0.1  # deviation, on each latent
    size_weight: float = 0.01  # of the mean square of the latents in the loss
    ema: float = 0.995

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build network, EMA and optimiser for images [*, C, H, W]."""
        self.device, self.precision = device, precision
        # the loss is a share of the images' variance, whatever their contrast
        self.variance = max(1e-6, float(to_float(data.images[:: -(-len(data) // 512)]).var()))
        net = network_for(data.shape, seed).to(device)
        self.modules = {"net": net, "ema": ema_copy(net)}
        optimiser = torch.optim.AdamW(net.parameters(), self.lr, fused=True)
        self.optimisers = {"net": optimiser}

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take one step on the squared error, with noise on the latents."""
        net, optimiser = self.modules["net"], self.optimisers["net"]
        assert isinstance(net, OwnNetwork)
        set_rate(optimiser, self.lr * warmup_cosine(step, self.steps))
        padded = pad_sides(images, net.factor)
        with autocast(self.precision, self.device):
            latents = net.encode(padded).float()
            noise = torch.randn(latents.shape, generator=rng, device=self.device)
            output = net.decode(latents + self.noise * noise)
        lost = F.mse_loss(output.float(), padded) / self.variance
        loss = lost + self.size_weight * latents.square().mean()
        optimizer_step(optimiser, loss)
        ema_update(self.modules["ema"], net, step, self.ema)
        return {"loss": loss.detach(), "lost": lost.detach()}
