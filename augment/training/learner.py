"""The contract of a learner (any generator or classifier), and helpers that learners share."""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Metrics = dict[str, Tensor]  # scalars, detached, still on the device

# shares of a generator's training after which a grid of samples and its weights are saved
SNAPSHOTS = (0.25, 0.5, 0.75, 1.0)


# metadata of a field that the arm sets: no preset, flag or signature of settings has it
OF_ARM = {"of_arm": True}


class Learner(Protocol):
    """A generator or classifier: hyperparameters in __init__, networks in `prepare`, then `update`.

    One contract and one loop for all, so that arms differ only where they are meant to.
    """

    # after prepare; where there is an "ema", it and a "memory" are saved in the end, nothing else
    modules: dict[str, nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]  # their state is part of a checkpoint

    @property
    def steps(self) -> int:
        """Number of updates in a training; 0 for a control."""
        ...

    @property
    def batch(self) -> int:
        """Number of images per update."""
        ...

    def prepare(
        self, data: Any, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build the networks for LabelledImages like these, those of a detector for BoxedImages."""
        ...

    def update(
        self, images: Tensor, labels: Tensor, *, step: int | Tensor, rng: torch.Generator
    ) -> Metrics:
        """Take one optimiser step on float images [B, C, H, W] in [-1, 1], labels [B] int64.

        Classifiers also take mixed labels [B, K] float, a row of sum w with weight w; fewer labels
        than images: the other rows are weak views of unlabelled images, then as many strong ones;
        and `apart`, how many rows, the last ones with labels, are to be normalised apart.

        On a GPU the loop records the update as a CUDA graph: `step` is a tensor [] int64 then, and
        nothing may wait for the GPU. A learner that waits, or whose updates differ in kind, has an
        attribute `recordable` that is False, and is called at each step with an integer.
        """
        ...


def steps_for(epochs: int, data: Sized, batch: int) -> int:
    """Return the number of steps in which every image is seen `epochs` times."""
    return math.ceil(epochs * len(data) / batch)


def in_mode(net: nn.Module, training: bool) -> nn.Module:
    """Put the network in training or evaluation mode; free of cost if it is in that mode."""
    return net if net.training == training else net.train(training)


def seeded_init(build: Any, seed: int) -> Any:
    """Call `build()` with torch's initialisers seeded, then restore the global random state."""
    with torch.random.fork_rng(devices=[]):  # the CPU's state only: networks are built there
        torch.manual_seed(seed)
        return build()
