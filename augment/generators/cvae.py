"""A convolutional conditional variational autoencoder (VAE).

The prior of z is a normal distribution for each class, learnt with the rest; see `CVAE` for why.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import ImageShape, LabelledImages, pad_sides
from augment.generators.blocks import (
    Decoder,
    Normalise,
    grid_doublings,
    level_widths,
    sample_decoder,
)
from augment.training.ema import ema_copy, ema_update
from augment.training.learner import Metrics, seeded_init
from augment.training.optim import set_rate, warmup_cosine
from augment.training.precision import autocast


class Encoder(nn.Module):
    """(images, labels) → mean and log variance of z, [B, Z] each."""

    def __init__(self, z: int, width: int, shape: ImageShape, n_classes: int) -> None:
        super().__init__()
        channels, *sides = shape
        self.halvings = grid_doublings(*sides)
        rows, columns = (-(-side // 2**self.halvings) for side in sides)  # of the lowest grid
        widths = [channels + 1, *level_widths(width, self.halvings)[:0:-1]]
        self.label = nn.Embedding(n_classes, 1)
        self.body = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), Normalise(), nn.SiLU())
                for a, b in itertools.pairwise(widths)
            ),
            nn.Flatten(),
            nn.Linear(widths[-1] * rows * columns, 2 * z),
        )

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        images = pad_sides(images, 2**self.halvings)
        # the label as one more channel, the same number at every pixel
        plane = self.label(labels)[:, :, None, None].expand(-1, -1, *images.shape[-2:])
        x = torch.cat([images, plane], 1).contiguous(memory_format=torch.channels_last)
        mean, log_variance = self.body(x).float().chunk(2, 1)  # [B, Z] each
        # far outside this range exp overflows in the loss
        return mean, log_variance.clamp(-12, 12)


class PriorDecoder(nn.Module):
    """(noise [B, Z], labels [B]) → images: decodes a sample of the class's prior."""

    def __init__(self, z: int, width: int, shape: ImageShape, n_classes: int) -> None:
        super().__init__()
        self.prior = nn.Embedding(n_classes, 2 * z)  # mean and log variance
        nn.init.zeros_(self.prior.weight)
        self.decoder = Decoder(z, width, shape, n_classes)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        mean, log_variance = self.prior(labels).chunk(2, 1)
        return self.decoder(mean + noise * (0.5 * log_variance).exp(), labels)


@dataclass
class CVAE:
    """Conditional VAE (Sohn et al. 2015) with a prior a class.

    One prior for all classes let z carry the class: decoded with another label it kept its digit.
    """

    steps: int = 2000
    batch: int = 64
    z: int = 16  # dimensions of the latent
    width: int = 32  # channels at the highest resolution
    lr: float = 2e-3
    noise: float = 0.1  # variance of a pixel given z; small: sharp, but samples fall into gaps
    ema: float = 0.995
    transformed: float = 0.0  # share of each batch with classic transforms; 1: all, untold

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    closed_set: ClassVar[bool] = True
    sampling: ClassVar[tuple[str, ...]] = ()
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=60, batch=32, width=16),
        "quick": dict(steps=1000, batch=32, width=32),
        "full": dict(steps=20000, batch=128, width=96, z=64, lr=1e-3),
    }

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build encoder, decoder, the decoder's EMA and the optimiser."""
        self.device, self.precision, self.shape = device, precision, data.shape
        sizes = (self.z, self.width, data.shape, len(data.classes))
        pair = seeded_init(lambda: nn.ModuleList([Encoder(*sizes), PriorDecoder(*sizes)]), seed)
        pair = pair.to(device=device, memory_format=torch.channels_last)
        self.modules = {"encoder": pair[0], "decoder": pair[1], "ema": ema_copy(pair[1])}
        self.optimisers = {"net": torch.optim.Adam(pair.parameters(), self.lr, fused=True)}

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take one step on the negative evidence lower bound (ELBO), in nats per image."""
        optimiser = self.optimisers["net"]
        set_rate(optimiser, self.lr * warmup_cosine(step, self.steps))
        decoder = self.modules["decoder"]
        assert isinstance(decoder, PriorDecoder)
        with autocast(self.precision, self.device):
            mean, log_variance = self.modules["encoder"](images, labels)
            # reparametrisation (Kingma & Welling 2014, section 2.4)
            eps = torch.randn(mean.shape, generator=rng, device=self.device)
            output = decoder.decoder(mean + eps * (0.5 * log_variance).exp(), labels)
            prior_mean, prior_log_variance = decoder.prior(labels).float().chunk(2, 1)
        mse = F.mse_loss(output.float(), images)
        pixels = images[0].numel()
        # -log p(image | z) of independent normal pixels, up to a constant
        reconstruction = 0.5 * pixels * mse / self.noise
        # KL divergence between two diagonal normals, q(z | image, label) and p(z | label)
        moment = ((mean - prior_mean).square() + log_variance.exp()) / prior_log_variance.exp()
        kl = 0.5 * (prior_log_variance - log_variance + moment - 1).sum(1).mean()
        loss = reconstruction + kl
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        ema_update(self.modules["ema"], self.modules["decoder"], step, self.ema)
        return {"loss": loss.detach(), "mse": mse.detach(), "kl": kl.detach()}

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Sample an image for each label and seed: [N], [N] → [N, C, H, W] uint8 on the CPU."""
        return sample_decoder(self, self.modules["ema"], labels, seeds)
