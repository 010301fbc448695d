"""The classifiers: a network for each, with its presets."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import nn

from augment.classifiers.blocks import (
    ImageNetInput,
    Residual,
    conv_norm_relu,
    extra_halvings,
    pooled_stage,
    whitening_conv,
)
from augment.classifiers.classifier import Classifier
from augment.data.images import LabelledImages


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
