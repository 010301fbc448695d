"""COMPOSITIONS: what is made of a whole batch, labels included; one draw an image.

Each takes float images [B, C, H, W] in [-1, 1], labels [B] int64 (-1: unlabelled), the number of
classes K and a torch.Generator; labels come back as [B] int64 or, of mixed classes, [B, K] float.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.transforms.autoaugment import erasing, randaugment, rectangle
from augment.transforms.geometric import uniform

Composition = Callable[[Tensor, Tensor, int, torch.Generator], tuple[Tensor, Tensor]]


def partners(n: int, rng: torch.Generator) -> Tensor:
    """[n]: whom each image of a batch meets."""
    return torch.randperm(n, generator=rng, device=rng.device)


def shared(labels: Tensor, other: Tensor, own: Tensor, k: int) -> Tensor:
    """[B, K]: the share `own` [B] of each label, the rest of its partner's."""
    first, second = F.one_hot(labels, k).float(), F.one_hot(labels[other], k).float()
    return own[:, None] * first + (1 - own[:, None]) * second


def mixup(images: Tensor, labels: Tensor, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sums of two images, shares from Beta(1, 1) (Zhang et al. 2018, as on CIFAR-10)."""
    other, own = partners(len(images), rng), uniform(len(images), 0, 1, rng)
    weight = own[:, None, None, None]
    return weight * images + (1 - weight) * images[other], shared(labels, other, own, k)


def cutmix(images: Tensor, labels: Tensor, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """In every other image a rectangle of another, its share from Beta(1, 1) (Yun et al. 2019)."""
    n, _, height, width = images.shape
    other, side = partners(n, rng), uniform(n, 0, 1, rng).sqrt()
    side = side * (uniform(n, 0, 1, rng) < 0.5)
    top, left = (uniform(n, 0, 1, rng) - side / 2 for _ in range(2))
    inside = rectangle(top, left, side, side, height, width)
    own = 1 - inside.float().mean((1, 2, 3))  # what the border cut off counts
    return torch.where(inside, images[other], images), shared(labels, other, own, k)


def compose(images: Tensor, labels: Tensor, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """In every other image what stands out of its ground is put on the ground of another.

    The ground is what looks like the border: its median colour, and pixels nearer to that than half
    way to the farthest one. Edges are blended; the label is the foreground's.
    """
    border = torch.cat([images[..., 0], images[..., -1], images[..., 0, :], images[..., -1, :]], 2)
    colour = border.median(2).values[:, :, None, None]
    distance = F.avg_pool2d((images - colour).abs().mean(1, keepdim=True), 3, 1, 1)
    half = distance.amax((2, 3), keepdim=True) / 2
    front = torch.sigmoid(8 * (distance / half.clamp(min=1e-3) - 1))  # [B, 1, H, W] in (0, 1)
    other = partners(len(images), rng)
    ground = (1 - front) * images + front * colour
    placed = front * images + (1 - front) * ground[other]
    chosen = (uniform(len(images), 0, 1, rng) < 0.5)[:, None, None, None]
    return torch.where(chosen, placed, images), labels


def fixmatch(images: Tensor, labels: Tensor, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """A second, strong view of each unlabelled image behind the batch (Sohn et al. 2020).

    Labels of the labelled rows alone come back: the rows beyond are weak views, then strong ones.
    """
    known = labelled(labels)
    strong = erasing(STRONG(images[known:], rng), rng)
    return torch.cat([images, strong]), labels[:known]


def pseudo_label(
    images: Tensor, labels: Tensor, k: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The unlabelled images once more as they are: each is its own strong view (Lee 2013)."""
    known = labelled(labels)
    return torch.cat([images, images[known:]]), labels[:known]


def labelled(labels: Tensor) -> int:
    """How many, of labels [B] or [B, K]; the unlabelled rows of a batch are its last."""
    own = labels.flatten(1).amax(1) if labels.ndim > 1 else labels
    return int((own >= 0).sum())


STRONG = randaugment(strokes=True)  # operations that keep the class of any kind of image


COMPOSITIONS: dict[str, Composition] = {
    "mixup": mixup,
    "cutmix": cutmix,
    "compose": compose,
    "fixmatch": fixmatch,
    "pseudo-label": pseudo_label,
}
