"""Reference system B, digits on a CPU: cGAN, VAE, conditional VAE, VAE into cGAN.

Layers, losses and learning rates are the report's; a comment says where it gives none. Sides other
than 28 are padded to a multiple of 4 before a network and cropped after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import LabelledImages
from augment.generators.blocks import LN2, binary_loss, decode
from augment.training.learner import Metrics, seeded_init, steps_for
from augment.training.optim import optimizer_step
from augment.training.precision import autocast

Shape = tuple[int, int, int]


def grid(shape: Shape) -> tuple[int, int]:
    """A quarter of the sides, where the networks begin and end: 7×7 for 28×28."""
    return max(3, -(-shape[1] // 4)), max(3, -(-shape[2] // 4))


class Painter(nn.Module):
    """(z [B, Z], labels [B]) → images [B, C, H, W] in [-1, 1].

    The label's embedding is multiplied with z, or stands beside it, `beside` numbers long; with no
    classes the labels are not looked at.
    """

    def __init__(
        self, z: int, shape: Shape, n_classes: int = 0, beside: int = 0, norm: Any = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        self.height, self.side, self.beside = shape[1], shape[2], beside
        rows, columns = grid(shape)
        self.label = nn.Embedding(n_classes, beside or z) if n_classes else None
        self.body = nn.Sequential(
            nn.Linear(z + beside, 256 * rows * columns),
            nn.Unflatten(1, (256, rows, columns)),
            nn.ConvTranspose2d(256, 128, 3, 2, 1, 1),
            norm(128),
            nn.LeakyReLU(),
            nn.ConvTranspose2d(128, 64, 3, 1, 1),
            norm(64),
            nn.LeakyReLU(),
            nn.ConvTranspose2d(64, shape[0], 3, 2, 1, 1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        if self.label is not None:
            lifted = self.label(labels)
            z = torch.cat([z, lifted], 1) if self.beside else z * lifted
        return self.body(z)[..., : self.height, : self.side]


class Reader(nn.Module):
    """(images, labels) → [B, outputs]; the label's embedding is one more plane of the image."""

    def __init__(
        self, outputs: int, shape: Shape, n_classes: int = 0, norm: Any = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        rows, columns = grid(shape)
        self.sides = (4 * rows, 4 * columns)
        self.label = nn.Embedding(n_classes, 16 * rows * columns) if n_classes else None
        self.body = nn.Sequential(
            nn.Conv2d(shape[0] + bool(n_classes), 64, 3, 2, 1),
            nn.LeakyReLU(),
            nn.Conv2d(64, 64, 3, 2, 1),
            norm(64),
            nn.LeakyReLU(),
            nn.Conv2d(64, 128, 3, 2),
            norm(128),
            nn.LeakyReLU(),
            nn.Flatten(),
            nn.Linear((rows - 1) // 2 * ((columns - 1) // 2) * 128, outputs),
        )

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        margins = (0, self.sides[1] - images.shape[3], 0, self.sides[0] - images.shape[2])
        x = F.pad(images, margins, mode="replicate") if any(margins) else images
        if self.label is not None:
            x = torch.cat([x, self.label(labels).unflatten(1, (1, *self.sides))], 1)
        return self.body(x.contiguous(memory_format=torch.channels_last))


@dataclass
class B1CGAN:
    """Reference B1, conditional GAN for digits: label times noise in G, label as a plane in D."""

    epochs: int = 50  # passes over the labelled images; the report gives none for its GAN
    steps: int = 0  # 0: as many as `epochs` takes
    batch: int = 128  # nor a batch
    z: int = 100  # nor the length of the noise
    lr: float = 1e-3
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
            lambda: (Painter(self.z, data.shape, k), Discriminator(data.shape, k)), seed
        )
        self.modules = {
            "g": g.to(device=device, memory_format=torch.channels_last),
            "d": d.to(device=device, memory_format=torch.channels_last),
        }
        self.optimisers = {
            name: torch.optim.Adam(net.parameters(), self.lr, fused=True)
            for name, net in self.modules.items()
        }

    def update(self, images: Tensor, labels: Tensor, *, step: int, rng: torch.Generator) -> Metrics:
        """A step of D on real images, one on generated images of the same labels, one of G."""
        g, d = self.modules["g"].train(), self.modules["d"].train()
        z = torch.randn(len(images), self.z, generator=rng, device=self.device)
        with autocast(self.precision, self.device):
            fake = g(z, labels).float()
        losses = {}
        for name, shown, real in (("d_real", images, True), ("d_fake", fake.detach(), False)):
            with autocast(self.precision, self.device):
                losses[name] = binary_loss(d(shown, labels), real)
            optimizer_step(self.optimisers["d"], losses[name])
        d.requires_grad_(False)
        with autocast(self.precision, self.device):
            losses["g"] = binary_loss(d(fake, labels), True)
        optimizer_step(self.optimisers["g"], losses["g"])
        d.requires_grad_(True)
        return {name: loss.detach() for name, loss in losses.items()}

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """[N] labels, [N] seeds → [N, C, H, W] uint8 on the CPU."""
        g = self.modules["g"].eval()
        return decode(g, self.z, self.shape, labels, seeds, self.device, self.precision)


class Discriminator(nn.Module):
    """(images, labels) → chance of being real, [B, 1]."""

    def __init__(self, shape: Shape, n_classes: int) -> None:
        super().__init__()
        self.reader, self.squash = Reader(1, shape, n_classes), nn.Sigmoid()

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.squash(self.reader(images, labels))


@dataclass
class B2VAE:
    """Reference B2, VAE with two latent dimensions: its pictures are not tied to a digit."""

    epochs: int = 50
    steps: int = 0  # 0: as many as `epochs` takes
    batch: int = 128  # the report gives none
    z: int = 2
    lr: float = 1e-3
    transformed: float = 0.0  # share of each batch with classic transforms; 1: all, untold

    modules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    optimisers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    closed_set: ClassVar[bool] = True
    sampling: ClassVar[tuple[str, ...]] = ()
    curves: ClassVar[dict[str, str]] = {"loss": "loss, nats an image"}
    presets: ClassVar[dict[str, dict[str, Any]]] = B1CGAN.presets

    def networks(self, data: LabelledImages) -> tuple[Reader, Painter]:
        """Encoder and decoder, blind to labels; the report gives no layers: B1's, less the norms.

        With batch norm the posterior ran away from the prior, and samples were specks.
        """
        return (
            Reader(2 * self.z, data.shape, norm=nn.Identity),
            Painter(self.z, data.shape, norm=nn.Identity),
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

    def update(self, images: Tensor, labels: Tensor, *, step: int, rng: torch.Generator) -> Metrics:
        """One step on the evidence bound, greys as chances (Kingma & Welling 2014, app. C)."""
        encoder, decoder = self.modules["encoder"].train(), self.modules["decoder"].train()
        with autocast(self.precision, self.device):
            mean, log_variance = encoder(images, labels).float().chunk(2, 1)
            eps = torch.randn(mean.shape, generator=rng, device=self.device)
            output = decoder(mean + eps * (0.5 * log_variance).exp(), labels)
        reconstruction = F.binary_cross_entropy(
            (output.float() + 1) / 2, (images + 1) / 2, reduction="sum"
        ) / len(images)
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
        loss = reconstruction + kl
        optimizer_step(self.optimisers["vae"], loss)
        return {"loss": loss.detach(), "reconstruction": reconstruction.detach(), "kl": kl.detach()}

    @torch.no_grad()
    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        """Images through encoder and decoder without noise, [B, C, H, W] in [-1, 1]."""
        encoder, decoder = self.modules["encoder"].eval(), self.modules["decoder"].eval()
        with autocast(self.precision, self.device):
            return decoder(encoder(images, labels)[:, : self.z], labels).float()

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """[N] labels, [N] seeds → [N, C, H, W] uint8 on the CPU; here the labels change nothing."""
        decoder = self.modules["decoder"].eval()
        return decode(decoder, self.z, self.shape, labels, seeds, self.device, self.precision)


@dataclass
class B3CVAE(B2VAE):
    """Reference B3, conditional VAE: encoder and decoder of B2 see the label too."""

    def networks(self, data: LabelledImages) -> tuple[Reader, Painter]:
        """The label is a plane of the image in the encoder, 16 numbers beside z in the decoder."""
        k = len(data.classes)
        return (
            Reader(2 * self.z, data.shape, k, norm=nn.Identity),
            Painter(self.z, data.shape, k, beside=16, norm=nn.Identity),
        )


@dataclass
class B4VAECGAN(B1CGAN):
    """Reference B4, VAE into cGAN: what the VAE of B2 makes of each image is B1's real image."""

    epochs: int = 100
    vae_share: float = 0.5  # of the steps come first and train the VAE alone
    latent: int = 2  # dimensions of the VAE
    phases: ClassVar[tuple[float, ...]] = (0.0, 1.0)  # of the training, with updates of two kinds
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

    def update(self, images: Tensor, labels: Tensor, *, step: int, rng: torch.Generator) -> Metrics:
        """A step of the VAE; in the later part of the training one of the cGAN instead."""
        if step < self.vae_share * self.steps:
            return self.vae.update(images, labels, step=step, rng=rng)
        images = self.vae.reconstruct(images, labels)
        return super().update(images, labels, step=step, rng=rng)
