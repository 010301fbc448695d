"""POLICIES: RandAugment, TrivialAugment, AutoAugment and random erasing, drawn for each image.

A policy takes `strokes` (documents and digits) and returns a transform of float [N, C, H, W] in
[-1, 1]. For strokes the operations that only recolour (colour, posterise, solarise, equalise,
invert) are left out, and TrivialAugment keeps RandAugment's ranges: a turn of 135° makes 6 of 9.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from augment.transforms.erasing import random_erasing
from augment.transforms.geometric import Transform, uniform
from augment.transforms.operations import NARROW, WIDE, allowed_operations, apply_operations


def randaugment(strokes: bool) -> Transform:
    """Build RandAugment: two operations drawn of 14, magnitude 9 of 30 (Cubuk et al. 2020)."""
    names = allowed_operations(NARROW, strokes)

    def transform(images: Tensor, rng: torch.Generator) -> Tensor:
        images, n = images / 2 + 0.5, len(images)  # to [0, 1]
        for _ in range(2):
            choice = torch.randint(len(names), (n,), generator=rng, device=rng.device)
            images = apply_operations(images, names, choice, 0.3 * _random_signs(n, rng), NARROW)
        return images * 2 - 1

    return transform


def trivialaugment(strokes: bool) -> Transform:
    """Build TrivialAugment: one operation, magnitude drawn of 31, wide (Müller & Hutter 2021)."""
    ranges = NARROW if strokes else WIDE
    names = allowed_operations(ranges, strokes)

    def transform(images: Tensor, rng: torch.Generator) -> Tensor:
        n = len(images)
        choice = torch.randint(len(names), (n,), generator=rng, device=rng.device)
        strength = torch.randint(31, (n,), generator=rng, device=rng.device) / 30
        strength = strength * _random_signs(n, rng)
        return apply_operations(images / 2 + 0.5, names, choice, strength, ranges) * 2 - 1

    return transform


def autoaugment(strokes: bool) -> Transform:
    """Build AutoAugment: one of 25 pairs of operations learnt on CIFAR-10 (Cubuk et al. 2019)."""
    from torchvision.transforms.autoaugment import AutoAugment, AutoAugmentPolicy

    pairs = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
    names = allowed_operations(NARROW | {"Invert": 0}, strokes)
    index = {name: k for k, name in enumerate(names)}
    # [25 pairs, 2]: index of the operation (-1: left out), its probability, its strength in [0, 1]
    operation = torch.tensor([[index.get(name, -1) for name, _, _ in pair] for pair in pairs])
    probability = torch.tensor([[p for _, p, _ in pair] for pair in pairs])
    strength = torch.tensor([[(level or 0) / 9 for _, _, level in pair] for pair in pairs])

    @functools.cache
    def tables(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        # moved once: moving them in each batch would wait for a GPU
        return operation.to(device), probability.to(device), strength.to(device)

    def transform(images: Tensor, rng: torch.Generator) -> Tensor:
        images, n = images / 2 + 0.5, len(images)  # to [0, 1]
        pair = torch.randint(len(pairs), (n,), generator=rng, device=rng.device)
        for turn in range(2):
            choice, p, level = (table[:, turn][pair] for table in tables(rng.device))
            choice = choice.where(uniform(n, 0, 1, rng) < p, -1)
            images = apply_operations(images, names, choice, level * _random_signs(n, rng), NARROW)
        return images * 2 - 1

    return transform


def _random_signs(n: int, rng: torch.Generator) -> Tensor:
    """Draw [n] of -1 and 1."""
    return (uniform(n, -1, 1, rng) < 0).float() * 2 - 1


def randomerasing(strokes: bool) -> Transform:
    """Return random erasing, which suits every kind of image (Zhong et al. 2020)."""
    return random_erasing


POLICIES: dict[str, Callable[[bool], Transform]] = {
    "randaugment": randaugment,
    "trivialaugment": trivialaugment,
    "autoaugment": autoaugment,
    "randomerasing": randomerasing,
}


def with_policy(classic: str, first: Transform, policy: str | None) -> Transform:
    """Follow the transform `first` by a policy that suits its kind of image, a key of CLASSIC."""
    if policy is None:
        return first
    second = POLICIES[policy](classic == "document")

    def transform(images: Tensor, rng: torch.Generator) -> Tensor:
        return second(first(images, rng), rng)

    # signed into the record of a classifier, as the names of the classic transforms are
    transform.__name__ = f"{first.__name__}+{policy}"
    return transform
