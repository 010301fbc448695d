"""Recovery of a training after a failure: half the learning rate, or gradient accumulation."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from augment.errors import Diverged

if TYPE_CHECKING:
    from augment.training.learner import Learner, Metrics


def recover(learner: Learner, changed: dict[str, Any], error: Exception, step: int) -> str:
    """Adjust training after a failure and describe the change; re-raise if nothing is left to try.

    A non-finite loss halves the learning rate, once. Each time that memory runs out, the
    micro-batch is halved and gradients accumulate, down to a single image. `changed` is updated.
    """
    micro_batch = changed["micro_batch"]
    if isinstance(error, Diverged) and changed["retried"] is None:
        changed["retried"] = step
        halve_rate(learner)
        change = f"{error}: half the learning rate"
    elif out_of_memory(error) and micro_batch > 1 and getattr(learner, "in_parts", True):
        # a GAN of several steps per update cannot split them: `in_parts` is False there
        changed["micro_batch"] = -(-micro_batch // 2)
        change = (
            f"out of memory: {changed['micro_batch']} images at once, gradients gathered to one "
            f"batch of {learner.batch}"
        )
    else:
        raise error
    return f"{change}, from step {step} on"


def halve_rate(learner: Learner) -> None:
    """Halve the learning rate from now on, also where `set_rate` sets it at each step."""
    for optimiser in learner.optimisers.values():
        for group in optimiser.param_groups:
            # `scale` for learners that set the rate, `lr` for those that set it once
            group["scale"] = group.get("scale", 1.0) / 2
            group["lr"] /= 2


class GradientAccumulator:
    """A stand-in for an optimiser that takes one step for all micro-batches of a batch."""

    def __init__(self, optimiser: torch.optim.Optimizer, part: int, parts: int) -> None:
        self.optimiser, self.part, self.parts = optimiser, part, parts
        self.param_groups = optimiser.param_groups

    def zero_grad(self) -> None:
        """Clear the gradients before the first micro-batch only."""
        if self.part == 0:
            self.optimiser.zero_grad()

    def step(self) -> None:
        """Step after the last micro-batch, on the mean of the gradients."""
        if self.part == self.parts - 1:
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:  # frozen weights have none
                        weight.grad /= self.parts
            self.optimiser.step()


def update_in_parts(
    learner: Learner, parts: int, images: Tensor, labels: Tensor, *, apart: int = 0, **beside: Any
) -> Metrics:
    """Take one update on a batch that memory does not hold at once, by gradient accumulation.

    Equal to the step on the whole batch except for batch-norm statistics and the noise drawn; a
    GAN's second network learns from the first as it was before the step. `apart` as in the updates
    of classifiers; all other keywords go to each update as they are.
    """
    # the images after the first n are weak, then strong views of unlabelled ones; each part gets
    # the two views of the same images
    n = len(labels)
    views = [images[:n], *images[n:].chunk(2)] if len(images) > n else [images]
    micro_batches = zip(*(view.tensor_split(parts) for view in views), strict=True)
    optimisers, modules, metrics = learner.optimisers, learner.modules, []
    try:
        targets, end = labels.tensor_split(parts), 0
        for part, (rows, part_labels) in enumerate(zip(micro_batches, targets, strict=True)):
            start, end = end, end + len(part_labels)
            # of the last `apart` labelled rows, those in this micro-batch
            if apart:
                beside["apart"] = max(0, end - max(start, n - apart))
            accumulators: Any = {
                name: GradientAccumulator(optimiser, part, parts)
                for name, optimiser in optimisers.items()
            }
            learner.optimisers = accumulators
            if part < parts - 1 and "ema" in modules:  # a copy: the EMA moves once a step
                learner.modules = {**modules, "ema": copy.deepcopy(modules["ema"])}
            else:
                learner.modules = modules
            update: Callable[..., Metrics] = learner.update
            metrics.append(update(torch.cat(rows), part_labels, **beside))
    finally:
        learner.optimisers, learner.modules = optimisers, modules
    return {name: torch.stack([m[name] for m in metrics]).mean() for name in metrics[0]}


def no_memory(error: Exception) -> str:
    """Return the sentence for an error of `out_of_memory`: what was asked for, and the way out."""
    asked = re.search(r"allocate (\d+) bytes", str(error))
    # torch's on a CPU states bytes; numpy's and CUDA's already have a unit
    size = ""
    if asked:
        n = int(asked[1])
        size = f"{n / 1e9:.3g} GB" if n >= 1e9 else f"{n / 1e6:.3g} MB"
    if not size and (asked := re.search(r"allocate ([\d.]+ [KMGTP]iB)", str(error))):
        size = asked[1]
    return (
        f"out of memory{f' ({size} were asked for at once)' if size else ''}: give --jobs 1, a "
        "smaller --size, or a smaller network or batch, e.g. --set generator.width=16 "
        "--set classifier.batch=16"
    )


def out_of_memory(error: Exception) -> bool:
    """Tell whether an error means that GPU or machine have no memory left.

    torch has no single type for both: on a CPU it raises RuntimeError with one of these messages.
    """
    messages = ("can't allocate memory", "not enough memory", "bad_alloc")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in messages)
    )
