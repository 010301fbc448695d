"""Networks of reference system B, as the report gives them for 28×28 pixels.

Sides other than 28 are padded to a multiple of 4 before a network and cropped after it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import ImageShape


def _lowest_grid(shape: ImageShape) -> tuple[int, int]:
    """Return a quarter of the sides, at least 3: where G starts and D ends, 7×7 for 28×28."""
    return max(3, -(-shape[1] // 4)), max(3, -(-shape[2] // 4))


class MnistGenerator(nn.Module):
    """(z [B, Z], labels [B]) → images [B, C, H, W] in [-1, 1].

    The label's embedding is multiplied with z; with `label_size` it is that long and concatenated
    with z instead. Without classes the labels are ignored.
    """

    def __init__(
        self,
        z: int,
        shape: ImageShape,
        n_classes: int = 0,
        label_size: int = 0,
        norm: Any = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.sides, self.label_size = shape[1:], label_size
        rows, columns = _lowest_grid(shape)
        self.label = nn.Embedding(n_classes, label_size or z) if n_classes else None
        self.body = nn.Sequential(
            nn.Linear(z + label_size, 256 * rows * columns),
            nn.Unflatten(1, (256, rows, columns)),
            nn.ConvTranspose2d(256, 128, 3, 2, 1, 1),  # 7×7 to 14×14
            norm(128),
            nn.LeakyReLU(),
            nn.ConvTranspose2d(128, 64, 3, 1, 1),
            norm(64),
            nn.LeakyReLU(),
            nn.ConvTranspose2d(64, shape[0], 3, 2, 1, 1),  # 14×14 to 28×28
            nn.Tanh(),
        )

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        if self.label is not None:
            embedding = self.label(labels)
            z = torch.cat([z, embedding], 1) if self.label_size else z * embedding
        # [B, C, 4 rows, 4 columns] cropped
        return self.body(z)[..., : self.sides[0], : self.sides[1]]


class MnistEncoder(nn.Module):
    """(images, labels) → [B, outputs]; the label's embedding is one more channel of the image."""

    def __init__(
        self, outputs: int, shape: ImageShape, n_classes: int = 0, norm: Any = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        rows, columns = _lowest_grid(shape)
        self.sides = (4 * rows, 4 * columns)  # that images are padded to
        self.label = nn.Embedding(n_classes, 16 * rows * columns) if n_classes else None
        self.body = nn.Sequential(
            nn.Conv2d(shape[0] + bool(n_classes), 64, 3, 2, 1),
            nn.LeakyReLU(),
            nn.Conv2d(64, 64, 3, 2, 1),
            norm(64),
            nn.LeakyReLU(),
            nn.Conv2d(64, 128, 3, 2),
            norm(128),
            nn.LeakyReLU(),
            nn.Flatten(),
            # two strides with padding, one without: a 3×3 map of 28×28
            nn.Linear((rows - 1) // 2 * ((columns - 1) // 2) * 128, outputs),
        )

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        # to the right and below, the edge repeated
        margins = (0, self.sides[1] - images.shape[3], 0, self.sides[0] - images.shape[2])
        x = F.pad(images, margins, mode="replicate") if any(margins) else images
        if self.label is not None:
            x = torch.cat([x, self.label(labels).unflatten(1, (1, *self.sides))], 1)
        return self.body(x.contiguous(memory_format=torch.channels_last))


class MnistDiscriminator(nn.Module):
    """(images, labels) → probability of being real, [B, 1]."""

    def __init__(self, shape: ImageShape, n_classes: int) -> None:
        super().__init__()
        self.reader, self.squash = MnistEncoder(1, shape, n_classes), nn.Sigmoid()

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.squash(self.reader(images, labels))
