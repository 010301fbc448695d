"""The principal components of patches: an autoencoder of the labelled images alone, of one second.

Of all linear ones it loses least (Baldi & Hornik 1989). Convolutions trained on as few pictures for
half a minute lost two to five times as much; added to it they blurred what is drawn.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import LabelledImages, pad_sides, to_float
from augment.generators.detail import GRID, ROUNDING

LEAST_COMPONENTS = 4
MOST_IMAGES, AT_ONCE = 512, 16  # that they are measured on, in all and at once


class Components(nn.Module):
    """Images [B, C, H, W] ↔ latents [B, c, H / factor, W / factor], an `Autoencoder`.

    The latents are a quarter as many numbers as grey pixels, each of deviation 1.
    """

    def __init__(self, data: LabelledImages) -> None:
        super().__init__()
        channels, *sides = data.shape
        self.in_channels = channels
        self.factor = max(2, 2 ** (-(-max(sides) // GRID) - 1).bit_length())
        self.latent_channels = max(LEAST_COMPONENTS, self.factor**2 // 4)
        mean, variances, vectors = self._principal(data.images)
        self.mean: Tensor  # [C × factor², 1, 1] of a patch
        self.register_buffer("mean", mean[:, None, None].float())
        self.components: Tensor  # [C × factor², c] orthonormal, in columns
        self.register_buffer("components", vectors.float())
        self.deviation: Tensor  # [c, 1, 1]
        deviation = variances.clamp(min=0).sqrt().clamp(min=ROUNDING)
        self.register_buffer("deviation", deviation[:, None, None].float())

    def _principal(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, variances [c] and principal components [*, c] of the patches of images."""
        size = images.shape[1] * self.factor**2
        sums, products, n = torch.zeros(size).double(), torch.zeros(size, size).double(), 0
        for part in images[:: -(-len(images) // MOST_IMAGES)].cpu().split(AT_ONCE):
            patches = F.pixel_unshuffle(pad_sides(to_float(part), self.factor), self.factor)
            flat = patches.double().permute(0, 2, 3, 1).flatten(0, 2)  # [patches, size]
            sums, products, n = sums + flat.sum(0), products + flat.T @ flat, n + len(flat)
        mean = sums / n
        variances, vectors = torch.linalg.eigh(products / n - mean[:, None] * mean)
        vectors = vectors.flip(1)[:, : self.latent_channels]
        # either sign is right: the one whose largest entry is positive
        vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        return mean, variances.flip(0)[: self.latent_channels], vectors

    @property
    def device(self) -> torch.device:
        """Where the components are."""
        return self.mean.device

    def encode(self, images: Tensor) -> Tensor:
        """Return the latents of images whose sides are multiples of the factor."""
        patches = F.pixel_unshuffle(images, self.factor) - self.mean
        return torch.einsum("nc,bnhw->bchw", self.components, patches) / self.deviation

    def decode(self, latents: Tensor) -> Tensor:
        """Return the images of latents."""
        patches = torch.einsum("nc,bchw->bnhw", self.components, latents * self.deviation)
        return F.pixel_shuffle(patches + self.mean, self.factor)
