"""Blends of two labelled images of one class, each warped towards the other.

A network learns to warp any image of a class into another of it (unsupervised registration, as
VoxelMorph: Balakrishnan 2019); a sample lies somewhere between two labelled images. What it adds
is how the shapes of a class vary (Hauberg 2016), for data too few to train a generator of pixels.
Its name on the command line is `mix`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import ImageShape, LabelledImages, to_uint8
from augment.generators.blocks import images_per_call, in_chunks, normalise
from augment.generators.controls import Memory
from augment.runtime.device import to_device
from augment.runtime.seeds import noise_for
from augment.training.learner import Metrics, seeded_init
from augment.training.optim import set_rate, warmup_cosine
from augment.training.precision import autocast

SEEN_SIDE = 64  # pixels at most of the longer side that the network sees
POOLED_SIDE = 8  # of the map that the fully connected part sees


class DisplacementNet(nn.Module):
    """(image, target) [B, C, H, W] each → displacements at G × G knots, [B, 2, G, G].

    Displacements are (x, y) in units where a side of the image is 2 long, as in grid_sample.
    """

    def __init__(self, width: int, shape: ImageShape, knots: int) -> None:
        super().__init__()
        channels, *self.sides = shape
        # what is larger is seen smaller: the knots are far apart
        self.shrinking = -(-max(self.sides) // SEEN_SIDE)
        longest = -(-max(self.sides) // self.shrinking)
        # until no side is above POOLED_SIDE; pooling then makes both exactly that
        halvings = max(0, (longest - 1).bit_length() - POOLED_SIDE.bit_length() + 1)
        layers: list[nn.Module] = [nn.Conv2d(2 * channels, width, 3, padding=1), nn.SiLU()]
        for _ in range(halvings):
            layers += [nn.Conv2d(width, width, 3, 2, 1), nn.SiLU()]
        self.convolve = nn.Sequential(*layers, nn.Conv2d(width, width, 3, padding=1), nn.SiLU())
        self.pool = nn.AdaptiveAvgPool2d(POOLED_SIDE)
        self.hidden = nn.Linear(width * POOLED_SIDE**2, 256)
        self.leave = nn.Linear(256, 2 * knots**2)
        # training starts from no displacement
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.knots = knots

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        x = torch.cat([image, target], 1)
        if self.shrinking > 1:
            x = F.avg_pool2d(x, self.shrinking, ceil_mode=True)
        x = x.contiguous(memory_format=torch.channels_last)
        x = normalise(self.pool(self.convolve(x))).flatten(1)
        return self.leave(F.silu(self.hidden(x))).unflatten(1, (2, self.knots, self.knots))

    def upsample_knots(self, knots: Tensor) -> Tensor:
        """Interpolate displacements at the knots [B, 2, G, G] to every pixel [B, 2, H, W]."""
        return F.interpolate(knots.float(), tuple(self.sides), mode="bicubic", align_corners=True)


def warp(images: Tensor, displacements: Tensor) -> Tensor:
    """Take each pixel from where its displacement points; edges are repeated.

    Images [B, C, H, W], displacements [B, 2, H, W] → [B, C, H, W].
    """
    n, _, height, width = images.shape
    identity = torch.eye(2, 3, device=images.device).expand(n, 2, 3)
    grid = F.affine_grid(identity, [n, 1, height, width], align_corners=False)  # [B, H, W, 2]
    # positions far outside, or NaN, crash grid_sample's backward pass; the loss shows them too
    grid = (grid + displacements.permute(0, 2, 3, 1)).nan_to_num(0.0).clamp(-9.0, 9.0)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


@dataclass
class Morph:
    """In-between images of pairs of one class: both warped towards each other, then blended."""

    steps: int = 1000
    batch: int = 64
    width: int = 32
    knots: int = 7  # a side of the grid of displacements, bicubic in between
    smooth: float = 1.0  # weight of differences between neighbouring knots
    lr: float = 1e-3
    reach: float = 1.0  # how far a sample may lie from its first image towards the second
    transformed: float = 1.0  # share of each batch with classic transforms; none is sampled

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
        """Store the labelled images; build network and optimiser."""
        self.device, self.precision, self.shape = device, precision, data.shape
        net = seeded_init(lambda: DisplacementNet(self.width, data.shape, self.knots), seed)
        net = net.to(device=device, memory_format=torch.channels_last)
        self.modules = {"net": net, "memory": Memory(data).to(device)}
        self.k = int(data.labels.max()) + 1
        self.optimisers = {"net": torch.optim.Adam(net.parameters(), self.lr, fused=True)}

    def choose(self, labels: Tensor, u: Tensor) -> Tensor:
        """Choose a labelled image of each label by u in [0, 1): [B, C, H, W] in [-1, 1]."""
        memory = self.modules["memory"]
        assert isinstance(memory, Memory)
        return memory.choose(labels, u)

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take one step on warping each image into a labelled one of its class, smoothly."""
        net, optimiser = self.modules["net"], self.optimisers["net"]
        assert isinstance(net, DisplacementNet)
        set_rate(optimiser, self.lr * warmup_cosine(step, self.steps))
        u = torch.rand(len(labels), generator=rng, device=self.device)
        targets = self.choose(labels % self.k, u)  # label k + K is class k transformed
        with autocast(self.precision, self.device):
            knots = net(images, targets)
        knots = knots.float()
        mse = F.mse_loss(warp(images, net.upsample_knots(knots)), targets)
        # squared differences of neighbouring knots, as in VoxelMorph's smoothness loss
        rough = knots.diff(dim=2).square().mean() + knots.diff(dim=3).square().mean()
        loss = mse + self.smooth * rough
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return {"loss": loss.detach(), "mse": mse.detach(), "rough": rough.detach()}

    @torch.inference_mode()
    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Sample a blend for each label and seed: [N], [N] → [N, C, H, W] uint8 on the CPU.

        The seed chooses the pair and where the sample lies between the two.
        """
        rows = images_per_call(self.shape, self.device)
        return in_chunks(self.sample_chunk, labels, seeds, rows)

    def sample_chunk(self, labels: Tensor, seeds: Tensor) -> Tensor:
        """Blend one batch of pairs: [B], [B] → [B, C, H, W] uint8."""
        net = self.modules["net"]
        assert isinstance(net, DisplacementNet)
        labels = to_device(labels, self.device)
        # ndtr, the normal distribution function, makes uniform numbers of normal ones
        uniform = torch.special.ndtr(noise_for(seeds, (3,), self.device))
        first, second, position = uniform.unbind(1)
        a = self.choose(labels, first)
        b = self.choose(labels, second)
        t = self.reach * position[:, None, None, None]  # 0: a, 1: b
        with autocast(self.precision, self.device):
            a_to_b, b_to_a = net(a, b), net(b, a)
        warped_a = warp(a, t * net.upsample_knots(a_to_b))
        warped_b = warp(b, (1 - t) * net.upsample_knots(b_to_a))
        return to_uint8((1 - t) * warped_a + t * warped_b)
