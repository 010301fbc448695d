"""What a diffusion model learns of images: latents, small images, or the images themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from augment.data.images import LabelledImages
from augment.generators.autoencoder import OWN, Autoencoder, Latents, open_autoencoder
from augment.generators.cascade import Cascade
from augment.generators.components import Components
from augment.generators.detail import SMALL_SIDE
from augment.generators.solvers import Course
from augment.generators.unet import UNetSettings

DETAIL = "detail"  # name of its network within the network


class Reduction(nn.Module):
    """Images [B, C, H, W] ↔ what the network learns, [B, c, h, w]; both in [-1, 1].

    First the latents of an autoencoder, if one is given; then small images of what is above 32
    pixels a side, whose detail a second network learns (see `cascade`).
    """

    def __init__(self, latents: Latents | None, cascade: Cascade | None) -> None:
        super().__init__()
        self.latents, self.cascade = latents, cascade

    def add_networks(self, net: nn.Module, n_classes: int) -> None:
        """Make the network of the detail a part of the network: both are trained and saved."""
        if self.cascade:
            net.add_module(DETAIL, self.cascade.network(n_classes))

    def split(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what the network learns of images, and the waves that `loss` and `draw` take."""
        images = self.latents.encode(images) if self.latents else images
        return self.cascade.split(images) if self.cascade else (images, None)

    def loss(
        self, net: nn.Module, waves: Tensor | None, labels: Tensor, rng: torch.Generator
    ) -> Tensor | float:
        """Return the loss of the detail, 0 where there is none."""
        if waves is None or self.cascade is None:
            return 0.0
        return self.cascade.loss(net.get_submodule(DETAIL), waves, labels, rng)

    def draw(
        self,
        net: nn.Module,
        small: Tensor,
        labels: Tensor,
        seeds: Tensor,
        course: Course,
        waves: Tensor | None,
    ) -> Tensor:
        """Return the images of what was drawn; `waves` are those of the images started from."""
        if self.cascade:
            course = course._replace(clipped=False)
            detail = net.get_submodule(DETAIL)
            small = self.cascade.draw(detail, small, labels, seeds, course, waves)
        return self.latents.decode(small) if self.latents else small


def reduce_set(
    data: LabelledImages, autoencoder: str, settings: UNetSettings, device: torch.device
) -> tuple[Reduction, LabelledImages]:
    """Build the reduction of a set's images, and return the reduced set too.

    `autoencoder` is a folder with one, `own` or "". UsageError if it cannot be used.
    """
    latents, cascade = None, None
    if autoencoder:
        if not data.images.any():  # blank images, of which a saved model is built
            data = data.select([0])
        model: Autoencoder
        if autoencoder == OWN:
            model = Components(data).to(device)
        else:
            model = open_autoencoder(autoencoder, device)
        latents = Latents(data, model)
        data = latents.of_set(data)
    if max(data.shape[1:]) > SMALL_SIDE:
        cascade = Cascade(data, settings)
        data = cascade.waves.small_images(data)
    return Reduction(latents, cascade), data
