"""A small anchor-free detector that learns few pictures from scratch: points of one map say all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.classifiers.blocks import Residual, conv_norm_relu
from augment.data.boxed_images import BoxedImages
from augment.data.images import pad_sides, to_float
from augment.detectors.detections import MOST_DETECTIONS, keep_best, refuse_weights
from augment.detectors.targets import focal_loss, giou, make_targets, points_of
from augment.training.ema import ema_copy, ema_update
from augment.training.learner import Metrics, in_mode, seeded_init, steps_for
from augment.training.optim import optimizer_step, set_rate, warmup_cosine
from augment.training.precision import autocast

STRIDE = 4  # pixels between two points of the map
_DEEPEST = 32  # pixels between two points of the last stage
_UNIT = 16.0  # pixels: the distance that a network without training gives
_RARE = 0.02  # probability of a box at a point, before training


class PointNet(nn.Module):
    """Four residual stages, joined top-down (Lin et al. 2017) into one map of stride 4.

    Images [B, C, H, W] → class logits [B, K, H/4, W/4], distances [B, 4, H/4, W/4] from a point to
    the left, upper, right and lower side of its box, in pixels.
    """

    def __init__(self, channels: int, width: int, n_classes: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 4 * width]  # at strides 4, 8, 16, 32
        self.stem = conv_norm_relu(channels, width, stride=2)
        self.stages = nn.ModuleList(
            Residual(a, b, stride=2) for a, b in zip([width, *widths], widths, strict=False)
        )
        joined = 2 * width
        self.laterals = nn.ModuleList(nn.Conv2d(w, joined, 1) for w in widths)
        self.smooth = conv_norm_relu(joined, joined)
        self.heat = nn.Sequential(conv_norm_relu(joined, joined), nn.Conv2d(joined, n_classes, 1))
        self.sides = nn.Sequential(conv_norm_relu(joined, joined), nn.Conv2d(joined, 4, 1))
        last = self.heat[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.constant_(last.bias, torch.logit(torch.tensor(_RARE)).item())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(pad_sides(images, _DEEPEST))
        maps = []
        for stage in self.stages:
            maps.append(x := stage(x))
        joined = self.laterals[-1](maps[-1])
        for lateral, x in zip(list(self.laterals)[-2::-1], maps[-2::-1], strict=True):
            joined = lateral(x) + F.interpolate(joined, scale_factor=2.0, mode="nearest")
        joined = self.smooth(joined)
        return self.heat(joined).float(), _UNIT * self.sides(joined).float().clamp(max=5).exp()


@dataclass
class CenterNet:
    """Centres as points (Zhou et al. 2019) with the targets of TTFNet; AdamW, one cycle, EMA."""

    steps: int = 1800
    epochs: int = 0  # at least this many passes over the labelled images, whatever `steps` says
    batch: int = 4
    width: int = 24  # channels of the first stage
    lr: float = 8e-3  # at the end of the warm-up
    weight_decay: float = 0.05
    box_weight: float = 5.0  # of the loss of the boxes, beside that of the heat
    ema: float = 0.99  # decay of the averaged weights, which predict

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # of 8 channels torch 2.15 on a CPU writes beyond its memory in the shortcut's gradient
        "smoke": dict(steps=60, batch=4, width=16),
        "quick": dict(steps=1800, epochs=24),
        "full": dict(steps=6000, batch=16, epochs=120, width=48),
    }

    def prepare(
        self, data: BoxedImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build network, EMA and optimiser; raise `steps` to `epochs` passes over the data."""
        self.steps = max(self.steps, steps_for(self.epochs, data, self.batch))
        self.device, self.precision, self.k = device, precision, len(data.classes)
        net = seeded_init(lambda: PointNet(data.shape[0], self.width, self.k), seed)
        net = net.to(device=device, memory_format=torch.channels_last)
        self.modules = {"net": net, "ema": ema_copy(net)}
        decayed = [p for p in net.parameters() if p.ndim > 1]
        undecayed = [p for p in net.parameters() if p.ndim <= 1]  # biases and norms [D]
        groups = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": undecayed, "weight_decay": 0.0},
        ]
        self.optimisers = {"net": torch.optim.AdamW(groups, lr=self.lr, fused=True)}

    def load_backbone(self, tensors: dict[str, Tensor], *, source: str, frozen: bool) -> None:
        """Refuse weights: it learns from scratch."""
        refuse_weights(source)

    def update(
        self, images: Tensor, targets: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take one step on images [B, C, H, W] in [-1, 1] and their boxes [B, M, 5]."""
        net, optimiser = in_mode(self.modules["net"], True), self.optimisers["net"]
        set_rate(optimiser, self.lr * warmup_cosine(step, self.steps, warmup=0.1))
        with autocast(self.precision, self.device):
            logits, sides = net(images.contiguous(memory_format=torch.channels_last))
        wanted = make_targets(targets, self.k, (logits.shape[2], logits.shape[3]), STRIDE)
        overlap = giou(corners_of(sides), wanted.boxes)  # [B, H, W]
        heat = focal_loss(logits, wanted.heat) / wanted.n_boxes
        box = ((1 - overlap) * wanted.weights).sum() / wanted.n_boxes
        loss = heat + self.box_weight * box
        optimizer_step(optimiser, loss)
        ema_update(self.modules["ema"], net, step, self.ema)
        return {"loss": loss.detach(), "heat": heat.detach(), "box": box.detach()}

    def predict(self, images: Tensor, chunk: int = 32) -> Tensor:
        """Detect in uint8 images [N, C, H, W]: [N, 100, 6] float32 on the CPU.

        A row is (class, score, xmin, ymin, xmax, ymax), best first; class -1 pads.
        """
        net = in_mode(self.modules["ema"], False)
        found = [torch.zeros(0, MOST_DETECTIONS, 6)]
        for part in images.split(chunk) if len(images) else ():
            batch = to_float(part.to(self.device)).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode(), autocast(self.precision, self.device):
                logits, sides = net(batch)
            heat = logits.sigmoid().cpu()
            peaks = heat * (heat == F.max_pool2d(heat, 3, 1, 1))
            height, width = images.shape[-2:]
            found.append(keep_best(peaks, corners_of(sides).cpu(), (height, width)))
        return torch.cat(found)


def corners_of(sides: Tensor) -> Tensor:
    """Turn distances [B, 4, H, W] from the points of the map to boxes: [B, H, W, 4] pixels."""
    x, y = points_of(sides.shape[2], sides.shape[3], STRIDE, sides.device)
    left, up, right, down = sides.unbind(1)  # [B, H, W]
    y = y[:, None]
    return torch.stack([x - left, y - up, x + right, y + down], -1)
