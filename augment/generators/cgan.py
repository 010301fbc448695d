"""A convolutional conditional GAN for small data.

G is the shared `Decoder`, D a projection discriminator; samples come from G's EMA.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from augment.data.images import ImageShape, LabelledImages, pad_sides
from augment.generators.blocks import Decoder, grid_doublings, level_widths, sample_decoder
from augment.training.ema import ema_copy, ema_update
from augment.training.learner import Metrics, seeded_init
from augment.training.optim import set_rate, warmup_cosine
from augment.training.precision import autocast
from augment.transforms.geometric import shift, uniform


class Critic(nn.Module):
    """Projection discriminator (Miyato & Koyama 2018), spectrally normalised: score [B]."""

    def __init__(self, width: int, shape: ImageShape, n_classes: int) -> None:
        super().__init__()
        channels, *sides = shape
        self.halvings = grid_doublings(*sides)
        widths = level_widths(width, self.halvings)[::-1]
        layers: list[nn.Module] = [spectral_norm(nn.Conv2d(channels, widths[0], 3, padding=1))]
        for a, b in itertools.pairwise(widths):
            layers += [nn.LeakyReLU(0.1), spectral_norm(nn.Conv2d(a, b, 4, 2, 1))]
        layers += [
            nn.LeakyReLU(0.1),
            spectral_norm(nn.Conv2d(widths[-1], widths[-1], 3, padding=1)),
        ]
        self.body = nn.Sequential(*layers, nn.LeakyReLU(0.1))
        self.score = spectral_norm(nn.Linear(widths[-1], 1))
        self.label = spectral_norm(nn.Embedding(n_classes, widths[-1]))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = pad_sides(images, 2**self.halvings).contiguous(memory_format=torch.channels_last)
        features = self.body(x).float().sum((2, 3))  # [B, D]
        # unconditional score plus the inner product with the class's embedding
        return self.score(features).squeeze(1) + (self.label(labels) * features).sum(1)


@dataclass
class CGAN:
    """Projection discriminator, hinge loss, DiffAugment (Zhao et al. 2020), mode seeking, EMA."""

    steps: int = 2000
    batch: int = 64
    z: int = 64  # dimensions of the noise
    width: int = 32  # channels at the highest resolution, of G and of D
    lr: float = 5e-4  # of G; D's is `d_scale` times as much (two time scales, Heusel et al. 2017)
    d_scale: float = 2.0
    diffaugment: tuple[str, ...] = ("translation", "cutout")
    diversity: float = 0.1  # weight of the mode-seeking term; without it a class collapses to one
    ema: float = 0.99
    transformed: float = 1.0  # share of each batch with classic transforms; 1: all, untold

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    closed_set: ClassVar[bool] = True
    sampling: ClassVar[tuple[str, ...]] = ()
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=60, batch=32, width=16),
        "quick": dict(steps=1000, batch=32, width=32),
        "full": dict(
            steps=40000,
            batch=64,
            width=96,
            lr=2e-4,
            ema=0.9995,
            diffaugment=("colour", "translation", "cutout"),
        ),
    }

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build G, its EMA, D and both optimisers."""
        self.device, self.precision, self.shape = device, precision, data.shape
        k = len(data.classes)
        g, d = seeded_init(
            lambda: (Decoder(self.z, self.width, data.shape, k), Critic(self.width, data.shape, k)),
            seed,
        )
        g = g.to(device=device, memory_format=torch.channels_last)
        d = d.to(device=device, memory_format=torch.channels_last)
        self.modules = {"g": g, "d": d, "ema": ema_copy(g)}
        adam: dict[str, Any] = dict(lr=self.lr, betas=(0.0, 0.99), fused=True)
        self.optimisers = {
            "g": torch.optim.Adam(g.parameters(), **adam),
            "d": torch.optim.Adam([{"params": d.parameters(), "scale": self.d_scale}], **adam),
        }

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take one step of D on real and generated images of the same labels, then one of G."""
        g, d = self.modules["g"], self.modules["d"].requires_grad_(True)
        rate = self.lr * warmup_cosine(step, self.steps, warmup=0.02, floor=0.1)
        for optimiser in self.optimisers.values():
            set_rate(optimiser, rate)
        z = torch.randn(len(images), self.z, generator=rng, device=self.device)
        with autocast(self.precision, self.device):
            fake = g(z, labels).float()
            inputs = self.disturb(torch.cat([images, fake.detach()]), rng)
            real_score, fake_score = d(inputs, labels.repeat(2)).chunk(2)
        # hinge loss (Lim & Ye 2017)
        d_real, d_fake = F.relu(1 - real_score).mean(), F.relu(1 + fake_score).mean()
        self.optimisers["d"].zero_grad()
        (d_real + d_fake).backward()
        self.optimisers["d"].step()

        d.requires_grad_(False)
        with autocast(self.precision, self.device):
            g_loss = -d(self.disturb(fake, rng), labels).mean()
            half = -(-len(z) // 2)  # of the batch estimates it as well at half the cost
            other_z = torch.randn(half, self.z, generator=rng, device=self.device)
            other = g(other_z, labels[:half]).float()
        # Mao et al. 2019, eq. 4: images of one class should differ as much as their noise does
        spread = (fake[:half] - other).abs().mean((1, 2, 3)) / (z[:half] - other_z).abs().mean(1)
        collapse = 1 / (spread.mean() + 1e-5)
        self.optimisers["g"].zero_grad()
        (g_loss + self.diversity * collapse).backward()
        self.optimisers["g"].step()
        ema_update(self.modules["ema"], g, step, self.ema)
        return {
            "d_real": d_real.detach(),
            "d_fake": d_fake.detach(),
            "g": g_loss.detach(),
            "spread": spread.mean().detach(),
        }

    def disturb(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Apply DiffAugment: the same kinds of disturbance to all that D sees, differentiably."""
        for name in self.diffaugment:
            images = DISTURBANCES[name](images, rng)
        return images

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Sample an image for each label and seed: [N], [N] → [N, C, H, W] uint8 on the CPU."""
        return sample_decoder(self, self.modules["ema"], labels, seeds)


def _colour(images: Tensor, rng: torch.Generator) -> Tensor:
    """Change brightness by ±0.5, saturation ×0…2, contrast ×0.5…1.5: [N, C, H, W] in [-1, 1]."""
    n = len(images)
    images = images + uniform(n, -0.5, 0.5, rng)[:, None, None, None]
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * uniform(n, 0, 2, rng)[:, None, None, None]
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * uniform(n, 0.5, 1.5, rng)[:, None, None, None]


def _translation(images: Tensor, rng: torch.Generator) -> Tensor:
    """Shift by whole pixels, up to an eighth of the side, black outside."""
    return shift(images, rng, fill="constant")


def _cutout(images: Tensor, rng: torch.Generator) -> Tensor:
    """Make a square of half the side mid-grey, anywhere, partly outside too."""
    n, _, height, width = images.shape
    centre_y = uniform(n, 0, height, rng)[:, None]
    centre_x = uniform(n, 0, width, rng)[:, None]
    rows = (torch.arange(height, device=rng.device) + 0.5 - centre_y).abs() < height / 4  # [B, H]
    columns = (torch.arange(width, device=rng.device) + 0.5 - centre_x).abs() < width / 4  # [B, W]
    hole = rows[:, None, :, None] & columns[:, None, None, :]
    return images.masked_fill(hole, 0.0)


DISTURBANCES = {"colour": _colour, "translation": _translation, "cutout": _cutout}
