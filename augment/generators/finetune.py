"""A diffusion pipeline of the user's own, fine-tuned on the labelled images by LoRA.

Only low-rank adapters and what the network is told of the classes are learnt and saved; the rest is
read from `finetune.folder`, which is hashed. Below strength 1 a sample varies a labelled image
(Trabucco et al. 2023, DA-Fusion). Arms that use it are marked: the pipeline saw other images.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import LabelledImages, to_uint8
from augment.errors import UsageError
from augment.generators.adapters import ADAPTED, trainable
from augment.generators.blocks import images_per_call, in_chunks
from augment.generators.controls import Memory
from augment.generators.denoiser import fine_tuned_denoiser
from augment.generators.pipelines import fit_shape, need_extra, pipeline_index, unchanged_sha
from augment.runtime.device import to_device
from augment.runtime.seeds import noise_for, seed_for
from augment.training.learner import Metrics
from augment.training.optim import optimizer_step, set_rate, warmup_cosine
from augment.training.precision import autocast

TUNABLE = ("StableDiffusionPipeline", "DiTPipeline", "DDPMPipeline", "DDIMPipeline")


@dataclass
class Finetune:
    """A diffusers pipeline of your own, fine-tuned by LoRA: `finetune.folder` is its folder."""

    folder: str = ""
    sha: str = ""  # of all that lies there; if given, as when a run is resumed, it must still be so
    steps: int = 500
    batch: int = 8
    size: int = 0  # longer side in pixels at which the pipeline works; 0: its own
    rank: int = 8  # of the adapters
    layers: tuple[str, ...] = ADAPTED  # that get one
    lr: float = 3e-4
    label_dropout: float = 0.1  # how often the class is left out, which guidance needs
    prompt: str = "a photo of a {label}"  # of pipelines that take a text
    labels: tuple[int, ...] = ()  # the pipeline's label that each class starts as; (): by name
    calls: int = 20  # noise levels visited; the network runs twice in each under guidance
    guidance: float = 1.0  # 1: none
    strength: float = 1.0  # share of the noise levels a sample comes from; 1: pure noise
    transformed: float = 0.0  # share of each batch with classic transforms, told as other classes

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    closed_set: ClassVar[bool] = False
    recordable: ClassVar[bool] = False  # large networks do not gain; their code may wait
    sampling: ClassVar[tuple[str, ...]] = ("calls", "guidance", "strength")
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=20, batch=4, rank=4, calls=4),
        "quick": dict(steps=500),
        "full": dict(steps=3000, batch=16, rank=16, calls=30),
    }

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Check the folder, load it and add adapters for images [*, C, H, W] of K classes.

        UsageError or MachineError, in a sentence, for a folder that cannot be used.
        """
        self.shape, self.null = data.shape, len(data.classes)
        self.device, self.precision = device, precision
        index = pipeline_index("finetune", self.folder, TUNABLE)
        need_extra(f"finetune.folder '{self.folder}'", index["_class_name"], "finetune", "peft")
        if self.rank < 1:
            raise UsageError(f"finetune.rank = {self.rank}: give 1 or more")
        self.sha = unchanged_sha("finetune.folder", self.folder, self.sha)
        self.denoiser = fine_tuned_denoiser(self, index, data, seed)
        self.denoiser.to(device)
        adapters = trainable(self.denoiser.network)
        self.modules = {"adapters": adapters, "memory": Memory(data).to(device)}
        self.optimisers = {"adapters": torch.optim.AdamW(adapters.values(), self.lr, fused=True)}

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take one step on the loss that the pipeline was trained on, of its own prediction."""
        optimiser = self.optimisers["adapters"]
        set_rate(optimiser, self.lr * warmup_cosine(step, self.steps))
        with autocast(self.precision, self.device):
            x0 = self.denoiser.encode(images)  # [B, c, h, w]
        n = len(x0)
        levels = len(self.denoiser.alpha_bar)
        t = torch.randint(levels, (n,), generator=rng, device=self.device)
        eps = torch.randn(x0.shape, generator=rng, device=self.device)
        dropped = torch.rand(n, generator=rng, device=self.device) < self.label_dropout
        labels = torch.where(dropped, self.null, labels)
        with autocast(self.precision, self.device):
            predicted = self.denoiser.predict(self.denoiser.noised(x0, eps, t), t, labels)
        loss = F.mse_loss(predicted.float(), self.denoiser.target(x0, eps, t))
        optimizer_step(optimiser, loss)
        return {"loss": loss.detach()}

    @torch.inference_mode()
    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Sample at the pipeline's size, then resize: [N], [N] → [N, C, H, W] uint8 on the CPU."""
        rows = images_per_call((3, *self.denoiser.sides), self.device)
        return in_chunks(self.sample_chunk, labels, seeds, rows)

    def sample_chunk(self, labels: Tensor, seeds: Tensor) -> Tensor:
        """Run one batch through the sampler: [B], [B] → [B, C, H, W] uint8."""
        plan = self.denoiser.scheduler()
        # evenly down from the highest level; the last step leaves no noise
        top, steps = len(self.denoiser.alpha_bar), max(1, round(self.strength * self.calls))
        levels = [top - 1 - k * top // self.calls for k in range(self.calls)][-steps:]
        plan.set_timesteps(timesteps=levels, device=self.device)
        x = noise_for(seeds, self.denoiser.noise_shape, self.device)
        labels = to_device(labels, self.device)
        with autocast(self.precision, self.device):
            if self.strength < 1:  # as SDEdit (Meng et al. 2022), from a labelled image
                x0 = self.denoiser.encode(self.start_images(labels, seeds))
                first = torch.full((len(x),), levels[0], device=self.device)
                x = self.denoiser.noised(x0, x, first)
            for t in plan.timesteps:
                x = plan.step(self.guided(x, t, labels), t, x, return_dict=False)[0]
        return fit_shape(self.shape, to_uint8(self.denoiser.decode(x)))

    def guided(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Predict with classifier-free guidance, with and without the class as one batch."""
        times = t.expand(len(x))
        if self.guidance == 1:
            return self.denoiser.predict(x, times, labels).float()
        both = torch.cat([labels, torch.full_like(labels, self.null)])
        predicted = self.denoiser.predict(x.repeat(2, 1, 1, 1), times.repeat(2), both)
        conditional, unconditional = predicted.float().chunk(2)
        return unconditional + self.guidance * (conditional - unconditional)

    def start_images(self, labels: Tensor, seeds: Tensor) -> Tensor:
        """Choose a labelled image of each label by its seed: [B, C, H, W] in [-1, 1]."""
        memory = self.modules["memory"]
        assert isinstance(memory, Memory)
        start_seeds = torch.tensor([seed_for(s, "start") for s in seeds.tolist()])
        # ndtr, the normal distribution function, makes uniform numbers of normal ones
        return memory.choose(labels, torch.special.ndtr(noise_for(start_seeds, (), self.device)))
