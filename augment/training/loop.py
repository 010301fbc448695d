"""The training loop: the only one, for generators and classifiers alike."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from augment.data.images import to_float
from augment.errors import Diverged
from augment.runtime.seeds import seed_for
from augment.training.cuda_graphs import GraphedFunction
from augment.training.learner import Learner, Metrics
from augment.training.optim import allow_recording
from augment.training.recovery import update_in_parts
from augment.training.training_set import TrainingSet, draws


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
    # the schedule of synthetic images is taken at the middle of each step
    counts = [data.counts(learner.batch, (s + 0.5) / learner.steps) for s in range(learner.steps)]
    # rounded up: no part may be larger than a micro-batch
    micro_batches = -(-learner.batch // (micro_batch or max(1, learner.batch)))
    take_step = step_function(learner, data, rng, micro_batches)
    batches = draws(data, counts, seed, start, device)
    for step, indices in zip(range(start, learner.steps), batches, strict=True):
        # seeded by the step: what is drawn in it does not depend on the steps before
        rng.manual_seed(seed_for(seed, "step", step))
        yield step + 1, take_step(step, *indices)


def step_function(
    learner: Learner, data: TrainingSet, rng: torch.Generator, micro_batches: int
) -> Callable[..., Metrics]:
    """Make (step, indices of each part's images in the batch) → metrics, all on the device.

    On a GPU it becomes a CUDA graph where it can: see `recordable`.
    """
    update: Callable[..., Metrics] = learner.update
    if micro_batches > 1:
        update = functools.partial(update_in_parts, learner, micro_batches)

    def take_step(step: int | Tensor, *indices: Tensor) -> Metrics:
        if not (data.norm_apart and len(indices[1])):
            images, labels = batch_of(data, indices, rng)
            return update(images, labels, step=step, rng=rng)
        # mixed within either kind: an image of both would belong to neither's statistics
        none = indices[1][:0]
        apart, apart_labels = batch_of(data, (none, indices[1]), rng)
        images, labels = batch_of(data, (indices[0], none, *indices[2:]), rng)
        n = len(labels)  # images beyond have no labels
        return update(
            torch.cat([images[:n], apart, images[n:]]),
            torch.cat([labels, apart_labels]),
            step=step,
            rng=rng,
            apart=len(apart),
        )

    if micro_batches > 1 or not recordable(learner, rng.device):
        return take_step
    for optimiser in learner.optimisers.values():
        allow_recording(optimiser)
    graphed = GraphedFunction(take_step, rng.device, rng)

    def take_graphed_step(step: int, *indices: Tensor) -> Metrics:
        # filled on the device: a copy from the host would wait
        return graphed(torch.full((), step, device=rng.device), *indices)

    return take_graphed_step


def batch_of(
    data: TrainingSet, indices: Sequence[Tensor], rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Make a batch of the images at these indices of each part, all transformed.

    Images without labels are the last: the batch has fewer labels than images then.
    """
    labels_of = data.targets or tuple(part.labels for part in data.parts)
    images = [to_float(part.images[rows]) for part, rows in zip(data.parts, indices, strict=False)]
    labels = [labels_of[part][rows] for part, rows in enumerate(indices) if data.is_labelled[part]]
    if len(set(data.transforms)) == 1:  # what a row draws does not depend on its part then
        images, transforms = [torch.cat(images)], data.transforms[:1]
    else:
        transforms = data.transforms
    images = [
        transform(pixels, rng) if len(pixels) else pixels
        for transform, pixels in zip(transforms, images, strict=False)
    ]
    batch, targets = torch.cat(images), torch.cat(labels)
    if data.mix_batch:
        return data.mix_batch(batch, targets, len(data.parts[0].classes), rng)
    return batch, targets


def recordable(learner: Learner, device: torch.device) -> bool:
    """Tell whether a step on whole batches can become a CUDA graph: it must not wait for the GPU.

    Learners that do, or whose updates differ in kind, say so themselves (`recordable`).
    """
    return device.type == "cuda" and getattr(learner, "recordable", True)


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
