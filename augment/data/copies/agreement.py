"""Whether two pictures are one, allowing for brightness, contrast and clipping."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# correlations from which two images count as one. Chosen on four sets: of 20,000 images of MNIST
# no pair passes, of 1,797 digits 8×8 none, of 1,800 steel surfaces (NEU) two, which are one image
MIN_ALIKE, MIN_FINE = 0.99, 0.85  # as a whole; of what a 3×3 mean leaves
MIN_SMOOTH = 0.997  # as a whole, where there is no fine detail to compare
MIN_SMALL, SMALL_SIDE = 0.998, 16  # below so many pixels a side there is too little to compare
UNCLIPPED = (5, 250)  # levels that brightening has surely not clipped
# of [P, H, W], under the mirrors: none, left-right, up-down, both
MIRRORED_AXES: tuple[tuple[int, ...], ...] = ((), (2,), (1,), (1, 2))


def turn_by(images: Tensor, symmetry: int) -> Tensor:
    """Apply a mirror, 0 to 3, to [P, H, W]; plus 4: to the transposed images.

    A transposed oblong is pressed back.
    """
    height, width = images.shape[1:]
    if symmetry >= 4:
        images = images.transpose(1, 2)
        if height != width:
            images = F.interpolate(images[:, None], (height, width), mode="bilinear")[:, 0]
    return images.flip(MIRRORED_AXES[symmetry % 4])


def picture_agreement(first: Tensor, second: Tensor) -> Tensor:
    """Return the correlation of pairs [P, H, W] that are one image, and 0 for other pairs: [P]."""
    # either may be the brightened one, which has lost what is clipped
    return torch.maximum(_explained(first, second), _explained(second, first))


def _explained(target: Tensor, source: Tensor) -> Tensor:
    """Return the correlation of `target` with a brightened `source`, 0 if it is another image."""
    fitted = fit_brightness(target, source)
    whole = correlation(fitted, target)
    if min(target.shape[1:]) < SMALL_SIDE:
        return torch.where(whole >= MIN_SMALL, whole, 0.0)
    same = whole >= MIN_SMOOTH
    near = ((whole >= MIN_ALIKE) & ~same).nonzero().flatten()
    same[near] = correlation(fine_detail(fitted[near]), fine_detail(target[near])) >= MIN_FINE
    return torch.where(same, whole, 0.0)


def fit_brightness(target: Tensor, source: Tensor) -> Tensor:
    """Brighten and stretch `source` to be like `target`, clipped to 0…255: [P, H, W].

    Least squares over the pixels that are clipped in neither.
    """
    low, high = UNCLIPPED
    inside = ((target > low) & (target < high) & (source > low) & (source < high)).float()
    weight = torch.where(inside.mean((1, 2), keepdim=True) < 0.1, 1.0, inside)
    n = weight.sum((1, 2), keepdim=True)
    x, y = (source * weight).sum((1, 2), True) / n, (target * weight).sum((1, 2), True) / n
    covariance = (weight * (source - x) * (target - y)).sum((1, 2), keepdim=True)
    variance = (weight * (source - x) ** 2).sum((1, 2), keepdim=True)
    return (covariance / variance.clamp(min=1e-6) * (source - x) + y).clamp(0, 255)


def fine_detail(images: Tensor) -> Tensor:
    """Return what the mean of 3×3 pixels leaves of [P, H, W]."""
    padded = F.pad(images[:, None], (1, 1, 1, 1), mode="replicate")
    return images - F.avg_pool2d(padded, 3, 1)[:, 0]


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Correlate pairs [P, H, W]: [P]."""
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (first, second))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-6)
