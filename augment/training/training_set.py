"""The training set of a learner, and which images of it a step takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from augment.data.images import LabelledImages
from augment.runtime.device import to_device
from augment.runtime.seeds import seed_for
from augment.transforms.batch_mixing import BatchTransform
from augment.transforms.geometric import Transform

CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """Parts of a training set, each with its share of a batch and its transform."""

    parts: tuple[LabelledImages, ...]
    shares: tuple[float, ...]  # of the labelled parts they add up to 1; unlabelled ones are extra
    transforms: tuple[Transform, ...]
    mix_batch: BatchTransform | None = None  # applied to the whole batch, e.g. mixup
    # progress of the training, 0…1 → the second part's share of what the first two fill
    synthetic_schedule: Callable[[float], float] | None = None
    # in place of the parts' labels: [N, K] or [N, 2K], see Learner.update
    targets: tuple[Tensor, ...] | None = None

    def to(self, device: torch.device) -> TrainingSet:
        """Copy the set with its images on a device."""
        targets = self.targets and tuple(t.to(device) for t in self.targets)
        parts = tuple(p.to(device) for p in self.parts)
        return dataclasses.replace(self, parts=parts, targets=targets)

    def counts(self, batch: int, done: float = 0.0) -> list[int]:
        """Count the images of a batch from each part; they add up to `batch` times the shares.

        `done` is the share of the training before this batch, 0…1.
        """
        shares = self.shares
        if self.synthetic_schedule:
            synthetic = self.synthetic_schedule(done)
            shares = (1 - synthetic, synthetic, *shares[2:])
        counts = [round(share * batch) for share in shares[:-1]]
        # the last part takes the rest, so that rounding never changes the size of the batch
        return [*counts, round(sum(shares) * batch) - sum(counts)]


def epoch_indices(
    n: int,
    take: int,
    seed: int,
    position: int,
    cache: dict[int, Tensor],
    device: torch.device = CPU,
) -> Tensor:
    """Return the indices of the next `take` of n images, each once an epoch.

    `position` is how many were taken before. The order of epoch e depends on (seed, e) alone, so
    that a resumed run takes the same. `cache` holds the order of the last epoch.
    """
    indices = []
    end = position + take
    while position < end:
        epoch, offset = divmod(position, n)
        if epoch not in cache:
            rng = torch.Generator().manual_seed(seed_for(seed, "epoch", epoch))
            cache.clear()
            # moved once an epoch, not in each step
            cache[epoch] = to_device(torch.randperm(n, generator=rng), device)
        indices.append(cache[epoch][offset : offset + end - position])
        position += len(indices[-1])
    return torch.cat(indices) if indices else torch.empty(0, dtype=torch.int64, device=device)
