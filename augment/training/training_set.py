"""What is learnt from: parts, their shares of a batch, their transforms."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from augment.data.images import LabelledImages
from augment.runtime.seeds import seed_for
from augment.transforms.batch_mixing import BatchTransform
from augment.transforms.geometric import Transform


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """What is learnt from: parts, the share of each batch that each fills, its transform."""

    parts: tuple[LabelledImages, ...]
    shares: tuple[float, ...]  # sums to 1, and beyond by the unlabelled ones
    transforms: tuple[Transform, ...]
    compose: BatchTransform | None = None  # on the whole batch
    # of how much is done of the training, 0…1: what the second part takes of the first two's share
    synthetic_schedule: Callable[[float], float] | None = None
    # in place of the parts' labels: [N, K] or [N, 2K], see Learner.update
    targets: tuple[Tensor, ...] | None = None

    def to(self, device: torch.device) -> TrainingSet:
        """The same set with its images on a device."""
        targets = self.targets and tuple(t.to(device) for t in self.targets)
        parts = tuple(p.to(device) for p in self.parts)
        return dataclasses.replace(self, parts=parts, targets=targets)

    def counts(self, batch: int, done: float = 0.0) -> list[int]:
        """How many images of a batch come from each part; they add up to `batch` times shares.

        `done` is the part of the training before it, 0…1.
        """
        shares = self.shares
        if self.synthetic_schedule:
            now = self.synthetic_schedule(done)
            shares = (1 - now, now, *shares[2:])
        counts = [round(share * batch) for share in shares[:-1]]
        return [*counts, round(sum(shares) * batch) - sum(counts)]


def epoch_indices(
    n: int,
    take: int,
    seed: int,
    position: int,
    cache: dict[int, Tensor],
    device: torch.device | None = None,
) -> Tensor:
    """Places of the `take` images drawn from n after `position` others: each once an epoch.

    The order of epoch e depends on (seed, e) alone, so that a resumed run draws the same.
    """
    indices = []
    end = position + take
    while position < end:
        epoch, offset = divmod(position, n)
        if epoch not in cache:
            rng = torch.Generator().manual_seed(seed_for(seed, "epoch", epoch))
            cache.clear()
            # moved once an epoch: to move each batch's indices would wait for the GPU in every step
            cache[epoch] = torch.randperm(n, generator=rng).to(device)
        indices.append(cache[epoch][offset : offset + end - position])
        position += len(indices[-1])
    return torch.cat(indices)
