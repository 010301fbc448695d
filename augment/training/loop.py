"""The training loop: the only one, for generators and classifiers alike."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from augment.data.images import to_float
from augment.errors import Diverged
from augment.runtime.seeds import seed_for
from augment.training.learner import Learner, Metrics
from augment.training.recovery import update_in_parts
from augment.training.training_set import TrainingSet, epoch_indices


def train(
    learner: Learner,
    data: TrainingSet,
    *,
    seed: int,
    device: torch.device,
    start: int = 0,
    micro_batch: int = 0,
) -> Iterator[tuple[int, Metrics]]:
    """Train from step `start` on and yield (steps done, metrics) after each step.

    The caller logs, samples and stops. Step s is a pure function of the learner's state, the data,
    the seed and s, so that a run resumed from a checkpoint equals one that never stopped. A batch
    larger than `micro_batch` is split, and its gradients accumulate.
    """
    data = data.to(device)
    rng = torch.Generator(device)
    labels_of = data.targets or tuple(part.labels for part in data.parts)
    caches: list[dict[int, Tensor]] = [{} for _ in data.parts]  # the order of the current epoch
    # the schedule of synthetic images is taken at the middle of each step
    counts = [data.counts(learner.batch, (s + 0.5) / learner.steps) for s in range(learner.steps)]
    # how many images of each part the steps before `start` have taken
    used = [sum(column) for column in zip(*counts[:start], strict=True)] or [0] * len(data.parts)
    # rounded up: no part may be larger than a micro-batch
    parts = -(-learner.batch // (micro_batch or max(1, learner.batch)))
    update = learner.update if parts <= 1 else functools.partial(update_in_parts, learner, parts)
    for step in range(start, learner.steps):
        # seeded by the step: what is drawn in it does not depend on the steps before
        rng.manual_seed(seed_for(seed, "step", step))
        images, labels = [], []
        for number, (part, take) in enumerate(zip(data.parts, counts[step], strict=True)):
            if take:
                indices = epoch_indices(
                    len(part), take, seed_for(seed, number), used[number], caches[number], device
                )
                used[number] += take
                images.append(data.transforms[number](to_float(part.images[indices]), rng))
                labels.append(labels_of[number][indices])
        batch, targets = torch.cat(images), torch.cat(labels)
        if data.mix_batch:
            batch, targets = data.mix_batch(batch, targets, len(data.parts[0].classes), rng)
        yield step + 1, update(batch, targets, step=step, rng=rng)


def fit(
    learner: Learner, data: TrainingSet, *, seed: int, device: torch.device, precision: str = "fp32"
) -> None:
    """Prepare a learner and train it to the end, without logs or checkpoints."""
    learner.prepare(data.parts[0], seed=seed, device=device, precision=precision)
    for _ in train(learner, data, seed=seed, device=device):
        pass


def finite_floats(step: int, metrics: Metrics) -> dict[str, float]:
    """Convert metrics to floats; Diverged if one is not finite."""
    numbers = {name: float(value) for name, value in metrics.items()}
    bad = [name for name, value in numbers.items() if not math.isfinite(value)]
    if bad:
        raise Diverged(f"{bad[0]} was {numbers[bad[0]]} at step {step}")
    return numbers
