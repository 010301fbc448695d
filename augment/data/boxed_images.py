"""Boxed images: pictures with labelled boxes, what a detector learns from.

The boxes of a picture are rows of one tensor, padded, so that a batch is taken by indexing, as of
labelled images, and the training loop is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from augment.data.images import ImageShape, LabelledImages

NO_BOX = -1.0  # class of a row that pads


@dataclass(frozen=True)
class BoxedImages:
    """Pictures of one shape with their boxes, whole in memory; checked when it is built."""

    images: Tensor  # [N, C, H, W] uint8
    labels: Tensor  # [N, B, 5] float32: class, xmin, ymin, xmax, ymax in pixels; NO_BOX: padding
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be [N, C, H, W] uint8, not {self.images.shape}")
        shape = self.labels.shape
        if len(shape) != 3 or shape[0] != len(self.images) or shape[2] != 5:
            raise ValueError(f"labels must be [{len(self.images)}, B, 5] float32, not {shape}")
        if self.labels.dtype != torch.float32:
            raise ValueError(f"labels must be float32, not {self.labels.dtype}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> ImageShape:
        """(C, H, W) of each picture."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def select(self, index: Tensor | Sequence[int]) -> BoxedImages:
        """Select the pictures at these indices (or under this boolean mask), in that order."""
        # an empty list would become float32, which cannot index
        index = torch.as_tensor(index, dtype=None if len(index) else torch.int64)
        return BoxedImages(self.images[index], self.labels[index], self.classes)

    def to(self, device: torch.device) -> BoxedImages:
        """Copy pictures and boxes to a device."""
        return BoxedImages(self.images.to(device), self.labels.to(device), self.classes)

    def padded(self, n: int) -> BoxedImages:
        """Pad the boxes of each picture to n rows."""
        more = self.labels.new_zeros(len(self), n - self.labels.shape[1], 5)
        more[..., 0] = NO_BOX
        return BoxedImages(self.images, torch.cat([self.labels, more], 1), self.classes)

    def label_text(self, index: int) -> str:
        """Name the classes of a picture's boxes with their numbers: "2 cat, 1 dog"."""
        counts = self.select([index]).counts().tolist()
        return ", ".join(f"{n} {name}" for n, name in zip(counts, self.classes, strict=True) if n)

    def draw_order(self) -> Tensor:
        """Order in which draws pick pictures: as they stand. [N] int64."""
        return torch.arange(len(self))

    def example_labels(self, n: int) -> Tensor:
        """Make a box in the middle of each of n pictures, of classes in turn: [n, 1, 5]."""
        _, height, width = self.shape
        box = torch.tensor([0, width / 4, height / 4, 3 * width / 4, 3 * height / 4])
        labels = box.repeat(n, 1, 1)
        labels[:, 0, 0] = torch.arange(n) % len(self.classes)
        return labels

    def counts(self) -> Tensor:
        """Count the boxes of each class: [K] int64."""
        classes = self.labels[..., 0].cpu().long().flatten()
        return torch.bincount(classes[classes >= 0], minlength=len(self.classes))

    @cached_property
    def sha(self) -> str:
        """SHA-256 of pixels, boxes and class names: two sets with one `sha` are the same data."""
        digest = hashlib.sha256(repr((tuple(self.images.shape), self.classes, "boxes")).encode())
        digest.update(self.images.cpu().contiguous().numpy().data)
        digest.update(self.labels.cpu().contiguous().numpy().data)
        return digest.hexdigest()


AnyImages = LabelledImages | BoxedImages  # what a learner learns from
