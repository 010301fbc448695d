"""Controls: what any generator must beat to have learnt something from the labelled images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from augment.data.images import LabelledImages, to_float, to_uint8
from augment.runtime.seeds import noise_for, seed_for
from augment.training.learner import Metrics


class Memory(nn.Module):
    """The labelled images themselves, stored as a network stores its weights.

    Buffers travel with the artefact, so that sampling needs nothing but the saved generator.
    """

    def __init__(self, data: LabelledImages) -> None:
        super().__init__()
        self.images: Tensor  # [N, C, H, W] uint8
        self.labels: Tensor  # [N] int64
        self.register_buffer("images", data.images.cpu().clone())
        self.register_buffer("labels", data.labels.cpu().clone())
        self.k = len(data.classes)

    def choose(self, labels: Tensor, u: Tensor) -> Tensor:
        """Choose a labelled image of each label by u in [0, 1): [N] → [N, C, H, W] in [-1, 1]."""
        order = self.labels.argsort(stable=True)
        # bincount would wait for the GPU
        counts = (self.labels[:, None] == torch.arange(self.k, device=labels.device)).sum(0)
        starts = counts.cumsum(0) - counts  # of each class within `order`
        # u close to 1 may round up to the count
        indices = (u * counts[labels]).long().minimum(counts[labels] - 1)
        return to_float(self.images[order[starts[labels] + indices]])

    def start_images(self, labels: Tensor, seeds: Tensor, interpolate: bool) -> Tensor:
        """Choose a labelled image of each label, or blend two: [B, C, H, W] in [-1, 1]."""
        start_seeds = torch.tensor([seed_for(s, "start") for s in seeds.tolist()])
        # ndtr, the normal distribution function, makes uniform numbers of normal ones
        uniform = torch.special.ndtr(noise_for(start_seeds, (3,), self.images.device))
        first, second, weight = uniform.unbind(1)
        images = self.choose(labels, first)
        if interpolate:
            images = images.lerp(self.choose(labels, second), weight[:, None, None, None])
        return images


@dataclass
class Duplicate:
    """Labelled images again, each as often as the others: what more of the same would give."""

    steps: int = field(default=0, init=False)  # no settings: there is nothing to tune
    batch: int = field(default=64, init=False)

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    closed_set: ClassVar[bool] = True
    transformed: float = field(default=0.0, init=False)
    sampling: ClassVar[tuple[str, ...]] = ()
    presets: ClassVar[dict[str, dict[str, Any]]] = {"smoke": {}, "quick": {}, "full": {}}

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Store the labelled images."""
        self.modules = {"memory": Memory(data)}

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Raise TypeError: nothing is learnt, and with `steps` at 0 the loop never comes here."""
        raise TypeError("the control takes no steps")

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Return for each label image `seed` of its class, modulo its size: [N, C, H, W] uint8."""
        memory = self.modules["memory"]
        assert isinstance(memory, Memory)
        images = torch.empty(len(labels), *memory.images.shape[1:], dtype=torch.uint8)
        for row, label, seed in zip(images, labels.tolist(), seeds.tolist(), strict=True):
            members = memory.images[memory.labels == label]
            row.copy_(members[seed % len(members)])
        return images


@dataclass
class Noise(Duplicate):
    """Normal noise around mid-grey, whatever the label: what useless images do."""

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Sample normal noise around mid-grey, std half the range: [N, C, H, W] uint8."""
        memory = self.modules["memory"]
        assert isinstance(memory, Memory)
        shape = tuple(memory.images.shape[1:])
        # on the CPU, where the images are wanted
        return to_uint8(noise_for(seeds, shape, torch.device("cpu")) / 2)
