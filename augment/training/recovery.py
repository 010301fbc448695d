"""What a training does after a fault: half the learning rate, or its batches in parts."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from augment.errors import Diverged
from augment.training.cuda_graphs import graphs_disabled

if TYPE_CHECKING:
    from augment.training.learner import Learner, Metrics


def recover(learner: Learner, changed: dict[str, Any], error: Exception, step: int) -> str:
    """What is done otherwise from `step` on after a fault, in words; raises it if nothing is left.

    Once half the learning rate for a loss that is no number; half as many images at once, the
    gradients gathered, for each time that memory did not do, down to a single one.
    """
    micro = changed["micro_batch"]
    if isinstance(error, Diverged) and changed["retried"] is None:
        changed["retried"] = step
        halve_rate(learner)
        said = f"{error}: half the learning rate"
    elif out_of_memory(error) and micro > 1 and getattr(learner, "in_parts", True):
        changed["micro_batch"] = -(-micro // 2)
        said = f"out of memory: {changed['micro_batch']} images at once, gradients gathered to one"
        said += f" batch of {learner.batch}"
    else:
        raise error
    return f"{said}, from step {step} on"


def halve_rate(learner: Learner) -> None:
    """Half the learning rate from now on, whether it is set at each step or was once for all."""
    for optimiser in learner.optimisers.values():
        for group in optimiser.param_groups:
            group["scale"] = group.get("scale", 1.0) / 2
            group["lr"] /= 2


class GradientAccumulator:
    """An optimiser to a learner that comes with a batch in parts: one step for all of them."""

    def __init__(self, optimiser: torch.optim.Optimizer, part: int, parts: int) -> None:
        self.optimiser, self.part, self.parts = optimiser, part, parts
        self.param_groups = optimiser.param_groups

    def zero_grad(self) -> None:
        """Before the first part."""
        if self.part == 0:
            self.optimiser.zero_grad()

    def step(self) -> None:
        """After the last one, down the mean of all gradients."""
        if self.part == self.parts - 1:
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        weight.grad /= self.parts
            self.optimiser.step()


def update_in_parts(
    learner: Learner, parts: int, images: Tensor, labels: Tensor, *, step: int, rng: torch.Generator
) -> Metrics:
    """One update on a batch that memory does not hold at once: its parts' gradients are gathered.

    The same step as that of the whole batch but for statistics of a batch norm and the noise drawn;
    a GAN's second network learns from the first as it was before the step.
    """
    n = len(labels)  # beyond are weak and strong views of unlabelled images, pairs of which stay so
    views = [images[:n], *images[n:].chunk(2)] if len(images) > n else [images]
    pieces = zip(*(view.tensor_split(parts) for view in views), strict=True)
    optimisers, modules, metrics = learner.optimisers, learner.modules, []
    try:
        for part, (rows, own) in enumerate(zip(pieces, labels.tensor_split(parts), strict=True)):
            gathering: Any = {k: GradientAccumulator(o, part, parts) for k, o in optimisers.items()}
            learner.optimisers = gathering
            if part < parts - 1 and "ema" in modules:  # the average moves once a step, in the end
                learner.modules = {**modules, "ema": copy.deepcopy(modules["ema"])}
            else:
                learner.modules = modules
            with graphs_disabled():
                metrics.append(learner.update(torch.cat(rows), own, step=step, rng=rng))
    finally:
        learner.optimisers, learner.modules = optimisers, modules
    return {name: torch.stack([m[name] for m in metrics]).mean() for name in metrics[0]}


def out_of_memory(error: Exception) -> bool:
    """Whether it says that GPU or machine have no memory left: torch has no one type for both."""
    said = ("can't allocate memory", "not enough memory", "bad_alloc")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in said)
    )
