"""torchvision's detectors, for whoever has weights for them; from scratch they learn slowly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from augment.data.boxed_images import BoxedImages
from augment.data.images import to_float
from augment.detectors.detections import MOST_DETECTIONS, padded, refuse_weights
from augment.errors import UsageError
from augment.training.ema import ema_copy, ema_update
from augment.training.learner import Metrics, in_mode, seeded_init, steps_for
from augment.training.optim import optimizer_step, set_rate, warmup_cosine
from augment.training.precision import autocast


@dataclass
class TorchvisionDetector:
    """A detector of torchvision under the one loop: AdamW, one cycle, EMA."""

    steps: int = 600
    epochs: int = 0  # at least this many passes over the labelled images, whatever `steps` says
    batch: int = 8
    lr: float = 1e-3  # at the end of the warm-up
    weight_decay: float = 0.05
    ema: float = 0.99  # decay of the averaged weights, which predict

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    recordable: ClassVar[bool] = False  # its shapes depend on the number of boxes
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=20, batch=2),
        "quick": dict(steps=600, epochs=24),
        "full": dict(steps=6000, batch=16, epochs=120),
    }

    def network(self, height: int, width: int) -> nn.Module:
        """Build the network for pictures of this size and `k` classes; 0 is the ground."""
        raise TypeError("a detector says here what its network is")

    def prepare(
        self, data: BoxedImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build network, EMA and optimiser; raise `steps` to `epochs` passes over the data."""
        self.steps = max(self.steps, steps_for(self.epochs, data, self.batch))
        self.device, self.precision, self.k = device, precision, len(data.classes)
        net = seeded_init(lambda: self.network(*data.shape[1:]), seed).to(device)
        self.modules = {"net": net, "ema": ema_copy(net)}
        weights = [p for p in net.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(
            weights, lr=self.lr, weight_decay=self.weight_decay, fused=True
        )
        self.optimisers = {"net": optimiser}

    def load_backbone(self, tensors: dict[str, Tensor], *, source: str, frozen: bool) -> None:
        """Load weights of the backbone; UsageError where it takes none, or others."""
        refuse_weights(source)

    def update(
        self, images: Tensor, targets: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take one step on images [B, C, H, W] in [-1, 1] and their boxes [B, M, 5]."""
        net, optimiser = in_mode(self.modules["net"], True), self.optimisers["net"]
        set_rate(optimiser, self.lr * warmup_cosine(step, self.steps, warmup=0.1))
        # torchvision refuses boxes without an area
        kept = (targets[..., 0] >= 0) & (targets[..., 3:] > targets[..., 1:3]).all(-1)
        boxes = [rows[chosen] for rows, chosen in zip(targets, kept, strict=True)]
        wanted = [{"boxes": rows[:, 1:], "labels": rows[:, 0].long() + 1} for rows in boxes]
        with autocast(self.precision, self.device):
            losses = net(list(colour(images)), wanted)
        loss = torch.stack([value.float() for value in losses.values()]).sum()
        optimizer_step(optimiser, loss)
        ema_update(self.modules["ema"], net, step, self.ema)
        return {"loss": loss.detach()}

    def predict(self, images: Tensor, chunk: int = 16) -> Tensor:
        """Detect in uint8 images [N, C, H, W]: [N, 100, 6] float32 on the CPU, as `CenterNet`."""
        net = in_mode(self.modules["ema"], False)
        found = [torch.zeros(0, MOST_DETECTIONS, 6)]
        for part in images.split(chunk) if len(images) else ():
            with torch.inference_mode(), autocast(self.precision, self.device):
                detected = net(list(colour(to_float(part.to(self.device)))))
            rows = [(d["labels"] - 1, d["scores"], d["boxes"]) for d in detected]
            found.append(torch.stack([padded(*(column.cpu() for column in row)) for row in rows]))
        return torch.cat(found)


def colour(images: Tensor) -> Tensor:
    """Turn images [B, 1 or 3, H, W] in [-1, 1] into 3 channels in [0, 1], torchvision's input."""
    return (images.expand(-1, 3, -1, -1) + 1) / 2


@dataclass
class FCOS(TorchvisionDetector):
    """torchvision's FCOS (Tian et al. 2019) with ResNet-50 and FPN."""

    def network(self, height: int, width: int) -> nn.Module:
        from torchvision.models.detection import fcos_resnet50_fpn

        sides = {"min_size": min(height, width), "max_size": max(height, width)}
        return fcos_resnet50_fpn(
            weights=None, weights_backbone=None, num_classes=self.k + 1, **sides
        )

    def load_backbone(self, tensors: dict[str, Tensor], *, source: str, frozen: bool) -> None:
        """Load the weights of torchvision's resnet50; `frozen` fixes them."""
        backbones = [self.modules[name].get_submodule("backbone.body") for name in ("net", "ema")]
        for name, wanted in backbones[0].state_dict().items():
            given = tuple(tensors[name].shape) if name in tensors else "missing"
            if given != tuple(wanted.shape):
                raise UsageError(
                    f"--weights {source}: '{name}' is {given} there and {tuple(wanted.shape)} "
                    "here; give weights of torchvision's resnet50"
                )
        for backbone in backbones:
            backbone.load_state_dict({name: tensors[name] for name in backbone.state_dict()})
        if frozen:
            backbones[0].requires_grad_(False)


@dataclass
class SSDLite(TorchvisionDetector):
    """torchvision's SSDLite with MobileNetV3-Large (Howard et al. 2019), at 320 × 320."""

    def network(self, height: int, width: int) -> nn.Module:
        from torchvision.models.detection import ssdlite320_mobilenet_v3_large

        return ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=self.k + 1
        )
