"""Labelled images: uint8 at rest, float in models, converted here and nowhere else.

A set is one tensor: no loader, no workers. A large one is mapped from a file (`mapped`).
Grey images have C = 1, colour ones C = 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.data.pictures.mapped import Mapped, take

ImageShape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class LabelledImages:
    """Images with a class each, in memory or mapped from a file; checked when it is built."""

    images: Tensor  # [N, C, H, W] uint8
    labels: Tensor  # [N] int64, indices into classes; -1: unlabelled
    classes: tuple[str, ...]
    mapped: Mapped | None = None  # where the images are mapped from; None: they are in memory

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be [N, C, H, W] uint8, not {self.images.shape}")
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != torch.int64:
            raise ValueError(f"labels must be [{len(self.images)}] int64, not {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> ImageShape:
        """(C, H, W) of each image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def select(self, index: Tensor | Sequence[int]) -> LabelledImages:
        """Select the images at these indices (or under this boolean mask), in that order."""
        # an empty list would become float32, which cannot index
        index = torch.as_tensor(index, dtype=None if len(index) else torch.int64)
        images, mapped = take(self.images, self.mapped, index)
        return LabelledImages(images, self.labels[index], self.classes, mapped)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out pixels that lie in a file: another process maps them itself."""
        return self.__dict__ | ({"images": None} if self.mapped else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the pixels again."""
        mapped = state["mapped"]
        self.__dict__.update(state | ({"images": mapped.open()} if mapped else {}))

    def to(self, device: torch.device) -> LabelledImages:
        """Copy the images to a device; on the CPU they stay where they are."""
        if device.type == "cpu" and self.mapped:
            return self
        return LabelledImages(self.images.to(device), self.labels.to(device), self.classes)

    def label_text(self, index: int) -> str:
        """Name the class of an image."""
        return self.classes[int(self.labels[index])]

    def draw_order(self) -> Tensor:
        """Order in which draws pick images: by class. [N] int64."""
        return self.labels.cpu().argsort(stable=True)

    def example_labels(self, n: int) -> Tensor:
        """Make labels of n images: pairs, so that a generator with a model a class meets two."""
        return torch.arange(n) // 2 % len(self.classes)

    def counts(self) -> Tensor:
        """Count the images of each class: [K] int64."""
        return torch.bincount(self.labels.cpu(), minlength=len(self.classes))

    @cached_property
    def indices(self) -> list[Tensor]:
        """Indices of the images of each class, ascending: K tensors [n_k] int64."""
        return [(self.labels == label).nonzero().flatten() for label in range(len(self.classes))]

    @cached_property
    def sha(self) -> str:
        """SHA-256 of pixels, labels and class names: two sets with one `sha` are the same data."""
        digest = hashlib.sha256(repr((tuple(self.images.shape), self.classes)).encode())
        # a view of the pixels, not a copy: the data may fill most of the memory
        digest.update(self.images.cpu().contiguous().numpy().data)
        digest.update(self.labels.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    @classmethod
    def blank(cls, n: int, shape: Sequence[int], classes: Sequence[str]) -> LabelledImages:
        """Make black images with classes in turn: a network can be built for them, without data."""
        labels = torch.arange(n) % len(classes)
        return cls(torch.zeros(n, *shape, dtype=torch.uint8), labels, tuple(classes))


def images_at_once(shape: Sequence[int], most: int = 512) -> int:
    """Return how many images [..., H, W] a network sees at once: its memory goes with the pixels.

    Up to 32 pixels a side `most`, and as many pixels of larger ones.
    """
    return min(most, max(1, most * 32**2 // (shape[-2] * shape[-1])))


def to_float(images: Tensor) -> Tensor:
    """Convert uint8 [0, 255] → float32 [-1, 1]."""
    return images.float().div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Convert float [-1, 1] → uint8 [0, 255], rounded; values outside are clipped."""
    return images.float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def pad_sides(images: Tensor, multiple: int) -> Tensor:
    """Pad both sides to a multiple of `multiple` by repeating the edge, to the right and below."""
    height, width = images.shape[-2:]  # [N, C, H, W]
    down, right = -height % multiple, -width % multiple
    return F.pad(images, (0, right, 0, down), mode="replicate") if down or right else images


def resize(images: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Resize [N, C, H, W] uint8 to a side or to (H, W), antialiased; nothing is cropped."""
    sides = (size, size) if isinstance(size, int) else size
    if images.shape[-2:] == sides:
        return images
    chunks = [
        F.interpolate(part.float(), sides, mode="bilinear", antialias=True)
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for part in images.split(1024)  # float32 takes four times the room: never of all at once
    ]
    return torch.cat(chunks)


def pixel_hashes(images: Tensor) -> list[bytes]:
    """Hash each image's pixels to 16 bytes; equal hashes mean equal images."""
    flat = images.contiguous().numpy().reshape(len(images), -1)
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in flat]
