"""What each point of a detector's map should say, and the losses, after TTFNet (Liu et al. 2020).

Boxes are rows (class, xmin, ymin, xmax, ymax) in pixels, [B, M, 5], padded with class -1. Shapes
are static and nothing waits for the device, so that the whole step can be a CUDA graph.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

SPREAD = 0.54  # α and β of TTFNet: the part of a box whose points answer for it
_EPS = 1e-6


class Targets(NamedTuple):
    """Targets of a batch on a map of H × W points."""

    heat: Tensor  # [B, K, H, W] in [0, 1]: how near the centre of a box of the class is
    boxes: Tensor  # [B, H, W, 4] pixels: the box that a point answers for
    weights: Tensor  # [B, H, W]: of a box's points they add up to 1; 0 where there is no box
    n_boxes: Tensor  # [] float32, at least 1


def points_of(height: int, width: int, stride: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the middles of a map's points in pixels: x [W], y [H]."""
    x, y = (torch.arange(n, device=device) * stride + stride / 2 for n in (width, height))
    return x, y


def make_targets(boxes: Tensor, k: int, size: tuple[int, int], stride: int) -> Targets:
    """Make the targets of K classes on a map of `size` (H, W) points, `stride` pixels apart.

    Heat is a Gaussian with σ = α/6 of each side around the point nearest to the centre; where boxes
    overlap, a point answers for the smallest.
    """
    height, width = size
    x, y = points_of(height, width, stride, boxes.device)
    label, corners = boxes[..., 0], boxes[..., 1:]  # [B, M], [B, M, 4]
    valid = label >= 0
    sides = (corners[..., 2:] - corners[..., :2]).clamp(min=1)  # [B, M, 2]
    middle = (corners[..., :2] + corners[..., 2:]) / 2
    last = torch.stack([x[-1], y[-1]])
    nearest = ((middle / stride).floor() * stride + stride / 2).clamp(min=stride / 2).minimum(last)
    sigma = (SPREAD / 6 * sides).clamp(min=stride / 6)
    across = (x - nearest[..., :1]) / sigma[..., :1]  # [B, M, W], in σ
    down = (y - nearest[..., 1:]) / sigma[..., 1:]  # [B, M, H]
    inside = (down.abs() <= 3)[..., :, None] & (across.abs() <= 3)[..., None, :]
    inside = inside & valid[..., None, None]  # [B, M, H, W]
    bell = torch.exp(-(down.square()[..., :, None] + across.square()[..., None, :]) / 2) * inside
    heat = torch.zeros(len(boxes), k, height * width, device=boxes.device)
    # K channels, M boxes: each point of a channel is the largest of its boxes
    index = label.clamp(min=0).long()[..., None].expand(-1, -1, height * width)
    heat = heat.scatter_reduce(1, index, bell.flatten(2), "amax").unflatten(2, (height, width))
    area = torch.where(inside, sides.prod(-1)[..., None, None], torch.inf)
    owner = area.argmin(1)  # [B, H, W]
    own = bell.gather(1, owner[:, None])  # [B, 1, H, W]
    # normalised over the points that a box owns
    flat = owner.flatten(1)  # [B, HW]
    total = torch.zeros_like(label).scatter_add(1, flat, own.flatten(1))
    weights = own.flatten(1) / total.gather(1, flat).clamp(min=_EPS)
    owned = corners.gather(1, flat[..., None].expand(-1, -1, 4))  # [B, HW, 4]
    return Targets(
        heat,
        owned.unflatten(1, (height, width)),
        weights.unflatten(1, (height, width)),
        valid.sum().clamp(min=1).float(),
    )


def focal_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Sum the focal loss of CenterNet (Zhou et al. 2019, eq. 1; α = 2, β = 4) over a map."""
    p = logits.sigmoid()
    found = torch.nn.functional.logsigmoid(logits) * (1 - p).square()
    absent = torch.nn.functional.logsigmoid(-logits) * p.square() * (1 - heat).pow(4)
    return -torch.where(heat > 1 - _EPS, found, absent).sum()


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Compute the generalised IoU (Rezatofighi et al. 2019) of boxes (x, y, x, y), paired: [...].

    torchvision's loss picks the overlapping pairs by a mask, which waits for the GPU.
    """
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    both = (high - low).clamp(min=0).prod(-1)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (a, b)]
    union = areas[0] + areas[1] - both
    return both / union.clamp(min=_EPS) - (hull - union) / hull.clamp(min=_EPS)
