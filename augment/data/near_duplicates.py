"""Near-copies: one picture on both sides of the split in two encodings. Warned of, not removed."""

from __future__ import annotations

import torch
from torch import Tensor

from augment.data.images import LabelledImages, resize

SIDE = 16  # pixels a side at which pictures are compared; encoders differ in finer detail


ALIKE = 0.995  # correlation from which two pictures count as one


MOST_PAIRS = 500_000_000  # about five seconds on two cores; beyond it nothing is looked for


SHOWN = 3


def near_copies(
    pool: LabelledImages, test: LabelledImages, pool_files: list[str], test_files: list[str]
) -> list[str]:
    """A note with the closest pairs of (test, pool) images that are one picture, or none."""
    if len(pool) * len(test) > MOST_PAIRS:
        return ["too many images to look for near-copies between pool and test"]
    likeness, place = best_matches(patterns(test.images), patterns(pool.images))
    found = (likeness >= ALIKE).nonzero().flatten()
    if not len(found):
        return []
    closest = found[likeness[found].argsort(descending=True, stable=True)][:SHOWN].tolist()
    pairs = [f"{test_files[i]} ≈ {pool_files[int(place[i])]}" for i in closest]
    more = " …" if len(found) > SHOWN else ""
    return [
        f"{len(found)} test images look like copies of training images: {', '.join(pairs)}{more}"
    ]


def patterns(images: Tensor) -> Tensor:
    """[N, C, H, W] uint8 → [N, D] of length 1, free of brightness and contrast; flat ones are 0."""
    small = resize(images, SIDE) if min(images.shape[-2:]) > SIDE else images
    flat = small.float().mean(1).flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    length = flat.norm(dim=1, keepdim=True)
    return torch.where(length > flat.shape[1] ** 0.5, flat / length.clamp(min=1), 0.0)


def best_matches(rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """For each row, its highest correlation with one of the others, and where that is."""
    best = [(part @ others.T).max(dim=1) for part in rows.split(256)]
    return torch.cat([b.values for b in best]), torch.cat([b.indices for b in best])
