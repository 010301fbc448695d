"""Reference system A, colour pictures: a GAN without labels, and its conditional form.

Networks, losses, rates and the two steps of G are the report's; a comment says where it gives none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.classifiers.blocks import Residual
from augment.classifiers.models import Airbench
from augment.data.images import LabelledImages
from augment.errors import UsageError
from augment.generators.blocks import LN2, binary_loss, decode, in_chunks, rows_at_once
from augment.runtime.seeds import seed_for
from augment.training.learner import Metrics, seeded_init, steps_for
from augment.training.optim import optimizer_step
from augment.training.precision import autocast

Shape = tuple[int, int, int]


LABELLINGS = ("classifier", "per-class")


class Painter(nn.Module):
    """(z [B, Z], labels [B]) → images [B, C, H, W] in [-1, 1].

    With classes, label and noise are each lifted by a fully connected layer and stand side by side.
    """

    def __init__(self, z: int, width: int, shape: Shape, n_classes: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.label = nn.Embedding(n_classes, z) if n_classes else None
        self.noise = nn.Linear(z, z) if n_classes else nn.Identity()
        self.body = nn.Sequential(
            raised(2 * z if n_classes else z, 4 * width, 1, 0),  # 4×4
            raised(4 * width, 2 * width, 2, 1),
            raised(2 * width, width, 2, 1),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * width, shape[0] * shape[1] * shape[2]),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        x = self.noise(z)
        if self.label is not None:
            x = torch.cat([self.label(labels), x], 1)
        return self.body(x[:, :, None, None]).unflatten(1, self.shape)


def raised(channels: int, out: int, stride: int, padding: int) -> nn.Sequential:
    """Transposed 4×4 convolution, batch norm, ReLU."""
    convolution = nn.ConvTranspose2d(channels, out, 4, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU())


class Discriminator(nn.Module):
    """ResNet-18 (at width 64), fully connected, sigmoid: (images, labels) → [B, 1].

    With classes, the label is lifted by a fully connected layer to one more plane of the image.
    """

    def __init__(self, width: int, shape: Shape, n_classes: int = 0) -> None:
        super().__init__()
        self.sides, w = shape[1:], width
        self.label = nn.Embedding(n_classes, shape[1] * shape[2]) if n_classes else None
        self.body = nn.Sequential(
            nn.Conv2d(shape[0] + bool(n_classes), w, 7, 2, 3, bias=False),
            nn.BatchNorm2d(w),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            Residual(w, w),
            Residual(w, w),
            Residual(w, 2 * w, 2),
            Residual(2 * w, 2 * w),
            Residual(2 * w, 4 * w, 2),
            Residual(4 * w, 4 * w),
            Residual(4 * w, 8 * w, 2),
            Residual(8 * w, 8 * w),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8 * w, 1),
            nn.Sigmoid(),
        )

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = images
        if self.label is not None:
            x = torch.cat([x, self.label(labels).unflatten(1, (1, *self.sides))], 1)
        return self.body(x.contiguous(memory_format=torch.channels_last))


@dataclass
class Rivals:
    """What A1 and A2 share: one step of D, two of G, binary cross-entropy, AdamW."""

    epochs: int = 50  # passes over the labelled images
    steps: int = 0  # 0: as many as `epochs` takes
    batch: int = 64
    z: int = 100  # the report gives no length of the noise
    width: int = 64  # of both networks; 64 makes D a ResNet-18
    lr: float = 5e-5  # of G
    d_lr: float = 2e-5
    g_steps: int = 2  # for each of D's
    transformed: float = 0.0  # share of each batch with classic transforms; 1: all, untold

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    closed_set: ClassVar[bool] = True
    start: ClassVar[dict[str, float]] = {"d_real": LN2, "d_fake": LN2, "g": LN2}
    in_parts: ClassVar[bool] = False  # an update is several steps
    curves: ClassVar[dict[str, str]] = {
        "d_real": "D loss on real",
        "d_fake": "D loss on generated",
        "g": "G loss",
    }

    def pairs(self, data: LabelledImages) -> list[tuple[Painter, Discriminator]]:
        """G and D of each model."""
        raise TypeError("A1 and A2 say here what their networks are")

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build the networks and their optimisers."""
        if self.batch < 2:
            raise UsageError("--set generator.batch=1: batch norm needs 2 images or more")
        self.device, self.precision, self.shape = device, precision, data.shape
        self.steps = self.steps or steps_for(self.epochs, data, self.batch)
        pairs = seeded_init(lambda: self.pairs(data), seed)
        for name, nets in zip("gd", zip(*pairs, strict=True), strict=True):
            models: Any = nn.ModuleList(nets)
            self.modules[name] = models.to(device=device, memory_format=torch.channels_last)
        self.optimisers = {
            name: torch.optim.AdamW(self.modules[name].parameters(), lr, fused=True)
            for name, lr in (("g", self.lr), ("d", self.d_lr))
        }

    def duel(self, model: int, images: Tensor, labels: Tensor, rng: torch.Generator) -> Metrics:
        """A step of D on real and generated images, then G's, each with new noise."""
        g, d = (self.modules[name].train().get_submodule(str(model)) for name in "gd")

        def paint() -> Tensor:
            z = torch.randn(len(images), self.z, generator=rng, device=self.device)
            return g(z, labels).float()

        with autocast(self.precision, self.device):
            d_real = binary_loss(d(images, labels), True)
            d_fake = binary_loss(d(paint().detach(), labels), False)
        losses = {"d_real": d_real, "d_fake": d_fake}
        optimizer_step(self.optimisers["d"], d_real + d_fake)
        d.requires_grad_(False)
        for _ in range(self.g_steps):
            with autocast(self.precision, self.device):
                fake = paint()
                losses["g"] = binary_loss(d(fake, labels), True)
            optimizer_step(self.optimisers["g"], losses["g"] + self.pull(fake, images, losses))
        d.requires_grad_(True)
        return {name: loss.detach() for name, loss in losses.items()}

    def pull(self, fake: Tensor, images: Tensor, losses: Metrics) -> Tensor | float:
        """What is added to G's loss; it stands in `losses` too."""
        return 0.0

    def draw(self, model: int, labels: Tensor, seeds: Tensor) -> Tensor:
        """Images of one model: [N], [N] → [N, C, H, W] uint8 on the CPU."""
        g = self.modules["g"].eval().get_submodule(str(model))
        return decode(g, self.z, self.shape, labels, seeds, self.device, self.precision)


@dataclass
class A1GAN(Rivals):
    """Reference A1, GAN without labels (D a ResNet-18): labelled by a classifier, or one a class.

    `classifier`: one model, and a classifier trained beside it on the same labelled images; a
    sample is the first of at most `tries` pictures that it takes for the wanted class, else the
    likeliest. `per-class`: a model a class, each trained on the images of its class in a batch.
    """

    labelling: str = "classifier"
    tries: int = 32
    sampling: ClassVar[tuple[str, ...]] = ("tries",)
    shown: ClassVar[tuple[float, ...]] = (0.0, 0.3, 0.7, 1.0)  # epochs 0, 15, 35, 50
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=40, batch=16, width=8, tries=8),
        # reduced: a quarter of the width, few steps, so eight times the rates
        "quick": dict(epochs=30, batch=32, width=16, lr=4e-4, d_lr=1.6e-4),
        "full": {},
    }

    def pairs(self, data: LabelledImages) -> list[tuple[Painter, Discriminator]]:
        """One pair, or one a class."""
        if self.labelling not in LABELLINGS:
            known = ", ".join(LABELLINGS)
            raise UsageError(f"a1-gan.labelling '{self.labelling}' is none of {known}")
        n = len(data.classes) if self.labelling == "per-class" else 1
        about = (self.width, data.shape)
        return [(Painter(self.z, *about), Discriminator(*about)) for _ in range(n)]

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build the networks, and the classifier that labels."""
        super().prepare(data, seed=seed, device=device, precision=precision)
        if self.labelling == "classifier":
            self.labeller = Airbench(steps=self.steps, batch=self.batch, width=self.width)
            self.labeller.prepare(data, seed=seed, device=device, precision=precision)
            self.modules["labeller"] = nn.ModuleDict(self.labeller.modules)
            self.optimisers["labeller"] = self.labeller.optimisers["net"]

    def shares(self, labels: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(model, indices in the batch) of what each model learns from; two images at least."""
        if self.labelling == "classifier":
            yield 0, torch.arange(len(labels), device=labels.device)
            return
        for label in labels.unique().tolist():
            own = (labels == label).nonzero().flatten()
            if len(own) > 1:
                yield label, own

    def update(self, images: Tensor, labels: Tensor, *, step: int, rng: torch.Generator) -> Metrics:
        """A duel in each model that has images here, and a step of the classifier."""
        found = [self.duel(k, images[own], labels[own], rng) for k, own in self.shares(labels)]
        means = {name: torch.stack([m[name] for m in found]).mean() for name in self.curves}
        if self.labelling == "classifier":
            learnt = self.labeller.update(images, labels, step=step, rng=rng)
            means["labeller"] = learnt["loss"]
        return means

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """[N] labels, [N] seeds → [N, C, H, W] uint8 on the CPU."""
        images = torch.empty(len(labels), *self.shape, dtype=torch.uint8)
        if self.labelling == "per-class":
            for label in labels.unique().tolist():
                own = labels == label
                images[own] = self.draw(label, labels[own], seeds[own])
            return images
        open_, best = torch.arange(len(labels)), torch.full((len(labels),), -1.0)
        for attempt in range(self.tries):
            keys = torch.tensor([seed_for(seed, attempt) for seed in seeds[open_].tolist()])
            made = self.draw(0, labels[open_], keys)
            probabilities = self.probabilities(made)
            wanted = probabilities.gather(1, labels[open_, None]).squeeze(1)
            fits = probabilities.argmax(1) == labels[open_]
            taken = fits | (wanted > best[open_])
            images[open_[taken]], best[open_[taken]] = made[taken], wanted[taken]
            open_ = open_[~fits]
            if not len(open_):
                break
        return images

    def probabilities(self, images: Tensor) -> Tensor:
        """The classifier's, [N, K], always as many images a call."""
        indices, rows = torch.arange(len(images)), rows_at_once(self.shape, self.device)
        return in_chunks(
            lambda own, _: next(self.labeller.predict(images[own], rows)), indices, indices, rows
        )


@dataclass
class A2CGAN(Rivals):
    """Reference A2, conditional form of A1 with a similarity term: mean squared error to reals."""

    d_lr: float = 5e-5
    similarity: float = 1.0  # weight of the term; the report gives none
    sampling: ClassVar[tuple[str, ...]] = ()
    shown: ClassVar[tuple[float, ...]] = (0.0, 0.7, 1.0)  # epochs 0, 35, 50
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=40, batch=16, width=8),
        "quick": dict(epochs=30, batch=32, width=16, lr=4e-4, d_lr=4e-4),  # reduced, as A1
        "full": {},
    }

    def pairs(self, data: LabelledImages) -> list[tuple[Painter, Discriminator]]:
        """One pair that sees the labels."""
        about = (self.width, data.shape, len(data.classes))
        return [(Painter(self.z, *about), Discriminator(*about))]

    def update(self, images: Tensor, labels: Tensor, *, step: int, rng: torch.Generator) -> Metrics:
        """One duel; generated and real images of a place in the batch are of one class."""
        return self.duel(0, images, labels, rng)

    def pull(self, fake: Tensor, images: Tensor, losses: Metrics) -> Tensor:
        """The similarity term, weighted."""
        losses["mse_simu"] = F.mse_loss(fake, images)
        return self.similarity * losses["mse_simu"]

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """[N] labels, [N] seeds → [N, C, H, W] uint8 on the CPU."""
        return self.draw(0, labels, seeds)
