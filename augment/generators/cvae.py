"""A convolutional conditional variational autoencoder."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import LabelledImages, pad_sides
from augment.generators.blocks import Decoder, Normalised, decode, doublings
from augment.training.learner import Metrics, seeded_init
from augment.training.optim import ema_copy, ema_update, set_rate, warmup_cosine
from augment.training.precision import autocast


class Encoder(nn.Module):
    """(images, labels) → mean and log variance of z, [B, Z] each."""

    def __init__(self, z: int, width: int, shape: tuple[int, int, int], n_classes: int) -> None:
        super().__init__()
        channels, height, side = shape
        self.times = doublings(height, side)
        grid = -(-height // 2**self.times) * -(-side // 2**self.times)
        wide = [channels + 1, *(width * 2 ** min(2, i) for i in range(self.times))]
        self.label = nn.Embedding(n_classes, 1)
        self.body = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), Normalised(), nn.SiLU())
                for a, b in itertools.pairwise(wide)
            ),
            nn.Flatten(),
            nn.Linear(wide[-1] * grid, 2 * z),
        )

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        images = pad_sides(images, 2**self.times)
        plane = self.label(labels)[:, :, None, None].expand(-1, -1, *images.shape[-2:])
        x = torch.cat([images, plane], 1).contiguous(memory_format=torch.channels_last)
        mean, log_variance = self.body(x).float().chunk(2, 1)
        return mean, log_variance.clamp(-12, 12)


class PriorDecoder(nn.Module):
    """(noise [B, Z], labels [B]) → images: noise moves to the class's own normal, is decoded."""

    def __init__(self, z: int, width: int, shape: tuple[int, int, int], n_classes: int) -> None:
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
    z: int = 16
    width: int = 32
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
        """Build encoder, decoder, the decoder's average and the optimiser."""
        self.device, self.precision, self.shape = device, precision, data.shape
        about = (self.z, self.width, data.shape, len(data.classes))
        pair = seeded_init(lambda: nn.ModuleList([Encoder(*about), PriorDecoder(*about)]), seed)
        pair = pair.to(device=device, memory_format=torch.channels_last)
        self.modules = {"encoder": pair[0], "decoder": pair[1], "ema": ema_copy(pair[1])}
        self.optimisers = {"net": torch.optim.Adam(pair.parameters(), self.lr, fused=True)}

    def update(self, images: Tensor, labels: Tensor, *, step: int, rng: torch.Generator) -> Metrics:
        """One step on the evidence bound, in nats an image."""
        optimiser = self.optimisers["net"]
        set_rate(optimiser, self.lr * warmup_cosine(step, self.steps))
        decoder = self.modules["decoder"]
        assert isinstance(decoder, PriorDecoder)
        with autocast(self.precision, self.device):
            mean, log_variance = self.modules["encoder"](images, labels)
            eps = torch.randn(mean.shape, generator=rng, device=self.device)
            output = decoder.decoder(mean + eps * (0.5 * log_variance).exp(), labels)
            prior_mean, prior_log_variance = decoder.prior(labels).float().chunk(2, 1)
        error = F.mse_loss(output.float(), images)
        pixels = images[0].numel()
        reconstruction = 0.5 * pixels * error / self.noise
        # between two diagonal normals, q(z | image, label) and p(z | label)
        surprise = ((mean - prior_mean).square() + log_variance.exp()) / prior_log_variance.exp()
        kl = 0.5 * (prior_log_variance - log_variance + surprise - 1).sum(1).mean()
        loss = reconstruction + kl
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        ema_update(self.modules["ema"], self.modules["decoder"], step, self.ema)
        return {"loss": loss.detach(), "mse": error.detach(), "kl": kl.detach()}

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """[N] labels, [N] seeds → [N, C, H, W] uint8 on the CPU."""
        decoder = self.modules["ema"]
        assert isinstance(decoder, PriorDecoder)
        return decode(decoder, self.z, self.shape, labels, seeds, self.device, self.precision)
