"""Patches of pixels as decorrelated components: what a diffusion model sees instead of pixels.

The pixels of a patch, and the colours of a pixel, are nearly alike: what varies most is their mean,
and what makes speckle, their differences, is often fifty times smaller. A network that predicts
pixels has to cancel the noise of each in full to get the differences right. Principal components,
each divided by (a power of) its own deviation, are of one size; an error of the network in a small
one is scaled down on the way back.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import LabelledImages, pad_sides, to_float

LEAST_DEVIATION = 1 / 127.5  # of a component that counts: one grey level, images in [-1, 1]
IMAGES_AT_ONCE = 256  # images whose patches are in memory at once


class Patches(nn.Module):
    """Images [B, C, H, W] in [-1, 1] ↔ components [B, C × fold², H / fold, W / fold].

    Sides are padded to `multiple`. `whitening` is the power of its standard deviation that a
    component is divided by: at 0 all keep the scale of the pixels, at 1 all have the same.
    """

    def __init__(self, data: LabelledImages, fold: int, multiple: int, whitening: float) -> None:
        super().__init__()
        self.fold, self.multiple, self.whitening = fold, multiple, whitening
        if whitening:
            mean, basis, scale = principal_components(data, fold, multiple, whitening)
            self.mean: Tensor  # [P] of the folded pixels
            self.forwards: Tensor  # [P, P, 1, 1] pixels → components, as a 1×1 convolution
            self.backwards: Tensor  # [P, P, 1, 1] components → pixels
            self.register_buffer("mean", mean.float()[:, None, None])
            self.register_buffer("forwards", (basis / scale).T.float()[:, :, None, None])
            self.register_buffer("backwards", (basis * scale).float()[:, :, None, None])

    def to_components(self, images: Tensor) -> Tensor:
        """Pad, fold and decorrelate."""
        folded = F.pixel_unshuffle(pad_sides(images, self.multiple), self.fold)
        return F.conv2d(folded - self.mean, self.forwards) if self.whitening else folded

    def to_images(self, components: Tensor) -> Tensor:
        """Undo `to_components`, but for the padding."""
        folded = components
        if self.whitening:
            folded = F.conv2d(components, self.backwards) + self.mean
        return F.pixel_shuffle(folded, self.fold)


def principal_components(
    data: LabelledImages, fold: int, multiple: int, whitening: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean [P], orthonormal basis [P, P] and scale [P] of all patches, in float64."""
    total = moment = torch.zeros((), dtype=torch.float64)
    n = 0
    for part in data.images.cpu().split(IMAGES_AT_ONCE):
        folded = F.pixel_unshuffle(pad_sides(to_float(part), multiple), fold).double()
        rows = folded.permute(0, 2, 3, 1).flatten(0, 2)  # [M, P]
        total, moment, n = total + rows.sum(0), moment + rows.T @ rows, n + len(rows)
    mean = total / n
    variance, basis = torch.linalg.eigh(moment / n - mean.outer(mean))
    scale = variance.clamp(min=LEAST_DEVIATION**2).sqrt() ** whitening
    return mean, basis, scale
