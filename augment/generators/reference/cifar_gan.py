"""Reference system A, colour images: a GAN without labels, and its conditional form.

Losses, learning rates and the two steps of G are the report's, as are the networks in
`cifar_networks`; a comment says where it gives none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.classifiers.models import Airbench
from augment.data.images import LabelledImages
from augment.errors import UsageError
from augment.generators.blocks import LN2, binary_loss, images_per_call, in_chunks, sample_decoder
from augment.generators.reference.cifar_networks import CifarDiscriminator, CifarGenerator
from augment.runtime.seeds import seed_for
from augment.training.learner import Metrics, seeded_init, steps_for
from augment.training.optim import optimizer_step
from augment.training.precision import autocast

LABELLINGS = ("classifier", "per-class")


@dataclass
class GANPair:
    """What A1 and A2 share: one step of D, two of G, binary cross-entropy, AdamW.

    `modules["g"]` and `modules["d"]` are lists of as many models as `pairs` builds.
    """

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

    def pairs(self, data: LabelledImages) -> list[tuple[CifarGenerator, CifarDiscriminator]]:
        """Build G and D of each model."""
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

    def gan_step(self, model: int, images: Tensor, labels: Tensor, rng: torch.Generator) -> Metrics:
        """Take a step of D on real and generated images, then those of G, each with new noise."""
        g, d = (self.modules[name].train().get_submodule(str(model)) for name in "gd")

        def generate() -> Tensor:
            z = torch.randn(len(images), self.z, generator=rng, device=self.device)
            return g(z, labels).float()

        with autocast(self.precision, self.device):
            d_real = binary_loss(d(images, labels), True)
            d_fake = binary_loss(d(generate().detach(), labels), False)
        losses = {"d_real": d_real, "d_fake": d_fake}
        optimizer_step(self.optimisers["d"], d_real + d_fake)
        d.requires_grad_(False)  # G's steps need no gradients of D's weights
        for _ in range(self.g_steps):
            with autocast(self.precision, self.device):
                fake = generate()
                losses["g"] = binary_loss(d(fake, labels), True)
            extra = self.extra_g_loss(fake, images, losses)
            optimizer_step(self.optimisers["g"], losses["g"] + extra)
        d.requires_grad_(True)
        return {name: loss.detach() for name, loss in losses.items()}

    def extra_g_loss(self, fake: Tensor, images: Tensor, losses: Metrics) -> Tensor | float:
        """Return what is added to G's loss, and enter it in `losses`."""
        return 0.0

    def sample_model(self, model: int, labels: Tensor, seeds: Tensor) -> Tensor:
        """Sample from one model: [N], [N] → [N, C, H, W] uint8 on the CPU."""
        g = self.modules["g"].eval().get_submodule(str(model))
        return sample_decoder(self, g, labels, seeds)


@dataclass
class A1GAN(GANPair):
    """Reference A1, GAN without labels (D a ResNet-18): labelled by a classifier, or one a class.

    `classifier`: one model, and a classifier trained beside it on the same labelled images; a
    sample is the first of at most `tries` images that it assigns to the wanted class, else the
    likeliest. `per-class`: a model per class, each trained on the images of its class in a batch.
    """

    labelling: str = "classifier"
    tries: int = 32
    sampling: ClassVar[tuple[str, ...]] = ("tries",)
    grid_shares: ClassVar[tuple[float, ...]] = (0.0, 0.3, 0.7, 1.0)  # epochs 0, 15, 35, 50
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=40, batch=16, width=8, tries=8),
        # reduced: a quarter of the width, few steps, so eight times the rates
        "quick": dict(epochs=30, batch=32, width=16, lr=4e-4, d_lr=1.6e-4),
        "full": {},
    }

    def pairs(self, data: LabelledImages) -> list[tuple[CifarGenerator, CifarDiscriminator]]:
        """Build one pair, or one per class; UsageError for an unknown labelling."""
        if self.labelling not in LABELLINGS:
            known = ", ".join(LABELLINGS)
            raise UsageError(f"a1-gan.labelling '{self.labelling}' is none of {known}")
        n = len(data.classes) if self.labelling == "per-class" else 1
        sizes = (self.width, data.shape)
        return [(CifarGenerator(self.z, *sizes), CifarDiscriminator(*sizes)) for _ in range(n)]

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build the networks, and the classifier that labels."""
        super().prepare(data, seed=seed, device=device, precision=precision)
        self.recordable = self.labelling == "classifier"  # else `batches` waits for the GPU
        if self.recordable:
            self.labeller = Airbench(steps=self.steps, batch=self.batch, width=self.width)
            self.labeller.prepare(data, seed=seed, device=device, precision=precision)
            self.modules["labeller"] = nn.ModuleDict(self.labeller.modules)
            self.optimisers["labeller"] = self.labeller.optimisers["net"]

    def batches(self, labels: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield (model, indices in the batch) of what each model learns from.

        A class with a single image here is left out: batch norm needs two.
        """
        if self.labelling == "classifier":
            yield 0, torch.arange(len(labels), device=labels.device)
            return
        for label in labels.unique().tolist():
            indices = (labels == label).nonzero().flatten()
            if len(indices) > 1:
                yield label, indices

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take a step of each model that has images here, and one of the classifier."""
        metrics = [
            self.gan_step(model, images[indices], labels[indices], rng)
            for model, indices in self.batches(labels)
        ]
        means = {name: torch.stack([m[name] for m in metrics]).mean() for name in self.curves}
        if self.labelling == "classifier":
            labeller_metrics = self.labeller.update(images, labels, step=step, rng=rng)
            means["labeller"] = labeller_metrics["loss"]
        return means

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Sample an image for each label and seed: [N], [N] → [N, C, H, W] uint8 on the CPU."""
        if self.labelling == "classifier":
            return self.sample_labelled(labels, seeds)
        images = torch.empty(len(labels), *self.shape, dtype=torch.uint8)
        for label in labels.unique().tolist():
            rows = labels == label
            images[rows] = self.sample_model(label, labels[rows], seeds[rows])
        return images

    def sample_labelled(self, labels: Tensor, seeds: Tensor) -> Tensor:
        """Sample until the classifier assigns each image to its label, at most `tries` times."""
        images = torch.empty(len(labels), *self.shape, dtype=torch.uint8)
        # indices without a fitting image yet, and the probability of each label's best image so far
        pending, best = torch.arange(len(labels)), torch.full((len(labels),), -1.0)
        for attempt in range(self.tries):
            attempt_seeds = torch.tensor([seed_for(s, attempt) for s in seeds[pending].tolist()])
            candidates = self.sample_model(0, labels[pending], attempt_seeds)
            probabilities = self.probabilities(candidates)
            of_label = probabilities.gather(1, labels[pending, None]).squeeze(1)
            fits = probabilities.argmax(1) == labels[pending]
            better = fits | (of_label > best[pending])
            images[pending[better]], best[pending[better]] = candidates[better], of_label[better]
            pending = pending[~fits]
            if not len(pending):
                break
        return images

    def probabilities(self, images: Tensor) -> Tensor:
        """Classify uint8 images [N, C, H, W], always as many a call: [N, K]."""
        indices, rows = torch.arange(len(images)), images_per_call(self.shape, self.device)

        def classify(chunk: Tensor, _: Tensor) -> Tensor:
            return torch.cat(list(self.labeller.predict(images[chunk], rows)))

        return in_chunks(classify, indices, indices, rows)


@dataclass
class A2CGAN(GANPair):
    """Reference A2, conditional form of A1 with a similarity term: mean squared error to reals."""

    d_lr: float = 5e-5
    similarity: float = 1.0  # weight of the term; the report gives none
    sampling: ClassVar[tuple[str, ...]] = ()
    grid_shares: ClassVar[tuple[float, ...]] = (0.0, 0.7, 1.0)  # epochs 0, 35, 50
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=40, batch=16, width=8),
        "quick": dict(epochs=30, batch=32, width=16, lr=4e-4, d_lr=4e-4),  # reduced, as A1
        "full": {},
    }

    def pairs(self, data: LabelledImages) -> list[tuple[CifarGenerator, CifarDiscriminator]]:
        """Build one pair that sees the labels."""
        sizes = (self.width, data.shape, len(data.classes))
        return [(CifarGenerator(self.z, *sizes), CifarDiscriminator(*sizes))]

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take one step; image k of the batch, real or generated, is of label k."""
        return self.gan_step(0, images, labels, rng)

    def extra_g_loss(self, fake: Tensor, images: Tensor, losses: Metrics) -> Tensor:
        """Return the weighted similarity term."""
        losses["mse_simu"] = F.mse_loss(fake, images)
        return self.similarity * losses["mse_simu"]

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Sample an image for each label and seed: [N], [N] → [N, C, H, W] uint8 on the CPU."""
        return self.sample_model(0, labels, seeds)
