"""Classifier: the training step of all classifiers, alone or as an ensemble.

All arms of a trial train the same one with the same steps, schedule and initialisation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.classifiers.blocks import Ensemble, forward_apart
from augment.classifiers.pretrained import backbone_tensors
from augment.data.images import LabelledImages, images_at_once, to_float
from augment.runtime.seeds import seed_for
from augment.training.ema import ema_copy, ema_update
from augment.training.learner import OF_ARM, Metrics, in_mode, seeded_init, steps_for
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
    members: int = field(default=1, metadata=OF_ARM)  # of an ensemble, which share the steps

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    frozen: bool = field(default=False, init=False, repr=False)  # all but the last layer
    presets: ClassVar[dict[str, dict[str, Any]]]

    @property
    def recordable(self) -> bool:
        """Whether all updates are of one kind: those of an ensemble train one member each."""
        return self.members == 1

    def network(self, data: LabelledImages) -> nn.Module:
        """Build the network for images like these; only their statistics may be used."""
        raise TypeError("a classifier says here what its network is")

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build network, EMA and optimiser; raise `steps` to `epochs` passes over the data."""
        self.steps = max(self.steps, steps_for(self.epochs, data, self.batch))
        self.device, self.precision, self.k = device, precision, len(data.classes)
        seeds = [seed, *(seed_for(seed, "member", m) for m in range(1, self.members))]
        nets = [seeded_init(lambda: self.network(data), each) for each in seeds]
        net: Any = Ensemble(nets) if self.members > 1 else nets[0]
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
        net, ema, optimiser = self.modules["net"], self.modules["ema"], self.optimisers["net"]
        steps = self.steps
        if isinstance(net, Ensemble) and isinstance(ema, Ensemble):
            assert isinstance(step, int)  # not `recordable`
            member, step, steps = net.turn(step, steps)
            net, ema = net.members[member], ema.members[member]
        in_mode(net, True)
        if self.frozen:
            assert isinstance(net, nn.Sequential)
            net[:-1].eval()  # its batch norm keeps the statistics it came with, for all rows
            apart = 0
        set_rate(optimiser, self.lr * warmup_cosine(step, steps, warmup=0.2))
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
        ema_update(ema, net, step, self.ema)
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
