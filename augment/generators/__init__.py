"""GENERATORS: class-conditional image generators, by the names that the command line knows.

A new one is a file here that fulfils `Generator`, and a line below; the contract's tests cover it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from torch import Tensor

from augment.generators.autoencoder import OWN, Latents
from augment.generators.cgan import CGAN
from augment.generators.controls import Duplicate, Noise
from augment.generators.cvae import CVAE
from augment.generators.ddpm import DDPM
from augment.generators.finetune import Finetune
from augment.generators.morph import Morph
from augment.generators.pretrained import Pretrained
from augment.generators.reference.cifar_gan import A1GAN, A2CGAN
from augment.generators.reference.mnist_cgan import B1CGAN, B2VAE, B3CVAE, B4VAECGAN
from augment.training.learner import Learner


class Generator(Learner, Protocol):
    """A Learner (steps, batch, prepare, update, modules, optimisers) that can also be sampled."""

    closed_set: ClassVar[bool]  # saw nothing but the labelled images; see `saw_labelled_alone`
    sampling: ClassVar[tuple[str, ...]]  # settings that matter only when sampling

    @property
    def transformed(self) -> float:
        """Share of the training batches with classic transforms; see `generator_set`."""
        ...

    presets: ClassVar[dict[str, dict[str, Any]]]  # smoke, quick, full: fields other than defaults

    def sample(self, labels: Tensor, *, seeds: Tensor) -> Tensor:
        """Sample an image for each label and seed: [N], [N] int64 → [N, C, H, W] uint8.

        Image k depends on label k and seed k alone, whatever the batch.
        """
        ...


def saw_labelled_alone(generator: Generator) -> bool:
    """Return whether it saw nothing but the labelled images; else a folder has what saw others."""
    return generator.closed_set and getattr(generator, "autoencoder", "") in ("", OWN)


def latents_of(generator: Any) -> Latents | None:
    """Return the latents that a prepared generator learns; None if it learns pixels."""
    reduction = getattr(generator, "reduction", None)
    return reduction and reduction.latents


GENERATORS: dict[str, type[Generator]] = {
    "ddpm": DDPM,
    "cgan": CGAN,
    "cvae": CVAE,
    "mix": Morph,
    "duplicate": Duplicate,
    "noise": Noise,
    "pretrained": Pretrained,
    "finetune": Finetune,
    "a1-gan": A1GAN,
    "a2-cgan": A2CGAN,
    "b1-cgan": B1CGAN,
    "b2-vae": B2VAE,
    "b3-cvae": B3CVAE,
    "b4-vae-cgan": B4VAECGAN,
}
