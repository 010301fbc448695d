"""BATCH_TRANSFORMS: what is made of a whole batch, labels included, drawn anew for each image.

Each takes float images [B, C, H, W] in [-1, 1], labels [n] int64 or [n, K] float of the first n of
them (those beyond are unlabelled), the number of classes K and a torch.Generator; labels come back
as they are or, of mixed classes, as [n, K] float.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.transforms.autoaugment import randaugment
from augment.transforms.erasing import random_erasing, rectangle_mask
from augment.transforms.geometric import uniform

BatchTransform = Callable[[Tensor, Tensor, int, torch.Generator], tuple[Tensor, Tensor]]


def mixup(images: Tensor, labels: Tensor, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Add up two images, their shares from Beta(1, 1) (Zhang et al. 2018, as on CIFAR-10)."""
    partner, share = _partners(len(images), rng), uniform(len(images), 0, 1, rng)
    weight = share[:, None, None, None]
    mixed = weight * images + (1 - weight) * images[partner]
    return mixed, _mixed_labels(labels, partner, share, k)


def cutmix(images: Tensor, labels: Tensor, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of another into every other image (Yun et al. 2019).

    The share of the rectangle's area is from Beta(1, 1).
    """
    n, _, height, width = images.shape
    partner, side = _partners(n, rng), uniform(n, 0, 1, rng).sqrt()
    side = side * (uniform(n, 0, 1, rng) < 0.5)
    top, left = (uniform(n, 0, 1, rng) - side / 2 for _ in range(2))
    inside = rectangle_mask((top, left), (side, side), height, width)
    share = 1 - inside.float().mean((1, 2, 3))  # as seen: the border may cut the rectangle off
    return torch.where(inside, images[partner], images), _mixed_labels(labels, partner, share, k)


def cut_paste(
    images: Tensor, labels: Tensor, k: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Put the foreground of every other image on the ground of another; the label stays.

    The ground is what looks like the border: its median colour, and pixels nearer to that than half
    way to the farthest one. Edges are blended; the label is the foreground's.
    """
    border = torch.cat([images[..., 0], images[..., -1], images[..., 0, :], images[..., -1, :]], 2)
    colour = border.median(2).values[:, :, None, None]  # [B, C, 1, 1]
    distance = F.avg_pool2d((images - colour).abs().mean(1, keepdim=True), 3, 1, 1)
    half = distance.amax((2, 3), keepdim=True) / 2
    front = torch.sigmoid(8 * (distance / half.clamp(min=1e-3) - 1))  # [B, 1, H, W] in (0, 1)
    partner = _partners(len(images), rng)
    ground = (1 - front) * images + front * colour  # the foreground painted over
    pasted = front * images + (1 - front) * ground[partner]
    chosen = (uniform(len(images), 0, 1, rng) < 0.5)[:, None, None, None]
    return torch.where(chosen, pasted, images), labels


def fixmatch(images: Tensor, labels: Tensor, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Append a second, strong view of each unlabelled image to the batch (Sohn et al. 2020).

    The rows beyond the labels are then weak views, followed by as many strong ones.
    """
    strong = random_erasing(_STRONG(images[len(labels) :], rng), rng)
    return torch.cat([images, strong]), labels


def pseudo_label(
    images: Tensor, labels: Tensor, k: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Append the unlabelled images as they are: each is its own strong view (Lee 2013)."""
    return torch.cat([images, images[len(labels) :]]), labels


def _partners(n: int, rng: torch.Generator) -> Tensor:
    """Draw for each image of a batch the index of the one it meets: [n], a permutation."""
    return torch.randperm(n, generator=rng, device=rng.device)


def _mixed_labels(labels: Tensor, partner: Tensor, share: Tensor, k: int) -> Tensor:
    """Weight each label by `share` [B] and its partner's by the rest: [B, K]."""
    if labels.ndim == 1:
        # F.one_hot would look at the labels' values
        labels = (labels[:, None] == torch.arange(k, device=labels.device)).float()
    return share[:, None] * labels + (1 - share[:, None]) * labels[partner]


_STRONG = randaugment(strokes=True)  # operations that keep the class of any kind of image

BATCH_TRANSFORMS: dict[str, BatchTransform] = {
    "mixup": mixup,
    "cutmix": cutmix,
    "compose": cut_paste,
    "fixmatch": fixmatch,
    "pseudo-label": pseudo_label,
}
