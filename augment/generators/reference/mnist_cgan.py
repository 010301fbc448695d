"""Reference system B, digits on a CPU: cGAN, VAE, conditional VAE, VAE into cGAN.

Losses and learning rates are the report's, as are the layers in `mnist_networks`; a comment says
where it gives none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import LabelledImages
from augment.generators.blocks import LN2, binary_loss, sample_decoder
from augment.generators.reference.mnist_networks import (
    MnistDiscriminator,
    MnistEncoder,
    MnistGenerator,
)
from augment.training.learner import Metrics, seeded_init, steps_for
from augment.training.optim import optimizer_step
from augment.training.precision import autocast


@dataclass
class B1CGAN:
    """Reference B1, conditional GAN for digits: label times noise in G, label as a channel in D."""

    epochs: int = 50  # passes over the labelled images; the report gives none for its GAN
    steps: int = 0  # 0: as many as `epochs` takes
    batch: int = 128  # nor a batch
    z: int = 100  # nor the length of the noise
    lr: float = 1e-3  # of both networks
    transformed: float = 0.0  # share of each batch with classic transforms; 1: all, untold

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    closed_set: ClassVar[bool] = True
    sampling: ClassVar[tuple[str, ...]] = ()
    in_parts: ClassVar[bool] = False  # an update is several steps
    curves: ClassVar[dict[str, str]] = {
        "d_real": "D loss on real",
        "d_fake": "D loss on generated",
        "g": "G loss",
    }
    start: ClassVar[dict[str, float]] = {"d_real": LN2}  # D has moved before the other two
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=40, batch=16),
        "quick": dict(epochs=20, batch=16),  # reduced: minutes of one core for 1,000 images
        "full": {},
    }

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build G, D and their optimisers."""
        self.device, self.precision, self.shape = device, precision, data.shape
        self.steps = self.steps or steps_for(self.epochs, data, self.batch)
        k = len(data.classes)
        g, d = seeded_init(
            lambda: (MnistGenerator(self.z, data.shape, k), MnistDiscriminator(data.shape, k)), seed
        )
        self.modules = {
            "g": g.to(device=device, memory_format=torch.channels_last),
            "d": d.to(device=device, memory_format=torch.channels_last),
        }
        self.optimisers = {
            name: torch.optim.Adam(net.parameters(), self.lr, fused=True)
            for name, net in self.modules.items()
        }

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take a step of D on real images, one on generated images of the same labels, one of G."""
        g, d = self.modules["g"].train(), self.modules["d"].train()
        z = torch.randn(len(images), self.z, generator=rng, device=self.device)
        with autocast(self.precision, self.device):
            fake = g(z, labels).float()
        losses = {}
        for name, batch, real in (("d_real", images, True), ("d_fake", fake.detach(), False)):
            with autocast(self.precision, self.device):
                losses[name] = binary_loss(d(batch, labels), real)
            optimizer_step(self.optimisers["d"], losses[name])
        d.requires_grad_(False)  # G's step needs no gradients of D's weights
        with autocast(self.precision, self.device):
            losses["g"] = binary_loss(d(fake, labels), True)
        optimizer_step(self.optimisers["g"], losses["g"])
        d.requires_grad_(True)
        return {name: loss.detach() for name, loss in losses.items()}

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Sample an image for each label and seed: [N], [N] → [N, C, H, W] uint8 on the CPU."""
        g = self.modules["g"].eval()
        return sample_decoder(self, g, labels, seeds)


@dataclass
class B2VAE:
    """Reference B2, VAE with two latent dimensions: its images are not tied to a digit."""

    epochs: int = 50
    steps: int = 0  # 0: as many as `epochs` takes
    batch: int = 128  # the report gives none
    z: int = 2  # latent dimensions
    lr: float = 1e-3
    transformed: float = 0.0  # share of each batch with classic transforms; 1: all, untold

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    closed_set: ClassVar[bool] = True
    sampling: ClassVar[tuple[str, ...]] = ()
    curves: ClassVar[dict[str, str]] = {"loss": "loss, nats an image"}
    presets: ClassVar[dict[str, dict[str, Any]]] = B1CGAN.presets

    def networks(self, data: LabelledImages) -> tuple[MnistEncoder, MnistGenerator]:
        """Build encoder and decoder, which do not see the labels.

        The report gives no layers: these are B1's without batch norm. With batch norm the
        posterior drifted away from the prior, and samples were specks.
        """
        return (
            MnistEncoder(2 * self.z, data.shape, norm=nn.Identity),
            MnistGenerator(self.z, data.shape, norm=nn.Identity),
        )

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build encoder, decoder and their optimiser."""
        self.device, self.precision, self.shape = device, precision, data.shape
        self.steps = self.steps or steps_for(self.epochs, data, self.batch)
        pair = seeded_init(lambda: nn.ModuleList(self.networks(data)), seed)
        pair = pair.to(device=device, memory_format=torch.channels_last)
        self.modules = {"encoder": pair[0], "decoder": pair[1]}
        self.optimisers = {"vae": torch.optim.Adam(pair.parameters(), self.lr, fused=True)}

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take one step on the ELBO, greys as probabilities (Kingma & Welling 2014, app. C)."""
        encoder, decoder = self.modules["encoder"].train(), self.modules["decoder"].train()
        with autocast(self.precision, self.device):
            mean, log_variance = encoder(images, labels).float().chunk(2, 1)
            eps = torch.randn(mean.shape, generator=rng, device=self.device)
            output = decoder(mean + eps * (0.5 * log_variance).exp(), labels)
        reconstruction = F.binary_cross_entropy(
            (output.float() + 1) / 2, (images + 1) / 2, reduction="sum"
        ) / len(images)
        # KL divergence from the standard normal prior (Kingma & Welling 2014, app. B)
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
        loss = reconstruction + kl
        optimizer_step(self.optimisers["vae"], loss)
        return {"loss": loss.detach(), "reconstruction": reconstruction.detach(), "kl": kl.detach()}

    @torch.no_grad()
    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        """Pass images through encoder and decoder without noise: [B, C, H, W] in [-1, 1]."""
        encoder, decoder = self.modules["encoder"].eval(), self.modules["decoder"].eval()
        with autocast(self.precision, self.device):
            mean = encoder(images, labels)[:, : self.z]
            return decoder(mean, labels).float()

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Sample an image for each seed: [N, C, H, W] uint8 on the CPU; B2 ignores the labels."""
        decoder = self.modules["decoder"].eval()
        return sample_decoder(self, decoder, labels, seeds)


@dataclass
class B3CVAE(B2VAE):
    """Reference B3, conditional VAE: encoder and decoder of B2 see the label too."""

    def networks(self, data: LabelledImages) -> tuple[MnistEncoder, MnistGenerator]:
        """Build them with the label: a channel in the encoder, 16 numbers beside z in G."""
        k = len(data.classes)
        return (
            MnistEncoder(2 * self.z, data.shape, k, norm=nn.Identity),
            MnistGenerator(self.z, data.shape, k, label_size=16, norm=nn.Identity),
        )


@dataclass
class B4VAECGAN(B1CGAN):
    """Reference B4, VAE into cGAN: B1's real images are the VAE of B2's reconstructions."""

    epochs: int = 100
    vae_share: float = 0.5  # of the steps come first and train the VAE alone
    latent: int = 2  # dimensions of the VAE
    phases: ClassVar[tuple[float, ...]] = (0.0, 1.0)  # of the training, with updates of two kinds
    recordable: ClassVar[bool] = False  # as one CUDA graph: for the same reason
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": dict(steps=40, batch=16),
        "quick": dict(epochs=40, batch=16),
        "full": {},
    }

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build VAE, G and D."""
        super().prepare(data, seed=seed, device=device, precision=precision)
        self.vae = B2VAE(steps=round(self.vae_share * self.steps), z=self.latent, lr=self.lr)
        self.vae.prepare(data, seed=seed, device=device, precision=precision)
        self.modules |= self.vae.modules
        self.optimisers |= self.vae.optimisers

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take a step of the VAE; in the later part of the training one of the cGAN instead."""
        if step < self.vae_share * self.steps:
            return self.vae.update(images, labels, step=step, rng=rng)
        images = self.vae.reconstruct(images, labels)
        return super().update(images, labels, step=step, rng=rng)
