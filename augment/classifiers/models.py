"""Classifiers: one training step for all, and a network for each.

All arms of a trial train the same one with the same steps, schedule and initialisation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.classifiers.blocks import (
    ImageNetInput,
    Residual,
    conv_norm_relu,
    extra_halvings,
    forward_apart,
    pooled_stage,
    whitening_conv,
)
from augment.classifiers.pretrained import backbone_tensors
from augment.data.images import LabelledImages, images_at_once, to_float
from augment.training.ema import ema_copy, ema_update
from augment.training.learner import Metrics, in_mode, seeded_init, steps_for
from augment.training.optim import set_rate, warmup_cosine
from augment.training.precision import autocast


@dataclass
class Classifier:
    """SGD with Nesterov momentum, label smoothing, a one-cycle learning rate and EMA."""

    steps: int = 1000
    epochs: int = 0  # at least this many passes over the labelled images, whatever `steps` says
    batch: int = 64
    width: int = 32  # channels of the first stage
    lr: float = 0.1  # at the end of the warm-up
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    ema: float = 0.995  # decay of the averaged weights, which predict
    threshold: float = 0.95  # FixMatch: least probability of a pseudo-label to learn from it

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    frozen: bool = field(default=False, init=False, repr=False)  # all but the last layer
    presets: ClassVar[dict[str, dict[str, Any]]]

    def network(self, data: LabelledImages) -> nn.Module:
        """Build the network for images like these; only their statistics may be used."""
        raise TypeError("a classifier says here what its network is")

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build network, EMA and optimiser; raise `steps` to `epochs` passes over the data."""
        self.steps = max(self.steps, steps_for(self.epochs, data, self.batch))
        self.device, self.precision, self.k = device, precision, len(data.classes)
        net = seeded_init(lambda: self.network(data), seed)
        net = net.to(device=device, memory_format=torch.channels_last)
        self.modules = {"net": net, "ema": ema_copy(net)}
        # biases and norms [D] are not decayed
        decayed = [p for p in net.parameters() if p.requires_grad and p.ndim > 1]
        undecayed = [p for p in net.parameters() if p.requires_grad and p.ndim <= 1]
        self.optimisers = {
            "net": torch.optim.SGD(
                [{"params": decayed, "weight_decay": self.weight_decay}, {"params": undecayed}],
                lr=self.lr,
                momentum=self.momentum,
                nesterov=True,
                fused=True,
            )
        }

    def load_backbone(self, tensors: dict[str, Tensor], *, source: str, frozen: bool) -> None:
        """Load all but the last layer from the weights of another training; `frozen` fixes them.

        UsageError that names `source` if they are not those of such a network.
        """
        net = self.modules["net"]
        assert isinstance(net, nn.Sequential)
        backbone = net[:-1]
        backbone.load_state_dict(backbone_tensors(backbone, tensors, source), strict=False)
        self.modules["ema"].load_state_dict(net.state_dict())
        self.frozen = frozen
        if frozen:
            backbone.requires_grad_(False)

    def update(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        step: int | Tensor,
        rng: torch.Generator,
        apart: int = 0,
    ) -> Metrics:
        """Take one step on cross-entropy with smoothed labels; unlabelled rows as in FixMatch.

        FixMatch (Sohn et al. 2020): the term of its eq. 4, with weight 1. The last `apart` rows
        with labels are normalised by their own statistics: see `forward_apart`.
        """
        net, optimiser = in_mode(self.modules["net"], True), self.optimisers["net"]
        if self.frozen:
            assert isinstance(net, nn.Sequential)
            net[:-1].eval()  # its batch norm keeps the statistics it came with, for all rows
            apart = 0
        set_rate(optimiser, self.lr * warmup_cosine(step, self.steps, warmup=0.2))
        images = images.contiguous(memory_format=torch.channels_last)
        with autocast(self.precision, self.device):
            # [B, K], unlabelled rows last
            logits = forward_apart(net, images, len(labels) - apart, len(labels)).float()
        smoothing = self.label_smoothing
        if labels.ndim == 2:
            # a row of weight w: its smoothing counts w times too; where w is 1, nothing changes
            excess = labels.sum(1, keepdim=True) - 1
            labels = labels + excess * smoothing / (self.k * (1 - smoothing))
        loss = F.cross_entropy(logits[: len(labels)], labels, label_smoothing=smoothing)
        if len(labels) < len(logits):
            weak, strong = logits[len(labels) :].chunk(2)
            # the weak view labels the strong one, without a gradient of its own
            confidence, pseudo_labels = weak.detach().softmax(1).max(1)
            losses = F.cross_entropy(strong, pseudo_labels, reduction="none")
            loss = loss + (losses * (confidence >= self.threshold)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        ema_update(self.modules["ema"], net, step, self.ema)
        return {"loss": loss.detach()}

    def predict(self, images: Tensor, chunk: int = 512) -> Iterator[Tensor]:
        """Yield class probabilities of uint8 images, chunk by chunk: [n, K] float32 on the CPU."""
        for logits in self.forward_chunks(self.modules["ema"], images, chunk):
            yield logits.softmax(1)

    def embed(self, images: Tensor) -> Tensor:
        """Return the penultimate layer's output for uint8 images: [N, D] float32 on the CPU."""
        net = self.modules["ema"]
        assert isinstance(net, nn.Sequential)
        return torch.cat(list(self.forward_chunks(net[:-1], images, 512)))

    def forward_chunks(self, net: nn.Module, images: Tensor, chunk: int) -> Iterator[Tensor]:
        """Yield a network's output on uint8 images, float32 on the CPU.

        At most `chunk` images at once, and fewer of more than 32 pixels a side.
        """
        net.eval()
        for part in images.split(images_at_once(images.shape, chunk)):
            batch = to_float(part.to(self.device)).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode(), autocast(self.precision, self.device):
                yield net(batch).float().cpu()


@dataclass
class ResNet(Classifier):
    """A small residual network (He et al. 2016): three stages, one block each.

    Another halving before the stages for each doubling above 64 px.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=100, batch=32, epochs=1, width=16),
        "quick": dict(steps=600, batch=32, epochs=12, width=24),
        "full": dict(steps=4000, batch=64, epochs=20, width=64),
    }

    def network(self, data: LabelledImages) -> nn.Module:
        channels, height, width = data.shape
        large = max(height, width) > 16  # then one more halving, before the stages
        w = self.width
        return nn.Sequential(
            conv_norm_relu(channels, w, stride=2 if large else 1),
            *(conv_norm_relu(w, w, stride=2) for _ in range(extra_halvings(data.shape))),
            Residual(w, w),
            Residual(w, 2 * w, stride=2),
            Residual(2 * w, 4 * w, stride=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * w, len(data.classes)),
        )


@dataclass
class Airbench(Classifier):
    """A lean net after airbench (Jordan 2024): whitened patches, pooling early.

    Of larger images than 64 px 4×4 patches with a stride: so a step at 128 px costs less than one
    at 64 px (results/bench/classifier-sizes.md).
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=100, batch=32, epochs=1, width=16),
        "quick": dict(steps=600, batch=32, epochs=20, width=16),
        "full": dict(steps=3000, batch=64, epochs=20, width=64, weight_decay=1e-3),
    }

    def network(self, data: LabelledImages) -> nn.Module:
        w, longer = self.width, max(data.shape[1:])
        patch, stride = (2, 1) if longer <= 64 else (4, 2 if longer <= 96 else 4)
        first = whitening_conv(data.images, patch, stride)
        sides = [(side - patch) // stride + 1 for side in data.shape[1:]]
        widths = [w, 4 * w, 4 * w] if longer > 16 else [w, 4 * w]
        stages, channels = [], first.out_channels
        for out in widths:
            tall, wide = (2 if side > 1 else 1 for side in sides)  # 1 is left
            stages.append(pooled_stage(channels, out, (tall, wide)))
            sides, channels = [sides[0] // tall, sides[1] // wide], out
        return nn.Sequential(
            first,
            nn.GELU(),
            *stages,
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * w, len(data.classes)),
        )


@dataclass
class ResNet18(Classifier):
    """torchvision's ResNet-18 (He et al. 2016), which `--weights torchvision` has weights for."""

    side: int = 224  # pixels that the longer side of smaller images is enlarged to
    lr: float = 0.02
    width: int = field(default=64, init=False, repr=False)  # as its weights have it
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=100, batch=32, epochs=1, side=32),
        "quick": dict(steps=600, batch=32, epochs=12, side=64),
        "full": dict(steps=4000, batch=64, epochs=20, side=224),
    }

    def network(self, data: LabelledImages) -> nn.Module:
        from torchvision.models import resnet18

        parts = OrderedDict(resnet18(num_classes=len(data.classes)).named_children())
        last = parts.pop("fc")
        return nn.Sequential(
            OrderedDict(enter=ImageNetInput(self.side), **parts, flatten=nn.Flatten(), fc=last)
        )
