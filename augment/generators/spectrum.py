"""Images with an even spectrum: what a diffusion model sees instead of pixels.

Neighbouring pixels, and the colours of a pixel, are nearly alike: the power of a photograph falls
about with the square of the frequency (Field 1987). A network that predicts pixels has to cancel
their noise in full to get fine detail right, and what it leaves is speckle. Here each colour
component and each frequency is divided by (a power of) its own deviation, so that an error in a
weak one is scaled down on the way back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import LabelledImages, pad_sides, to_float

LEAST_DEVIATION = 1 / 127.5  # of a component that counts: one grey level, images in [-1, 1]
IMAGES_AT_ONCE = 64  # images in memory as float64 at once


class Spectrum(nn.Module):
    """Images [B, C, H, W] in [-1, 1] ↔ what the network sees, [B, C × fold², H / fold, W / fold].

    Sides are padded to `multiple`, and patches of `fold` pixels a side become channels. `whitening`
    is the power of its standard deviation that a component is divided by: at 0 pixels stay as they
    are, at 1 colours and frequencies all have deviation 1.
    """

    def __init__(self, data: LabelledImages, fold: int, multiple: int, whitening: float) -> None:
        super().__init__()
        self.fold, self.multiple, self.whitening = fold, multiple, whitening
        if not whitening:
            return
        mean, colours = colour_components(data)
        images = pad_sides(data.images[:1], multiple)
        self.mean: Tensor  # [C, 1, 1]
        self.colours: Tensor  # [C, C] orthonormal: components in its columns
        self.gain: Tensor  # [C, H, W] deviation of a component at each frequency, to the power
        self.down: Tensor  # [H, H] and
        self.across: Tensor  # [W, W]: cosine transforms
        self.register_buffer("mean", mean.float()[:, None, None])
        self.register_buffer("colours", colours.float())
        for name, side in (("down", images.shape[-2]), ("across", images.shape[-1])):
            self.register_buffer(name, cosines(side).float(), persistent=False)
        self.register_buffer("gain", torch.ones(images.shape[1:]))
        power, n = torch.zeros(images.shape[1:], dtype=torch.float64), len(data)
        for part in data.images.cpu().split(IMAGES_AT_ONCE):
            power += self._transform(pad_sides(to_float(part), multiple)).double().square().sum(0)
        deviation = even_out(power / n).sqrt().clamp(min=LEAST_DEVIATION)
        gain = deviation**whitening
        size = (deviation / gain).square().mean().sqrt()  # so that all together have deviation 1
        self.gain.copy_(gain * size)

    def _transform(self, images: Tensor) -> Tensor:
        """Return the coefficients of colour components at each frequency: [B, C, H, W]."""
        x = torch.einsum("ck,bchw->bkhw", self.colours, images - self.mean)
        return self.down @ x @ self.across.T

    def to_components(self, images: Tensor) -> Tensor:
        """Pad, even out the spectrum and fold."""
        images = pad_sides(images, self.multiple)
        if self.whitening:
            images = self.down.T @ (self._transform(images) / self.gain) @ self.across
        return F.pixel_unshuffle(images, self.fold)

    def to_images(self, components: Tensor) -> Tensor:
        """Undo `to_components`, but for the padding."""
        images = F.pixel_shuffle(components, self.fold)
        if self.whitening:
            x = self.down.T @ (self.down @ images @ self.across.T * self.gain) @ self.across
            images = torch.einsum("ck,bkhw->bchw", self.colours, x) + self.mean
        return images


def cosines(n: int) -> Tensor:
    """Return the orthonormal cosine transform (DCT-II) of n points: [n, n] float64."""
    k, x = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n) + 0.5
    rows = (math.pi / n * k * x).cos() * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows


def colour_components(data: LabelledImages) -> tuple[Tensor, Tensor]:
    """Return the mean colour [C] and the principal components of the colours [C, C], float64."""
    images = data.images.cpu()
    n = len(images) * images.shape[2] * images.shape[3]
    # sums of whole numbers: exact in any order
    sums = [part.sum(1, dtype=torch.int64) for part in _colours(images, 2**22)]
    total = torch.stack(sums).sum(0).double() / n
    covariance = torch.zeros(len(total), len(total), dtype=torch.float64)
    for part in _colours(images, 2**22):
        centred = part.double() - total[:, None]
        covariance += centred @ centred.T
    return total / 127.5 - 1, torch.linalg.eigh(covariance)[1]


def _colours(images: Tensor, n: int) -> Iterator[Tensor]:
    """Yield the colours of all pixels of [N, C, H, W], n at a time: [C, n]."""
    each = images.shape[2] * images.shape[3]
    for start in range(0, len(images) * each, n):
        first = start // each
        part = images[first : -(-(start + n) // each)]
        colours = part.transpose(0, 1).flatten(1)  # [C, M]
        yield colours[:, start - first * each :][:, :n]


def distances(height: int, width: int) -> Tensor:
    """Return how far each frequency is from zero, in bins: [H, W] int64."""
    down, across = torch.arange(height) / height, torch.arange(width) / width
    distance = (down[:, None].square() + across.square()).sqrt() * max(height, width)
    return distance.round().long()


def mean_by_distance(power: Tensor) -> Tensor:
    """Return the mean power [..., H, W] of the frequencies in each bin of `distances`: [..., R]."""
    bins = distances(*power.shape[-2:]).flatten()  # [H × W]
    sums = torch.zeros(*power.shape[:-2], int(bins.max()) + 1, dtype=power.dtype)
    sums.index_add_(-1, bins, power.flatten(-2))
    return sums / bins.bincount().clamp(min=1)


def even_out(power: Tensor) -> Tensor:
    """Replace the power [C, H, W] of each frequency by the mean of those as far from zero."""
    return mean_by_distance(power)[:, distances(*power.shape[1:])]
