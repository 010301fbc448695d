"""Blends of two labelled images of one class, each bent towards the other on the way.

A network learns to bend any image of a class into another of it (unsupervised registration, as
VoxelMorph: Balakrishnan 2019); a sample stands somewhere between two labelled images. What it adds
is how the shapes of a class vary (Hauberg 2016), for data too few to train a generator of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import LabelledImages, to_uint8
from augment.generators.blocks import in_chunks, normalise, rows_at_once
from augment.generators.controls import Memory
from augment.runtime.seeds import noise_for
from augment.training.cuda_graphs import graphed
from augment.training.learner import Metrics, seeded_init
from augment.training.optim import set_rate, warmup_cosine
from augment.training.precision import autocast

GRID = 8  # side of the map that the fully connected part sees


class Bend(nn.Module):
    """(image, wanted image) [B, C, H, W] each → displacements [B, 2, H, W], image side = 2."""

    def __init__(self, width: int, shape: tuple[int, int, int], knots: int) -> None:
        super().__init__()
        channels, self.height, self.side = shape
        halvings = max(0, (max(self.height, self.side) - 1).bit_length() - GRID.bit_length() + 1)
        layers: list[nn.Module] = [nn.Conv2d(2 * channels, width, 3, padding=1), nn.SiLU()]
        for _ in range(halvings):
            layers += [nn.Conv2d(width, width, 3, 2, 1), nn.SiLU()]
        self.convolve = nn.Sequential(*layers, nn.Conv2d(width, width, 3, padding=1), nn.SiLU())
        self.pool = nn.AdaptiveAvgPool2d(GRID)
        self.hidden = nn.Linear(width * GRID**2, 256)
        self.leave = nn.Linear(256, 2 * knots**2)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.knots = knots

    def forward(self, image: Tensor, wanted: Tensor) -> Tensor:
        x = torch.cat([image, wanted], 1).contiguous(memory_format=torch.channels_last)
        x = normalise(self.pool(self.convolve(x))).flatten(1)
        return self.leave(F.silu(self.hidden(x))).unflatten(1, (2, self.knots, self.knots))

    def laid(self, knots: Tensor) -> Tensor:
        """Displacements of the knots [B, 2, G, G] as one of every pixel [B, 2, H, W]."""
        size = (self.height, self.side)
        return F.interpolate(knots.float(), size, mode="bicubic", align_corners=True)


def bent(images: Tensor, displacements: Tensor) -> Tensor:
    """Each pixel is taken from where its displacement points; edges are repeated."""
    n, _, height, width = images.shape
    still = torch.eye(2, 3, device=images.device).expand(n, 2, 3)
    grid = F.affine_grid(still, [n, 1, height, width], align_corners=False)
    # indices far outside, or nowhere, crash grid_sample's backward pass; the loss shows them too
    grid = (grid + displacements.permute(0, 2, 3, 1)).nan_to_num(0.0).clamp(-9.0, 9.0)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


@dataclass
class Mix:
    """In-between images of pairs of one class: both bent towards each other, then blended."""

    steps: int = 1000
    batch: int = 64
    width: int = 32
    knots: int = 7  # a side of the grid of displacements, bicubic in between
    smooth: float = 1.0  # weight of differences between neighbouring knots
    lr: float = 1e-3
    reach: float = 1.0  # how far a sample may lie from its first image towards the second
    transformed: float = 1.0  # share of each batch with classic transforms; none is drawn

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    closed_set: ClassVar[bool] = True
    sampling: ClassVar[tuple[str, ...]] = ("reach",)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=60, batch=32, width=16),
        "quick": dict(steps=1000, batch=64, width=32),
        "full": dict(steps=5000, batch=128, width=64),
    }

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Remember the images by class; build network and optimiser."""
        self.device, self.precision, self.shape = device, precision, data.shape
        net = seeded_init(lambda: Bend(self.width, data.shape, self.knots), seed)
        net = net.to(device=device, memory_format=torch.channels_last)
        self.modules = {"net": net, "memory": Memory(data).to(device)}
        self.k = int(data.labels.max()) + 1
        self.optimisers = {"net": torch.optim.Adam(net.parameters(), self.lr, fused=True)}

    def remembered(self, labels: Tensor, u: Tensor) -> Tensor:
        """A labelled image of each label, chosen by u in [0, 1)."""
        memory = self.modules["memory"]
        assert isinstance(memory, Memory)
        return memory.chosen(labels, u)

    def update(self, images: Tensor, labels: Tensor, *, step: int, rng: torch.Generator) -> Metrics:
        """Bend each image into a labelled one of its class, and let the bending be smooth."""
        net, optimiser = self.modules["net"], self.optimisers["net"]
        assert isinstance(net, Bend)
        set_rate(optimiser, self.lr * warmup_cosine(step, self.steps))
        u = torch.rand(len(labels), generator=rng, device=self.device)
        wanted = self.remembered(labels % self.k, u)  # k + K is k transformed
        with autocast(self.precision, self.device):
            knots = graphed(net, images, wanted)
        knots = knots.float()
        mse = F.mse_loss(bent(images, net.laid(knots)), wanted)
        rough = knots.diff(dim=2).square().mean() + knots.diff(dim=3).square().mean()
        loss = mse + self.smooth * rough
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return {"loss": loss.detach(), "mse": mse.detach(), "rough": rough.detach()}

    @torch.inference_mode()
    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """[N], [N] → [N, C, H, W] uint8 on the CPU; the seed chooses the pair and the place."""
        return in_chunks(self.draw, labels, seeds, rows_at_once(self.shape, self.device))

    def draw(self, labels: Tensor, seeds: Tensor) -> Tensor:
        """One batch of blends."""
        net = self.modules["net"]
        assert isinstance(net, Bend)
        labels = labels.to(self.device)
        first, second, place = torch.special.ndtr(noise_for(seeds, (3,), self.device)).unbind(1)
        a = self.remembered(labels, first)
        b = self.remembered(labels, second)
        t = self.reach * place[:, None, None, None]
        with autocast(self.precision, self.device):
            forth, back = net(a, b), net(b, a)
        near = bent(a, t * net.laid(forth))
        far = bent(b, (1 - t) * net.laid(back))
        return to_uint8((1 - t) * near + t * far)
