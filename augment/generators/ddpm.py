"""A small class-conditional diffusion model: v-prediction, diffusers' schedulers, fast sampler.

x0 is an image, xt the same with noise eps at level t: xt = alpha x0 + sigma eps, where alpha² is
alpha_bar[t] and sigma² = 1 - alpha² (Ho et al. 2020, eq. 4). The network sees images with padded
sides, with a spectrum that `whitening` evens out (see `spectrum`) and with patches folded into
channels; `unet` has the networks to choose from. For large images and latents see `reduction`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW

from augment.data.images import LabelledImages, to_uint8
from augment.errors import UsageError
from augment.generators.autoencoder import sha_of_autoencoder
from augment.generators.blocks import images_per_call, in_chunks
from augment.generators.controls import Memory
from augment.generators.reduction import reduce_set
from augment.generators.solvers import (
    LEVELS,
    Course,
    first_level,
    follow_scheduler,
    follow_table,
    next_image,
    noisy,
    scheduler,
)
from augment.generators.spectrum import Spectrum
from augment.generators.unet import NETWORKS, UNetSettings, velocity_of
from augment.runtime.device import to_device
from augment.runtime.seeds import noise_for, seeded
from augment.training.cuda_graphs import GraphedFunction
from augment.training.ema import ema_copy, ema_update
from augment.training.learner import SNAPSHOTS, Metrics, in_mode, seeded_init
from augment.training.optim import set_rate, warmup_cosine
from augment.training.precision import autocast

SAMPLERS = ("dpm++", "ddim", "ddpm")


@dataclass
class DDPM:
    """Diffusion model (Ho et al. 2020) with a null class for classifier-free guidance."""

    steps: int = 1200
    batch: int = 64
    network: str = "lean"  # or "unet2d", diffusers' UNet2DModel
    widths: tuple[int, ...] = (32, 64)
    patch: int = 0  # pixels a side folded into channels; 0: 2, of latents 1
    attention: bool = True  # at the lowest resolution only
    whitening: float = 0.0  # how far colours and frequencies are made alike; 0: pixels as they are
    autoencoder: str = ""  # whose latents are learnt: a folder of one trained elsewhere, or own
    autoencoder_sha: str = ""  # of all that lies there; if given, it must still be so
    hub: int = 256  # hidden units of the MLP on the whole lowest grid (lean); 0: none
    lr: float = 2e-3
    weight_decay: float = 0.01
    dropout: float = 0.0
    noise_power: float = 0.6  # level = 1000 u^power; below 1: more of the levels that decide shape
    label_dropout: float = 0.1  # how often the label is replaced by the null class
    ema: float = 0.995
    clip: float = 0.0  # the gradient's norm at most; 0: as it is
    sampler: str = "dpm++"  # or "ddim", "ddpm" (the full chain, with calls = 1000)
    calls: int = 20  # noise levels visited; the network runs twice in each under guidance
    guidance: float = 1.0  # 1: none; Ho & Salimans 2021, with eq. 6's w = guidance - 1
    strength: float = 1.0  # share of the noise levels a sample comes from; 1: pure noise
    interpolate: bool = False  # below strength 1: start between two labelled images of the class
    snapshot: float = 1.0  # of SNAPSHOTS: how much of the training the weights have seen
    transformed: float = 0.5  # share of each batch with classic transforms, told to the network

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    graphs: dict[Any, GraphedFunction] = field(default_factory=dict, init=False, repr=False)
    closed_set: ClassVar[bool] = True
    sampling: ClassVar[tuple[str, ...]] = (
        "sampler",
        "calls",
        "guidance",
        "strength",
        "interpolate",
        "snapshot",
    )
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=60, batch=32, widths=(16, 32), hub=64, whitening=0.5),
        "quick": dict(steps=1200, batch=64, widths=(32, 64), whitening=0.5),
        "full": dict(
            steps=9000,
            batch=256,
            widths=(128, 256),
            hub=0,
            lr=1e-3,
            dropout=0.1,
            ema=0.999,
            clip=1.0,
        ),
    }

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build network, EMA and optimiser for images [*, C, H, W] of K classes."""
        for key, known in (("sampler", SAMPLERS), ("network", NETWORKS), ("snapshot", SNAPSHOTS)):
            if (value := getattr(self, key)) not in known:
                raise UsageError(f"ddpm.{key} '{value}' is none of {', '.join(map(str, known))}")
        self.null, self.graphs = len(data.classes), {}
        self.device, self.precision = device, precision
        self.alpha_bar = scheduler("ddpm").alphas_cumprod.to(device)  # [LEVELS]
        self.autoencoder_sha = sha_of_autoencoder(self.autoencoder, self.autoencoder_sha)
        self.memory, self.image_shape = Memory(data), data.shape
        self.reduction, data = reduce_set(data, self.autoencoder, self.network_settings, device)
        self.shape = data.shape  # that the network learns
        net = seeded_init(lambda: self.build(len(data.classes)), seed)
        net = net.to(device=device, memory_format=torch.channels_last)
        self.spectrum = Spectrum(data, self.fold, self.multiple, self.whitening)
        self.memory.add_module("reduction", self.reduction)  # so that they are saved
        self.memory.add_module("spectrum", self.spectrum)
        self.modules = {"net": net, "ema": ema_copy(net), "memory": self.memory.to(device)}
        optimiser = AdamW(net.parameters(), self.lr, weight_decay=self.weight_decay, fused=True)
        if self.clip:  # at the step itself: a batch in parts has its whole gradient only then
            optimiser.register_step_pre_hook(self.clip_gradients)
        self.optimisers = {"net": optimiser}

    @property
    def fold(self) -> int:
        """Side in pixels of the patches that become channels: each doubling quarters the cost."""
        return self.patch or (1 if self.autoencoder else 2)

    @property
    def multiple(self) -> int:
        """Number of pixels that both sides are padded to a multiple of."""
        return self.fold * 2 ** (len(self.widths) - 1)

    @property
    def network_settings(self) -> UNetSettings:
        """What shapes the network besides the images."""
        gpu = self.device.type != "cpu"
        return UNetSettings(
            self.widths, self.hub, self.attention, self.dropout, gpu, self.precision
        )

    def build(self, n_classes: int) -> nn.Module:
        """Build the network for images of this shape; one class more, the null class."""
        channels, height, width = self.shape
        sides = (  # as `Spectrum` pads and folds them
            -(-height // self.multiple) * self.multiple // self.fold,
            -(-width // self.multiple) * self.multiple // self.fold,
        )
        channels *= self.fold**2
        net = NETWORKS[self.network](channels, sides, n_classes + 1, self.network_settings)
        self.reduction.add_networks(net, n_classes)
        return net

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take one step on the v-prediction loss (Salimans & Ho 2022, eq. 12 and appendix D)."""
        # eval mode keeps channels_last through the network; only dropout needs train mode
        net = in_mode(self.modules["net"], self.dropout > 0)
        optimiser = self.optimisers["net"]
        set_rate(optimiser, self.lr * warmup_cosine(step, self.steps))
        with seeded(rng, only_if=self.dropout > 0):
            small, waves = self.reduction.split(images)
            loss = self.loss(net, small, labels, rng)
            loss = loss + self.reduction.loss(net, waves, labels, rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        ema_update(self.modules["ema"], net, step, self.ema)
        return {"loss": loss.detach()}

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
        """Return the loss of (small) images [B, C, H, W]."""
        x0 = self.spectrum.to_components(images)  # [B, C × fold², H / fold, W / fold]
        u = torch.rand(len(x0), generator=rng, device=self.device)
        t = (LEVELS * u**self.noise_power).long().clamp_(max=LEVELS - 1)
        eps = torch.randn(x0.shape, generator=rng, device=self.device)
        # label dropout trains the null class too (Ho & Salimans 2021, algorithm 1)
        dropped = torch.rand(len(x0), generator=rng, device=self.device) < self.label_dropout
        labels = torch.where(dropped, self.null, labels)
        xt, v = noisy(x0, eps, self.alpha_bar[t])
        xt = xt.contiguous(memory_format=torch.channels_last)
        with autocast(self.precision, self.device):
            predicted = velocity_of(net, xt, t, labels)
        return F.mse_loss(predicted.float(), v)

    def clip_gradients(self, *_: Any) -> None:
        """Scale the gradient down to the norm `clip` at most."""
        nn.utils.clip_grad_norm_(self.modules["net"].parameters(), self.clip)

    @torch.inference_mode()
    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Sample an image for each label and seed: [N], [N] → [N, C, H, W] uint8 on the CPU."""
        rows = images_per_call(self.image_shape, self.device)
        return in_chunks(self.sample_chunk, labels, seeds, rows)

    def sample_chunk(self, labels: Tensor, seeds: Tensor) -> Tensor:
        """Run one batch through the sampler: [B], [B] → [B, C, H, W] uint8."""
        channels, height, width = self.shape
        padded = (channels, height + -height % self.multiple, width + -width % self.multiple)
        x = F.pixel_unshuffle(noise_for(seeds, padded, self.device), self.fold)
        labels = to_device(labels, self.device)
        x = x.contiguous(memory_format=torch.channels_last)
        course = Course(self.sampler, self.calls, self.strength, clipped=not self.whitening)
        waves = None
        if self.strength < 1:  # as SDEdit (Meng et al. 2022), from a labelled image of the class
            start = self.memory.start_images(labels, seeds, self.interpolate)
            start, waves = self.reduction.split(start)
            x0 = self.spectrum.to_components(start)
            x, _ = noisy(x0, x, self.alpha_bar[first_level(course)])
        if self.device.type == "cpu" or self.sampler == "ddpm":
            x = follow_scheduler(course, x, partial(self.velocity, labels=labels), seeds)
        else:
            x = follow_table(course, x, partial(self.graphed_step(), labels))
        x = self.spectrum.to_images(x)[..., :height, :width]
        return to_uint8(self.reduction.draw(self.modules["ema"], x, labels, seeds, course, waves))

    def graphed_step(self) -> GraphedFunction:
        """Return a step of the sampler, which a GPU replays as a CUDA graph: see `next_image`."""
        # what a recording holds fast, besides the weights: those change in place
        key = _, clipped = self.guidance, self.sampler == "ddim" and not self.whitening
        if key not in self.graphs:

            def step(labels: Tensor, x: Tensor, last: Tensor, t: Tensor, row: Tensor) -> Metrics:
                return next_image(x, self.velocity(x, t, labels), last, row, clipped)

            self.graphs[key] = GraphedFunction(step, self.device, None)
        return self.graphs[key]

    def velocity(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Predict v with classifier-free guidance, conditional and null class as one batch."""
        net, times = self.modules["ema"], t.expand(len(x))
        with autocast(self.precision, self.device):
            if self.guidance == 1:
                return velocity_of(net, x, times, labels).float()
            both = torch.cat([labels, torch.full_like(labels, self.null)])
            v = velocity_of(net, x.repeat(2, 1, 1, 1), times.repeat(2), both)
        conditional, unconditional = v.float().chunk(2)
        return unconditional + self.guidance * (conditional - unconditional)
