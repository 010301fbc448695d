"""Images above 32 pixels a side as a small image and its detail.

An image is a sum of cosine waves. Those that 32 pixels a side can hold are a small image; the
others are its detail, each divided by its deviation in the class. `cascade` has the networks.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import ImageShape, LabelledImages, pad_sides, to_float, to_uint8
from augment.generators.spectrum import (
    IMAGES_AT_ONCE,
    colour_components,
    cosines,
    distances,
    mean_by_distance,
)

SMALL_SIDE = 32  # pixels of the longer side of a small image
ROUNDING = 1 / 127.5 / 12**0.5  # deviation of what rounding to grey levels adds to a wave
LEAST_POWER = 1e-6  # of detail, whose deviation is 1 on average
MOST_CONTRAST = 2.0  # its logarithm, up or down
GRID = 16  # patches at most that the longer side is folded into


def small_shape(shape: ImageShape) -> ImageShape:
    """Return the shape [C, h, w] of the small image of images [C, H, W]: at most 32 pixels long."""
    channels, *sides = shape
    longest = max(*sides, SMALL_SIDE)
    height, width = (max(1, round(side * SMALL_SIDE / longest)) for side in sides)
    return channels, height, width


class Waves(nn.Module):
    """Images [B, C, H, W] in [-1, 1] ↔ their waves [B, C, H', W'], the small image's and others.

    H' and W' are the sides padded to a multiple of what the network halves and folds.
    """

    def __init__(self, data: LabelledImages, levels: int) -> None:
        super().__init__()
        self.sides = data.shape[1:]
        self.fold = 2 ** max(0, (max(self.sides) - 1).bit_length() - GRID.bit_length() + 1)
        self.multiple = self.fold * 2 ** (levels - 1)
        height, width = (side + -side % self.multiple for side in self.sides)
        self.shape: ImageShape = (data.shape[0], height, width)  # of the waves of an image
        self.small: ImageShape = small_shape(self.shape)
        self.mean: Tensor  # [C, 1, 1]
        self.colours: Tensor  # [C, C] orthonormal: components in its columns
        self.deviation: Tensor  # [K, C, R] of the waves of a class, by their bin
        self.scale: Tensor  # [C, R] that `seen` divides waves of the small image by
        mean, colours = colour_components(data)
        self.register_buffer("mean", mean.float()[:, None, None])
        self.register_buffer("colours", colours.float())
        self.down: Tensor  # [H', H'] and, below, cosine transforms of the other sides
        self.across: Tensor
        self.small_down: Tensor
        self.small_across: Tensor
        matrices = dict(down=height, across=width, small_down=self.small[1])
        for name, side in (matrices | dict(small_across=self.small[2])).items():
            self.register_buffer(name, cosines(side).float(), persistent=False)
        self.bins: Tensor  # [H', W']
        self.register_buffer("bins", distances(height, width), persistent=False)
        self.high: Tensor  # [H', W']: 1 where a wave belongs to the detail
        high = torch.ones(height, width)
        high[: self.small[1], : self.small[2]] = 0
        self.register_buffer("high", high, persistent=False)
        self.grain: Tensor  # [K, C] log power of the finest waves of a class's small images
        self.slope: Tensor  # [C] of the log power of the detail over that of the finest waves
        self.register_buffer("grain", torch.zeros(len(data.classes), data.shape[0]))
        self.register_buffer("slope", torch.zeros(data.shape[0]))
        self.register_buffer("deviation", self._deviations(data)[0].float())
        self._learn_contrast(data)
        deviation, together = self._deviations(data)
        self.deviation.copy_(deviation)
        # waves of a small image differ most in size: half way to one size, as `whitening` 0.5
        low = together[:, self.bins][:, high == 0]  # [C, h × w]
        self.register_buffer("scale", (together * low.mean()).sqrt().float())

    def _deviations(self, data: LabelledImages) -> tuple[Tensor, Tensor]:
        """Measure the deviation of each class's waves [K, C, R], and of all together [C, R]."""
        k, n = len(data.classes), int(data.labels.max()) + 1
        power = torch.zeros(n, self.shape[0], int(self.bins.max()) + 1, dtype=torch.float64)
        for waves, own in self._parts(data):
            detail = waves * self.high / self.contrast(waves, own)
            even = waves * (1 - self.high) + detail
            power.index_add_(0, own, mean_by_distance(even.double().square()))
        together = (power.sum(0) / len(data)).sqrt().clamp(min=ROUNDING)
        counts = data.labels.cpu().bincount(minlength=n).clamp(min=1)
        alone = (power / counts[:, None, None]).sqrt().clamp(min=ROUNDING)
        # classes without images are those of transformed ones: k + n is k
        return alone[torch.arange(k) % n], together

    def _learn_contrast(self, data: LabelledImages) -> None:
        """Learn how the power of the detail follows that of the finest waves of a small image.

        Within a class, logarithms of both: a regression through the means of the classes.
        """
        n = int(data.labels.max()) + 1
        pairs = [
            (self._grain(waves), self.detail(waves, own).square().sum((2, 3)), own)
            for waves, own in self._parts(data)
        ]
        grain, power, own = (torch.cat(column) for column in zip(*pairs, strict=True))
        power = (power / self.high.sum()).clamp(min=LEAST_POWER).log()
        counts = own.bincount(minlength=n).clamp(min=1)[:, None]
        means = [torch.zeros(n, x.shape[1]).index_add_(0, own, x) / counts for x in (grain, power)]
        x, y = (part - mean[own] for part, mean in zip((grain, power), means, strict=True))
        self.slope.copy_(((x * y).sum(0) / x.square().sum(0).clamp(min=1e-6)).clamp(0, 1))
        self.grain.copy_(means[0][torch.arange(len(self.grain)) % n])

    def _parts(self, data: LabelledImages) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the waves of some images at a time, and their labels."""
        labels = data.labels.cpu().split(IMAGES_AT_ONCE)
        for part, own in zip(data.images.cpu().split(IMAGES_AT_ONCE), labels, strict=True):
            yield self.of_images(to_float(part)), own

    def _grain(self, waves: Tensor) -> Tensor:
        """Return the log power of the finest waves of small images: [B, C, H', W'] → [B, C]."""
        height, width = self.small[1:]
        coarse = waves[..., : (height + 1) // 2, : (width + 1) // 2].square().sum((2, 3))
        fine = waves[..., :height, :width].square().sum((2, 3)) - coarse
        n = height * width - ((height + 1) // 2) * ((width + 1) // 2)
        return (fine / n).clamp(min=ROUNDING**2).log()

    def contrast(self, waves: Tensor, labels: Tensor) -> Tensor:
        """Return the size of the detail expected of small images, 1 for those of middling grain.

        Waves [B, C, H', W'] and labels [B] → [B, C, 1, 1]. A dull picture has little detail, which
        its small image tells: on steel surfaces the logarithms of both correlate at 0.7 to 0.98.
        """
        log = self.slope * (self._grain(waves) - self.grain[labels]) / 2
        return log.clamp(-MOST_CONTRAST, MOST_CONTRAST).exp()[:, :, None, None]

    def of_images(self, images: Tensor) -> Tensor:
        """Return the waves of the colour components of images: [B, C, H, W] → [B, C, H', W']."""
        x = pad_sides(images, self.multiple) - self.mean
        return self.down @ torch.einsum("ck,bchw->bkhw", self.colours, x) @ self.across.T

    def to_images(self, waves: Tensor) -> Tensor:
        """Undo `of_images`."""
        x = torch.einsum("ck,bkhw->bchw", self.colours, self.down.T @ waves @ self.across)
        return (x + self.mean)[..., : self.sides[0], : self.sides[1]]

    def to_small(self, waves: Tensor) -> Tensor:
        """Return the small images of waves: [B, C, H', W'] → [B, C, h, w]."""
        low = waves[..., : self.small[1], : self.small[2]] / self._enlargement
        x = self.small_down.T @ low @ self.small_across
        return torch.einsum("ck,bkhw->bchw", self.colours, x) + self.mean

    def of_small(self, small: Tensor) -> Tensor:
        """Return the waves of small images, without detail: [B, C, h, w] → [B, C, H', W']."""
        x = torch.einsum("ck,bchw->bkhw", self.colours, small - self.mean)
        low = self.small_down @ x @ self.small_across.T * self._enlargement
        right, below = self.shape[2] - self.small[2], self.shape[1] - self.small[1]
        return F.pad(low, (0, right, 0, below))

    @property
    def _enlargement(self) -> float:
        """Factor of a wave's size in an image over that in its small image."""
        return (self.shape[1] * self.shape[2] / (self.small[1] * self.small[2])) ** 0.5

    def small_images(self, data: LabelledImages) -> LabelledImages:
        """Return the small images of a set."""
        parts = data.images.cpu().split(IMAGES_AT_ONCE)
        small = [to_uint8(self.to_small(self.of_images(to_float(part)))) for part in parts]
        return LabelledImages(torch.cat(small), data.labels, data.classes)

    def detail(self, waves: Tensor, labels: Tensor) -> Tensor:
        """Return the detail of images of these classes, deviation 1: [B, C, H', W']."""
        return waves * self.high / self._size(waves, labels)

    def _size(self, waves: Tensor, labels: Tensor) -> Tensor:
        """Return the deviation expected of each wave of the detail: [B, C, H', W']."""
        return self.deviation[labels][:, :, self.bins] * self.contrast(waves, labels)

    def with_detail(self, waves: Tensor, detail: Tensor, labels: Tensor) -> Tensor:
        """Return the images of small images' waves and of detail: [B, C, H, W]."""
        return self.to_images(waves + detail * self.high * self._size(waves, labels))

    def seen(self, waves: Tensor) -> Tensor:
        """Return the waves of small images, deviation about 1, without detail."""
        return waves * (1 - self.high) / self.scale[:, self.bins]

    def fold_up(self, waves: Tensor) -> Tensor:
        """Return what a network sees of waves: [B, C × fold², H' / fold, W' / fold]."""
        folded = F.pixel_unshuffle(self.down.T @ waves @ self.across, self.fold)
        return folded.contiguous(memory_format=torch.channels_last)

    def unfold(self, folded: Tensor) -> Tensor:
        """Undo `fold_up`."""
        return self.down @ F.pixel_shuffle(folded, self.fold) @ self.across.T
