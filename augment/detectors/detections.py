"""Detections: rows (class, score, xmin, ymin, xmax, ymax), best first, padded with class -1."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from augment.errors import UsageError

MOST_DETECTIONS = 100  # detections of a picture, as COCO counts them
_CANDIDATES = 300  # of a picture, before overlapping ones are dropped
_OVERLAP = 0.6  # IoU from which the lesser of two boxes of a class is dropped
_LEAST_SCORE = 0.01


def keep_best(scores: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Choose among the points of a map: scores [N, K, H, W], boxes [N, H, W, 4] → [N, 100, 6].

    Non-maximum suppression within each class; boxes are clipped to `size` (H, W) pixels.
    """
    points = boxes.shape[1] * boxes.shape[2]
    best = scores.flatten(1).topk(min(_CANDIDATES, scores[0].numel()))  # [N, candidates]
    label, point = best.indices // points, best.indices % points
    corners = boxes.flatten(1, 2).gather(1, point[..., None].expand(-1, -1, 4))
    return torch.stack(
        [suppressed(*row, size) for row in zip(label, best.values, corners, strict=True)]
    )


def suppressed(label: Tensor, score: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
    """Drop the overlapping boxes of a picture: [n], [n], [n, 4] → [100, 6]."""
    from torchvision.ops import batched_nms

    height, width = size
    low = corners.new_zeros(4)
    corners = corners.float().clamp(low, corners.new_tensor([width, height, width, height]))
    large = ((corners[:, 2:] - corners[:, :2]) > 0).all(1) & (score >= _LEAST_SCORE)
    label, score, corners = label[large], score.float()[large], corners[large]
    kept = batched_nms(corners, score, label, _OVERLAP)[:MOST_DETECTIONS]
    return padded(label[kept], score[kept], corners[kept])


def refuse_weights(source: str) -> NoReturn:
    """Say which detector takes the weights of `--weights`."""
    raise UsageError(
        f"--weights {source}: this detector takes none; fcos_resnet50_fpn takes those of "
        "torchvision's resnet50"
    )


def padded(label: Tensor, score: Tensor, corners: Tensor) -> Tensor:
    """Make rows of at most 100 detections, best first: [n], [n], [n, 4] → [100, 6]."""
    rows = torch.cat([label[:, None].float(), score[:, None].float(), corners.float()], 1)[
        :MOST_DETECTIONS
    ]
    full = torch.zeros(MOST_DETECTIONS, 6)
    full[:, 0] = -1
    full[: len(rows)] = rows
    return full
