"""A second network that draws the detail of small images: what `ddpm` does above 32 pixels a side.

A cascade (Ho et al. 2022) whose small image is a part of the large one: the network sees the waves
of the small image as they are and those of the detail with noise. The latter have deviation 1 in
each class (see `detail`), so a network that predicts v = 0 draws grain with the spectrum of the
class, where one that predicts pixels leaves white noise. Patches are folded so that the cost does
not grow with the size of the images.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import LabelledImages
from augment.generators.detail import Waves
from augment.generators.solvers import (
    LEVELS,
    Course,
    first_level,
    follow_scheduler,
    noisy,
    scheduler,
)
from augment.generators.unet import LeanUNet, UNetSettings, velocity_of
from augment.runtime.seeds import noise_for, seed_for
from augment.training.precision import autocast

EVERY = 4  # images of a batch, one of which the network learns from
BLUR = 0.2  # deviation of the noise on a small image in view, whose waves have about 1


class Cascade(nn.Module):
    """Images [B, C, H, W] ↔ small images [B, C, h, w], whose detail `loss` learns, `draw` draws."""

    def __init__(self, data: LabelledImages, settings: UNetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.waves = Waves(data, len(settings.widths))
        self.alpha_bar: Tensor  # [LEVELS]
        self.register_buffer("alpha_bar", scheduler("ddpm").alphas_cumprod, persistent=False)

    def network(self, n_classes: int) -> nn.Module:
        """Build the network of the detail. It looks at neighbourhoods: the whole is in view."""
        channels, height, width = self.waves.shape
        fold, settings = self.waves.fold, self.settings
        local = dataclasses.replace(settings, hub=0, attention=False)
        return LeanUNet(channels * fold**2, (height // fold, width // fold), n_classes, local)

    def split(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return small images, and the waves [B, C, H', W'] of the images."""
        waves = self.waves.of_images(images)
        return self.waves.to_small(waves), waves

    def velocity(
        self, net: nn.Module, seen: Tensor, x: Tensor, t: Tensor, labels: Tensor
    ) -> Tensor:
        """Predict v of noisy detail x [B, C, H', W'], t and labels [B], with small images seen."""
        high = self.waves.high
        with autocast(self.settings.precision, x.device):
            v = velocity_of(net, self.waves.fold_up(seen + x * high), t, labels)
        return self.waves.unfold(v.float()) * high

    def loss(self, net: nn.Module, waves: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
        """Return the v-prediction loss of the detail of one image in EVERY: []."""
        waves, labels = waves[::EVERY], labels[::EVERY]
        t = torch.randint(LEVELS, labels.shape, generator=rng, device=waves.device)
        blur, eps = torch.randn((2, *waves.shape), generator=rng, device=waves.device)
        x0, eps = self.waves.detail(waves, labels), eps * self.waves.high
        xt, v = noisy(x0, eps, self.alpha_bar[t])
        return F.mse_loss(self.velocity(net, self.view(waves, blur), xt, t, labels), v)

    def view(self, waves: Tensor, blur: Tensor) -> Tensor:
        """Return small images as the network sees them: noise hides what drawn ones may lack."""
        return self.waves.seen(waves) + BLUR * blur * (1 - self.waves.high)

    def draw(
        self,
        net: nn.Module,
        small: Tensor,
        labels: Tensor,
        seeds: Tensor,
        course: Course,
        start: Tensor | None,
    ) -> Tensor:
        """Draw the detail of small images: [B, C, h, w] in [-1, 1] → images [B, C, H, W].

        `start` has the waves of the images that samples start from, if not from noise alone.
        """
        detail_seeds = torch.tensor([seed_for(seed, "detail") for seed in seeds.tolist()])
        blur, eps = noise_for(detail_seeds, (2, *self.waves.shape), small.device).unbind(1)
        low, x = self.waves.of_small(small.clamp(-1, 1)), eps * self.waves.high
        if start is not None:
            x, _ = noisy(self.waves.detail(start, labels), x, self.alpha_bar[first_level(course)])
        seen = self.view(low, blur)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            return self.velocity(net, seen, x, t.expand(len(x)), labels)

        x = follow_scheduler(course, x, velocity, seeds)
        return self.waves.with_detail(low, x, labels)
