"""Parts that generators share: a convolutional decoder, drawing in chunks, a GAN's loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import to_uint8
from augment.runtime.seeds import noise_for
from augment.training.precision import autocast

LN2 = math.log(2)  # `binary_loss` of a discriminator that cannot tell


def doublings(height: int, width: int) -> int:
    """How often the decoder doubles its grid: from 2×2 for 8×8, 7×7 for 28×28, 8×8 for 64×64."""
    return 2 if max(height, width) <= 32 else 3


def normalise(x: Tensor, groups: int = 1) -> Tensor:
    """Group norm without weights: mean 0, variance 1 over each image's indices and channel group.

    Written as a layer norm of channels-last memory, which is several times as fast there as the
    group norm of torch, forward and backward. No batch statistics: images stay apart.
    """
    x = x.permute(0, 2, 3, 1)
    if groups == 1:
        return layer_norm(x, 1).permute(0, 3, 1, 2)
    x = x.unflatten(3, (groups, -1)).permute(0, 3, 1, 2, 4).contiguous()  # [B, G, H, W, C / G]
    return layer_norm(x, 2).permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)


def layer_norm(x: Tensor, first: int) -> Tensor:
    """Layer norm over the axes from `first` on, in the precision of x, as autocast has it on a CPU.

    On a GPU it would make fp32 of it, and of all that follows up to the next convolution.
    """
    if not x.is_cuda:
        return F.layer_norm(x, x.shape[first:])
    with torch.autocast("cuda", enabled=False):
        return F.layer_norm(x, x.shape[first:])


class Normalised(nn.Module):
    """`normalise` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return normalise(x)


class Conditioned(nn.Module):
    """Convolve, unfold channels to twice the sides, normalise, scale by the class (FiLM)."""

    def __init__(self, channels: int, out: int, n_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * out, 3, padding=1)
        self.film = nn.Embedding(n_classes, 2 * out)
        nn.init.zeros_(self.film.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        x = normalise(F.pixel_shuffle(self.conv(x), 2), groups=8)
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
    decoder: nn.Module,
    z: int,
    shape: tuple[int, int, int],
    labels: Tensor,
    seeds: Tensor,
    device: torch.device,
    precision: str,
) -> Tensor:
    """One picture a label and seed: [N], [N] → [N, C, H, W] uint8 on the CPU."""

    def draw(own: Tensor, keys: Tensor) -> Tensor:
        with autocast(precision, device):
            return to_uint8(decoder(noise_for(keys, (z,), device), own.to(device)))

    return in_chunks(draw, labels, seeds, rows_at_once(shape, device))


def rows_at_once(shape: tuple[int, int, int], device: torch.device) -> int:
    """Images in every network call of sampling, for images [C, H, W]; fast and small in memory.

    On two CPU cores 128 was within a tenth of the best of 16 … 512 for most networks at 8 to 32
    pixels a side, 32 at 64. On a GPU as many as a stage draws between two signs of life.
    """
    most, pixels = (128, 2**17) if device.type == "cpu" else (512, 2**19)
    return min(most, max(1, pixels // (shape[1] * shape[2])))


def in_chunks(
    draw: Callable[[Tensor, Tensor], Tensor], labels: Tensor, seeds: Tensor, rows: int
) -> Tensor:
    """Images of `draw(labels, seeds)`, always `rows` at a time, on the CPU.

    The last chunk is filled up with its first row: matrix products of other heights take other
    kernels, whose rounding would make an image depend on its company.
    """
    parts = []
    for own, keys in zip(labels.split(rows), seeds.split(rows), strict=True):
        n = len(own)
        fill = torch.zeros(rows - n, dtype=torch.int64)
        own, keys = torch.cat([own, own[fill]]), torch.cat([keys, keys[fill]])
        parts.append(draw(own, keys)[:n].cpu())
    return torch.cat(parts)


def binary_loss(chance: Tensor, real: bool) -> Tensor:
    """Mean binary cross-entropy of chances of being real, against what is wanted of them."""
    with torch.autocast(chance.device.type, enabled=False):  # torch refuses it in bf16
        return F.binary_cross_entropy(chance.float(), torch.full_like(chance, real).float())
