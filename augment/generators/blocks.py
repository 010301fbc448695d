"""Parts that generators share: a convolutional decoder, sampling in chunks, a GAN's loss.

A sample depends on its label and its seed alone: neither the device nor the batch changes image k.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import ImageShape, to_uint8
from augment.runtime.device import to_device
from augment.runtime.seeds import noise_for
from augment.training.precision import autocast

LN2 = math.log(2)  # `binary_loss` of a discriminator that cannot tell


def generator_edition(shape: ImageShape) -> int | None:
    """Return the edition of the generators of images [C, H, W]; None: as they were in 0.3.0.

    Raised when they change for images of some sizes, so that those are trained again.
    """
    return 2 if max(shape[1:]) > 32 else None  # 2: `cascade`, and more grid_doublings above 64


def grid_doublings(height: int, width: int) -> int:
    """Count how often the decoder doubles its grid: from 2×2 for 8×8, 7×7 for 28×28, 8×8 for 64×64.

    Encoders and discriminators halve the sides as often, so that no lowest grid is above 8×8.
    """
    return max(2, (max(height, width) - 1).bit_length() - 3)


def level_widths(width: int, ups: int) -> list[int]:
    """Return the channels of the decoder's grids, the lowest first: e.g. 4w, 2w, w.

    Above 64 pixels each doubling halves them, so that a grid of 128 costs as much as one of 64.
    """
    return [max(8, int(width * 2.0 ** min(2, min(ups, 3) - i))) for i in range(ups + 1)]


def normalise(x: Tensor, groups: int = 1) -> Tensor:
    """Apply group norm without weights: mean 0, variance 1 per image and group of channels.

    x is [N, C, H, W]. Written as a layer norm of channels-last memory, which is several times as
    fast there as the group norm of torch, forward and backward. No batch statistics: images are
    independent of each other.
    """
    x = x.permute(0, 2, 3, 1)  # [N, H, W, C]
    if groups == 1:
        return _layer_norm(x, 1).permute(0, 3, 1, 2)
    x = x.unflatten(3, (groups, -1)).permute(0, 3, 1, 2, 4).contiguous()  # [N, G, H, W, C / G]
    return _layer_norm(x, 2).permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)


def _layer_norm(x: Tensor, first: int) -> Tensor:
    """Apply layer norm over the axes from `first` on, in the precision of x.

    So does autocast on a CPU. On a GPU it would compute in fp32, and leave in fp32 all that follows
    up to the next convolution.
    """
    if not x.is_cuda:
        return F.layer_norm(x, x.shape[first:])
    with torch.autocast("cuda", enabled=False):
        return F.layer_norm(x, x.shape[first:])


class Normalise(nn.Module):
    """`normalise` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return normalise(x)


class FiLMUpsample(nn.Module):
    """Convolution, pixel shuffle to twice the sides, group norm, FiLM by the class.

    FiLM (Perez et al. 2018): the class gives each channel a scale and a bias.
    """

    def __init__(self, channels: int, out: int, n_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * out, 3, padding=1)
        self.film = nn.Embedding(n_classes, 2 * out)
        nn.init.zeros_(self.film.weight)  # all classes start alike: scale 1, bias 0

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        x = normalise(F.pixel_shuffle(self.conv(x), 2), groups=8)  # [B, out, 2H, 2W]
        scale, bias = self.film(labels)[:, :, None, None].chunk(2, 1)  # [B, out, 1, 1] each
        return F.silu(x * (1 + scale) + bias)


class Decoder(nn.Module):
    """(z [B, Z], labels [B]) → images [B, C, H, W] in [-1, 1]; sides are cropped to H × W."""

    def __init__(self, z: int, width: int, shape: ImageShape, n_classes: int) -> None:
        super().__init__()
        channels, *self.sides = shape
        ups = grid_doublings(*self.sides)
        # the lowest grid, rounded up, so that the doubled sides reach H and W
        self.base = (-(-self.sides[0] // 2**ups), -(-self.sides[1] // 2**ups))
        widths = level_widths(width, ups)
        self.label = nn.Embedding(n_classes, z)
        self.enter = nn.Linear(2 * z, widths[0] * self.base[0] * self.base[1])
        pairs = itertools.pairwise(widths)
        self.ups = nn.ModuleList(FiLMUpsample(a, b, n_classes) for a, b in pairs)
        self.leave = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        x = self.enter(torch.cat([z, self.label(labels)], 1)).unflatten(1, (-1, *self.base))
        # convolutions and `normalise` are fastest in this layout
        x = x.contiguous(memory_format=torch.channels_last)
        for up in self.ups:
            x = up(x, labels)
        # [B, C, base × 2^ups] cropped
        return self.leave(x).tanh()[..., : self.sides[0], : self.sides[1]]


class LatentModel(Protocol):
    """A generator that samples by decoding normal noise z [N, Z]."""

    z: int
    shape: ImageShape
    device: torch.device
    precision: str


@torch.inference_mode()
def sample_decoder(model: LatentModel, decoder: nn.Module, labels: Tensor, seeds: Tensor) -> Tensor:
    """Decode one image for each label and seed: [N], [N] → [N, C, H, W] uint8 on the CPU."""

    def sample_chunk(chunk_labels: Tensor, chunk_seeds: Tensor) -> Tensor:
        with autocast(model.precision, model.device):
            z = noise_for(chunk_seeds, (model.z,), model.device)
            return to_uint8(decoder(z, to_device(chunk_labels, model.device)))

    return in_chunks(sample_chunk, labels, seeds, images_per_call(model.shape, model.device))


def images_per_call(shape: ImageShape, device: torch.device) -> int:
    """Return how many images [C, H, W] to sample in one network call: fast, small in memory.

    On two CPU cores 128 was within a tenth of the best of 16 … 512 for most networks at 8 to 32
    pixels a side, 32 at 64. On a GPU as many as a stage samples between two progress reports.
    """
    most, pixels = (128, 2**17) if device.type == "cpu" else (512, 2**19)
    return min(most, max(1, pixels // (shape[1] * shape[2])))


def in_chunks(
    sample_chunk: Callable[[Tensor, Tensor], Tensor], labels: Tensor, seeds: Tensor, rows: int
) -> Tensor:
    """Sample with `sample_chunk(labels, seeds)`, exactly `rows` at a time; images on the CPU.

    The last chunk is filled up with its first row: matrix products of other heights take other
    kernels, whose rounding would make an image depend on the others of its chunk.
    """
    parts = []
    for chunk_labels, chunk_seeds in zip(labels.split(rows), seeds.split(rows), strict=True):
        n = len(chunk_labels)
        fill = torch.zeros(rows - n, dtype=torch.int64)  # index 0: the first row again
        chunk_labels = torch.cat([chunk_labels, chunk_labels[fill]])
        chunk_seeds = torch.cat([chunk_seeds, chunk_seeds[fill]])
        # not moved yet: a GPU computes this chunk while the noise of the next is drawn on the CPU
        parts.append(sample_chunk(chunk_labels, chunk_seeds)[:n])
    return torch.cat(parts).cpu()


def binary_loss(probability: Tensor, real: bool) -> Tensor:
    """Return the mean binary cross-entropy of probabilities of being real, for one target."""
    with torch.autocast(probability.device.type, enabled=False):  # torch refuses it in bf16
        target = torch.full_like(probability, real).float()
        return F.binary_cross_entropy(probability.float(), target)
