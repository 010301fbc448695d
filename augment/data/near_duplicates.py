"""Near-copies: one image on both sides of the split in two encodings. Warned of, not removed."""

from __future__ import annotations

import torch
from torch import Tensor

from augment.data.images import LabelledImages, resize

COMPARED_SIDE = 16  # pixels a side at which images are compared; encoders differ in finer detail
MIN_CORRELATION = 0.995  # from which two images count as one
MAX_COMPARISONS = 500_000_000  # about five seconds on two cores; beyond it nothing is looked for
MAX_EXAMPLES = 3  # pairs named in the note


def near_copies(
    pool: LabelledImages, test: LabelledImages, pool_files: list[str], test_files: list[str]
) -> list[str]:
    """Return a note with the closest pairs of (test, pool) images that are one image, or none."""
    if len(pool) * len(test) > MAX_COMPARISONS:
        return ["too many images to look for near-copies between pool and test"]
    correlation, nearest = _best_matches(_patterns(test.images), _patterns(pool.images))
    copies = (correlation >= MIN_CORRELATION).nonzero().flatten()  # indices into test
    if not len(copies):
        return []
    order = correlation[copies].argsort(descending=True, stable=True)
    closest = copies[order][:MAX_EXAMPLES].tolist()
    pairs = [f"{test_files[i]} ≈ {pool_files[int(nearest[i])]}" for i in closest]
    more = " …" if len(copies) > MAX_EXAMPLES else ""
    return [
        f"{len(copies)} test images look like copies of training images: {', '.join(pairs)}{more}"
    ]


def _patterns(images: Tensor) -> Tensor:
    """Normalise [N, C, H, W] uint8 → [N, D] of mean 0 and length 1; flat images become 0.

    Brightness and contrast drop out, so that a product of two rows is their correlation.
    """
    small = resize(images, COMPARED_SIDE) if min(images.shape[-2:]) > COMPARED_SIDE else images
    flat = small.float().mean(1).flatten(1)  # grey, [N, D]
    flat = flat - flat.mean(1, keepdim=True)
    length = flat.norm(dim=1, keepdim=True)
    # a standard deviation of one grey level or less is noise of the encoder, no pattern
    return torch.where(length > flat.shape[1] ** 0.5, flat / length.clamp(min=1), 0.0)


def _best_matches(rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Find each row's highest correlation with one of the others, and the index of that one.

    [N, D], [M, D] → [N] float32, [N] int64.
    """
    best = [(part @ others.T).max(dim=1) for part in rows.split(256)]
    return torch.cat([b.values for b in best]), torch.cat([b.indices for b in best])
