"""The convolutional decoder that cgan and cvae share."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import to_uint8
from augment.runtime import autocast, noise_for


def doublings(height: int, width: int) -> int:
    """How often the decoder doubles its grid: from 2×2 for 8×8, 7×7 for 28×28, 8×8 for 64×64."""
    return 2 if max(height, width) <= 32 else 3


class Conditioned(nn.Module):
    """Upsample, convolve, normalise, and scale by the class (FiLM; Perez et al. 2018)."""

    def __init__(self, channels: int, out: int, n_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, padding=1)
        self.norm = nn.GroupNorm(8, out, affine=False)  # no batch statistics: images stay apart
        self.film = nn.Embedding(n_classes, 2 * out)
        nn.init.zeros_(self.film.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        x = self.norm(self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        scale, bias = self.film(labels)[:, :, None, None].chunk(2, 1)
        return F.silu(x * (1 + scale) + bias)


class Decoder(nn.Module):
    """(z [B, Z], labels [B]) → images [B, C, H, W] in [-1, 1]; sides are cropped to H × W."""

    def __init__(self, z: int, width: int, shape: tuple[int, int, int], n_classes: int) -> None:
        super().__init__()
        channels, self.height, self.side = shape
        ups = doublings(self.height, self.side)
        self.base = (-(-self.height // 2**ups), -(-self.side // 2**ups))
        wide = [width * 2 ** min(2, ups - i) for i in range(ups + 1)]  # e.g. 4w, 2w, w
        self.label = nn.Embedding(n_classes, z)
        self.enter = nn.Linear(2 * z, wide[0] * self.base[0] * self.base[1])
        self.ups = nn.ModuleList(Conditioned(a, b, n_classes) for a, b in itertools.pairwise(wide))
        self.leave = nn.Conv2d(wide[-1], channels, 3, padding=1)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        x = self.enter(torch.cat([z, self.label(labels)], 1)).unflatten(1, (-1, *self.base))
        x = x.contiguous(memory_format=torch.channels_last)
        for up in self.ups:
            x = up(x, labels)
        return self.leave(x).tanh()[..., : self.height, : self.side]


@torch.inference_mode()
def decode(
    decoder: nn.Module, z: int, labels: Tensor, seeds: Tensor, device: torch.device, precision: str
) -> Tensor:
    """One picture a label and seed: [N], [N] → [N, C, H, W] uint8 on the CPU."""

    def draw(own: Tensor, keys: Tensor) -> Tensor:
        with autocast(precision, device):
            return to_uint8(decoder(noise_for(keys, (z,), device), own.to(device)))

    return in_chunks(draw, labels, seeds, 512)


def in_chunks(
    draw: Callable[[Tensor, Tensor], Tensor], labels: Tensor, seeds: Tensor, chunk: int
) -> Tensor:
    """Images of `draw(labels, seeds)`, a chunk at a time, on the CPU.

    Each chunk is filled up to a multiple of 16 with its first row: matrix products of other heights
    take other kernels, whose rounding would make an image depend on its company.
    """
    parts = []
    for own, keys in zip(labels.split(chunk), seeds.split(chunk), strict=True):
        n = len(own)
        fill = torch.zeros(-n % 16, dtype=torch.int64)
        own, keys = torch.cat([own, own[fill]]), torch.cat([keys, keys[fill]])
        parts.append(draw(own, keys)[:n].cpu())
    return torch.cat(parts)
