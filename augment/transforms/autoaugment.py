"""Learnt and random policies of others, batched: one draw an image, from the generator passed down.

Operations and ranges are torchvision's; what a transform uncovers repeats the edge. Of documents
and digits (`strokes`) the operations that only recolour (colour, posterise, solarise, equalise,
invert) are left out, and TrivialAugment keeps RandAugment's ranges: a turn of 135° makes 6 of 9.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.transforms.geometric import Transform, uniform

Span = dict[str, float]  # the largest magnitude of each operation; shifts as a share of the side


NARROW: Span = dict(
    ShearX=0.3,
    ShearY=0.3,
    TranslateX=150 / 331,
    TranslateY=150 / 331,
    Rotate=30,
    Brightness=0.9,
    Contrast=0.9,
    Sharpness=0.9,
    Identity=0,
    AutoContrast=0,
    Color=0.9,
    Posterize=4,
    Solarize=1,
    Equalize=0,
)


WIDE: Span = NARROW | dict(
    ShearX=0.99,
    ShearY=0.99,
    TranslateX=1,
    TranslateY=1,
    Rotate=135,
    Brightness=0.99,
    Contrast=0.99,
    Sharpness=0.99,
    Color=0.99,
    Posterize=6,
)


RECOLOUR = ("Color", "Posterize", "Solarize", "Equalize", "Invert")


def blend(images: Tensor, other: Tensor, change: Tensor) -> Tensor:
    """`other` at change -1, the images at 0, beyond them at 1: [n] float."""
    return (images + change[:, None, None, None] * (images - other)).clamp(0, 1)


def grey(images: Tensor) -> Tensor:
    """[n, 1, H, W]: luma of colour images, grey ones as they are."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    from torchvision.transforms.v2.functional import rgb_to_grayscale  # brings 1.4 s of imports

    return rgb_to_grayscale(images)


def equalised(images: Tensor) -> Tensor:
    """Each channel with an even histogram."""
    from torchvision.transforms.v2.functional import equalize

    return equalize(images)


def blurred(images: Tensor) -> Tensor:
    """The 3×3 smoothing of `Sharpness`: centre 5, neighbours 1; edges repeated."""
    total = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1) * 9
    return (total + 4 * images) / 13


def stretched(images: Tensor) -> Tensor:
    """Each channel from its darkest to its brightest over [0, 1]; flat ones as they are."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-6), images)


def posterised(images: Tensor, lost: Tensor) -> Tensor:
    """Without the `lost` lowest of eight bits."""
    step = 2.0 ** lost.abs().round()[:, None, None, None]
    return torch.floor((images * 255).round() / step) * step / 255


def solarised(images: Tensor, depth: Tensor) -> Tensor:
    """What is brighter than 1 - depth is inverted."""
    return torch.where(images >= 1 - depth.abs()[:, None, None, None], 1 - images, images)


RECOLOURED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Brightness": lambda x, m: blend(x, torch.zeros_like(x), m),
    "Contrast": lambda x, m: blend(x, grey(x).mean((1, 2, 3), keepdim=True), m),
    "Sharpness": lambda x, m: blend(x, blurred(x), m),
    "Color": lambda x, m: blend(x, grey(x), m),
    "AutoContrast": lambda x, m: stretched(x),
    "Posterize": posterised,
    "Solarize": solarised,
    "Equalize": lambda x, m: equalised(x),
    "Invert": lambda x, m: 1 - x,
}


def moved(images: Tensor, name: str, by: Tensor) -> Tensor:
    """Sheared, shifted or turned; `by` [n] as in a Span."""
    height, width = images.shape[-2:]
    one, zero = torch.ones_like(by), torch.zeros_like(by)
    across, down = [one, zero, zero], [zero, one, zero]  # output → input, sides 2 long
    if name == "ShearX":
        across[1] = by * (height / width)
    elif name == "ShearY":
        down[0] = by * (width / height)
    elif name == "TranslateX":
        across[2] = 2 * by
    elif name == "TranslateY":
        down[2] = 2 * by
    else:
        cos, sin = (by * (math.pi / 180)).cos(), (by * (math.pi / 180)).sin()
        across[:2] = [cos, -sin * (height / width)]
        down[:2] = [sin * (width / height), cos]
    theta = torch.stack([torch.stack(across, 1), torch.stack(down, 1)], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def apply(images: Tensor, names: list[str], which: Tensor, strength: Tensor, span: Span) -> Tensor:
    """Operation `names[which[i]]` on image i, all that drew one at once; `strength` in [-1, 1].

    Images are in [0, 1]; `which` -1 leaves an image as it is.
    """
    images, order = images.clone(), which.argsort(stable=True)
    drawn = which[:, None] == torch.arange(-1, len(names), device=which.device)
    counts = drawn.sum(0).tolist()  # the only wait for a GPU
    for name, own in zip(["Identity", *names], order.split(counts), strict=True):
        if not len(own) or name == "Identity":
            continue
        by = strength[own] * span.get(name, 0)
        if name in RECOLOURED:
            images[own] = RECOLOURED[name](images[own], by)
        else:
            images[own] = moved(images[own], name, by)
    return images


def signs(n: int, rng: torch.Generator) -> Tensor:
    """[n] of -1 and 1."""
    return (uniform(n, -1, 1, rng) < 0).float() * 2 - 1


def usable(span: Span, strokes: bool) -> list[str]:
    """The operations of a space."""
    return [name for name in span if not (strokes and name in RECOLOUR)]


def randaugment(strokes: bool) -> Transform:
    """Two operations drawn of 14 at magnitude 9 of 30 (Cubuk et al. 2020)."""
    names = usable(NARROW, strokes)

    def transform(images: Tensor, rng: torch.Generator) -> Tensor:
        images, n = images / 2 + 0.5, len(images)
        for _ in range(2):
            which = torch.randint(len(names), (n,), generator=rng, device=rng.device)
            images = apply(images, names, which, 0.3 * signs(n, rng), NARROW)
        return images * 2 - 1

    return transform


def trivialaugment(strokes: bool) -> Transform:
    """One operation at a magnitude drawn anew, wide ranges (Müller and Hutter 2021)."""
    span = NARROW if strokes else WIDE
    names = usable(span, strokes)

    def transform(images: Tensor, rng: torch.Generator) -> Tensor:
        n = len(images)
        which = torch.randint(len(names), (n,), generator=rng, device=rng.device)
        strength = torch.randint(31, (n,), generator=rng, device=rng.device) / 30
        changed = apply(images / 2 + 0.5, names, which, strength * signs(n, rng), span)
        return changed * 2 - 1

    return transform


def autoaugment(strokes: bool) -> Transform:
    """One of 25 pairs of operations that were learnt on CIFAR-10 (Cubuk et al. 2019)."""
    from torchvision.transforms.autoaugment import AutoAugment, AutoAugmentPolicy

    pairs = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
    names = usable(NARROW | {"Invert": 0}, strokes)
    place = {name: number for number, name in enumerate(names)}
    operation = torch.tensor([[place.get(name, -1) for name, _, _ in pair] for pair in pairs])
    chance = torch.tensor([[p for _, p, _ in pair] for pair in pairs])
    strength = torch.tensor([[(level or 0) / 9 for _, _, level in pair] for pair in pairs])

    def transform(images: Tensor, rng: torch.Generator) -> Tensor:
        images, n = images / 2 + 0.5, len(images)
        pair = torch.randint(len(pairs), (n,), generator=rng, device=rng.device)
        for turn in range(2):
            which, p, level = (
                table[:, turn].to(rng.device)[pair] for table in (operation, chance, strength)
            )
            which = which.where(uniform(n, 0, 1, rng) < p, -1)
            images = apply(images, names, which, level * signs(n, rng), NARROW)
        return images * 2 - 1

    return transform


def erasing(images: Tensor, rng: torch.Generator) -> Tensor:
    """Every other image loses a rectangle of 2 to 40 % to noise (Zhong et al. 2020)."""
    n, _, height, width = images.shape
    area, aspect = uniform(n, 0.02, 0.4, rng), uniform(n, math.log(0.3), math.log(3.3), rng).exp()
    tall, wide = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    top, left = uniform(n, 0, 1, rng) * (1 - tall), uniform(n, 0, 1, rng) * (1 - wide)
    inside = rectangle(top, left, tall, wide, height, width)
    inside &= (uniform(n, 0, 1, rng) < 0.5)[:, None, None, None]
    noise = torch.rand(images.shape, generator=rng, device=rng.device) * 2 - 1
    return torch.where(inside, noise, images)


def rectangle(
    top: Tensor, left: Tensor, tall: Tensor, wide: Tensor, height: int, width: int
) -> Tensor:
    """[n, 1, height, width] bool: pixels whose centre lies inside; all as shares of the side."""
    rows = (torch.arange(height, device=top.device) + 0.5) / height
    columns = (torch.arange(width, device=top.device) + 0.5) / width
    within = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
    between = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    return (within[:, :, None] & between[:, None, :])[:, None]


def randomerasing(strokes: bool) -> Transform:
    """Every other image loses a rectangle of 2 to 40 % to noise (Zhong et al. 2020)."""
    return erasing


POLICIES: dict[str, Callable[[bool], Transform]] = {
    "randaugment": randaugment,
    "trivialaugment": trivialaugment,
    "autoaugment": autoaugment,
    "randomerasing": randomerasing,
}


def after(classic: str, first: Transform, policy: str | None) -> Transform:
    """The classic transform `first`, then a policy fit for its kind of image."""
    if policy is None:
        return first
    second = POLICIES[policy](classic == "document")

    def transform(images: Tensor, rng: torch.Generator) -> Tensor:
        return second(first(images, rng), rng)

    transform.__name__ = f"{first.__name__}+{policy}"
    return transform
