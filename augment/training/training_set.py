"""The training set of a learner, and which images of it a step takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from augment.data.boxed_images import AnyImages
from augment.runtime.device import to_device
from augment.runtime.seeds import seed_for
from augment.transforms.batch_mixing import BatchTransform
from augment.transforms.geometric import Transform

LEAST_APART = 8  # images with statistics of their own; those of two or three let gradients explode
BLOCK = 256  # steps whose draws are made, and moved to the device, at once


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """Parts of a training set, each with its share of a batch and its transform."""

    parts: tuple[AnyImages, ...]
    shares: tuple[float, ...]  # of the labelled parts they add up to 1; unlabelled ones are extra
    transforms: tuple[Transform, ...]
    mix_batch: BatchTransform | None = None  # applied to the whole batch, e.g. mixup
    # progress of the training, 0…1 → the second part's share of what the first two fill
    synthetic_schedule: Callable[[float], float] | None = None
    targets: tuple[Tensor, ...] | None = None  # [N, K] float each, in place of the parts' labels
    with_replacement: bool = False  # see `independent_draws`; else each image once an epoch
    norm_apart: bool = False  # the second part has batch statistics of its own in training

    @cached_property
    def is_labelled(self) -> list[bool]:
        """Whether each part has labels; one without is the last."""
        return [bool((part.labels >= 0).any()) for part in self.parts]

    def to(self, device: torch.device) -> TrainingSet:
        """Copy the set with its images on a device."""
        targets = self.targets and tuple(t.to(device) for t in self.targets)
        parts = tuple(p.to(device) for p in self.parts)
        return dataclasses.replace(self, parts=parts, targets=targets)

    def counts(self, batch: int, done: float = 0.0) -> list[int]:
        """Count the images of a batch from each part; they add up to `batch` times the shares.

        `done` is the share of the training before this batch, 0…1. With `norm_apart`, none or at
        least LEAST_APART images are of a kind, whichever is nearer to its share.
        """
        shares = self.shares
        if self.synthetic_schedule:
            synthetic = self.synthetic_schedule(done)
            shares = (1 - synthetic, synthetic, *shares[2:])
        counts = [round(share * batch) for share in shares[:-1]]
        # the last part takes the rest, so that rounding never changes the size of the batch
        counts.append(round(sum(shares) * batch) - sum(counts))
        if self.norm_apart and min(counts[:2]) < LEAST_APART:
            few, both = counts.index(min(counts[:2])), sum(counts[:2])
            enough = 2 * shares[few] * batch >= LEAST_APART and both >= 2 * LEAST_APART
            counts[few] = LEAST_APART if enough else 0
            counts[1 - few] = both - counts[few]
        return counts


Indices = tuple[Tensor, ...]  # of the images of each part that a step takes, int64


def draws(
    data: TrainingSet, counts: Sequence[Sequence[int]], seed: int, start: int, device: torch.device
) -> Iterator[Indices]:
    """Yield the indices of the images of each step from step `start` on.

    `counts` are the images of each part in every step.
    """
    if data.with_replacement:
        return independent_draws(data.parts, counts, seed=seed, device=device, start=start)
    each = []
    for i, part in enumerate(data.parts):
        takes, own = [n[i] for n in counts], seed_for(seed, i)
        each.append(shuffled_draws(len(part), takes, seed=own, device=device, start=start))
    return zip(*each, strict=True)


def shuffled_draws(
    n: int, takes: Sequence[int], *, seed: int, device: torch.device, start: int = 0
) -> Iterator[Tensor]:
    """Yield the indices of each step's images from step `start` on, each of n once an epoch.

    `takes` counts the images of every step. The order of epoch e depends on (seed, e) alone, so
    that a resumed run takes the same.
    """
    position, current = sum(takes[:start]), -1
    order = torch.empty(0, dtype=torch.int64, device=device)
    for take in takes[start:]:
        indices, end = [order[:0]], position + take
        while position < end:
            epoch, offset = divmod(position, n)
            if epoch != current:
                rng = torch.Generator().manual_seed(seed_for(seed, "epoch", epoch))
                # moved once an epoch, not in each step
                order, current = to_device(torch.randperm(n, generator=rng), device), epoch
            indices.append(order[offset : offset + end - position])
            position += len(indices[-1])
        yield torch.cat(indices)


def independent_draws(
    parts: Sequence[AnyImages],
    counts: Sequence[Sequence[int]],
    *,
    seed: int,
    device: torch.device,
    start: int = 0,
) -> Iterator[Indices]:
    """Yield the indices of each step's images from step `start` on, each uniform over its part.

    A batch may repeat an image, which regularises: it does so equally often whether the images lie
    in one part or are spread over several. The number in [0, 1) behind a draw depends on (seed,
    step, row of the batch) alone and picks from the part in the order of its classes: all arms of a
    trial share these numbers, so their differences vary less (common random numbers).
    """
    orders = [part.draw_order() for part in parts]
    rng = torch.Generator()
    for first in range(start, len(counts), BLOCK):
        drawn = []
        for step, takes in enumerate(counts[first : first + BLOCK], first):
            rng.manual_seed(seed_for(seed, "step", step))
            u = torch.rand(sum(takes), generator=rng, dtype=torch.float64).split(list(takes))
            drawn += [order[(x * len(order)).long()] for order, x in zip(orders, u, strict=True)]
        moved = to_device(torch.cat(drawn), device).split([len(x) for x in drawn])
        for row in range(0, len(moved), len(parts)):
            yield moved[row : row + len(parts)]
