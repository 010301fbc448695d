"""The operations of AutoAugment and its kin, batched, and the ranges of their magnitudes.

Operations and ranges are torchvision's; what a transform uncovers repeats the edge. Images are
float [N, C, H, W] in [0, 1] here, as torchvision has them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# operation → its largest magnitude: shears as tangents, shifts as a share of the side, degrees,
# changes of brightness and the like as a share, bits lost, depth of solarisation
Ranges = dict[str, float]

# RandAugment's and AutoAugment's
NARROW: Ranges = dict(
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
# TrivialAugment's
WIDE: Ranges = NARROW | dict(
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

# left out for documents and digits: they only change the colour of what is written
RECOLOURING = ("Color", "Posterize", "Solarize", "Equalize", "Invert")


def allowed_operations(ranges: Ranges, strokes: bool) -> list[str]:
    """List the operations of a space; of documents and digits (`strokes`), the suitable ones."""
    return [name for name in ranges if not (strokes and name in RECOLOURING)]


def apply_operations(
    images: Tensor, names: list[str], choice: Tensor, strength: Tensor, ranges: Ranges
) -> Tensor:
    """Apply operation `names[choice[i]]` to image i.

    `choice` [N] int64, -1 leaves an image as it is; `strength` [N] in [-1, 1], as a share of the
    operation's largest magnitude in `ranges`. On a GPU every operation is applied to all images:
    that is cheaper than to wait for the GPU to tell which it is to be applied to.
    """
    apply_chosen = _apply_to_all if images.is_cuda else _apply_to_some
    return apply_chosen(images, names, choice, strength, ranges)


def _apply_to_some(
    images: Tensor, names: list[str], choice: Tensor, strength: Tensor, ranges: Ranges
) -> Tensor:
    """Apply each operation to the images that chose it."""
    images, order = images.clone(), choice.argsort(stable=True)
    chosen = choice[:, None] == torch.arange(-1, len(names), device=choice.device)  # [N, 1 + names]
    for name, indices in zip(
        ["Identity", *names], order.split(chosen.sum(0).tolist()), strict=True
    ):
        if len(indices) and name != "Identity":
            magnitude = strength[indices] * ranges.get(name, 0)
            images[indices] = _operation(name)(images[indices], magnitude)
    return images


def _apply_to_all(
    images: Tensor, names: list[str], choice: Tensor, strength: Tensor, ranges: Ranges
) -> Tensor:
    """Apply each operation to all images and keep the results of those that chose it."""
    results = images
    for index, name in enumerate(names):
        if name != "Identity":
            changed = _operation(name)(images, strength * ranges.get(name, 0))
            results = torch.where((choice == index)[:, None, None, None], changed, results)
    return results


def _operation(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return an operation: (images [n, C, H, W], magnitude [n]) → images."""
    return _PIXEL_OPERATIONS.get(name) or functools.partial(_warp_affine, name)


def _blend(images: Tensor, other: Tensor, change: Tensor) -> Tensor:
    """Interpolate: `other` at change [n] = -1, the images at 0, beyond them at 1; clipped."""
    return (images + change[:, None, None, None] * (images - other)).clamp(0, 1)


def _to_grey(images: Tensor) -> Tensor:
    """Return the luma of colour images, grey ones as they are: [n, 1, H, W]."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    from torchvision.transforms.v2.functional import rgb_to_grayscale  # brings 1.4 s of imports

    return rgb_to_grayscale(images)


def _equalise(images: Tensor) -> Tensor:
    """Give each channel an even histogram."""
    from torchvision.transforms.v2.functional import equalize

    return equalize(images)


def _smooth(images: Tensor) -> Tensor:
    """Smooth by the 3×3 kernel of `Sharpness`: centre 5, neighbours 1; edges repeated."""
    total = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1) * 9
    return (total + 4 * images) / 13


def _stretch_contrast(images: Tensor) -> Tensor:
    """Stretch each channel from its darkest to its brightest over [0, 1]; flat ones stay."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-6), images)


def _posterise(images: Tensor, lost_bits: Tensor) -> Tensor:
    """Drop the `lost_bits` [n] lowest of eight bits."""
    step = 2.0 ** lost_bits.abs().round()[:, None, None, None]
    return torch.floor((images * 255).round() / step) * step / 255


def _solarise(images: Tensor, depth: Tensor) -> Tensor:
    """Invert what is brighter than 1 - depth [n]."""
    return torch.where(images >= 1 - depth.abs()[:, None, None, None], 1 - images, images)


# name → (images [n, C, H, W], magnitude [n]) → images
_PIXEL_OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Brightness": lambda x, m: _blend(x, torch.zeros_like(x), m),
    "Contrast": lambda x, m: _blend(x, _to_grey(x).mean((1, 2, 3), keepdim=True), m),
    "Sharpness": lambda x, m: _blend(x, _smooth(x), m),
    "Color": lambda x, m: _blend(x, _to_grey(x), m),
    "AutoContrast": lambda x, m: _stretch_contrast(x),
    "Posterize": _posterise,
    "Solarize": _solarise,
    "Equalize": lambda x, m: _equalise(x),
    "Invert": lambda x, m: 1 - x,
}


def _warp_affine(name: str, images: Tensor, magnitude: Tensor) -> Tensor:
    """Shear, shift or turn the images; `magnitude` [n] in the units of Ranges."""
    height, width = images.shape[-2:]
    one, zero = torch.ones_like(magnitude), torch.zeros_like(magnitude)
    across, down = [one, zero, zero], [zero, one, zero]  # output → input, sides 2 long
    if name == "ShearX":
        across[1] = magnitude * (height / width)
    elif name == "ShearY":
        down[0] = magnitude * (width / height)
    elif name == "TranslateX":
        across[2] = 2 * magnitude
    elif name == "TranslateY":
        down[2] = 2 * magnitude
    else:  # Rotate; by pixels, not by shares of the sides, which may differ
        cos, sin = (magnitude * (math.pi / 180)).cos(), (magnitude * (math.pi / 180)).sin()
        across[:2] = [cos, -sin * (height / width)]
        down[:2] = [sin * (width / height), cos]
    theta = torch.stack([torch.stack(across, 1), torch.stack(down, 1)], 1)  # [n, 2, 3]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
