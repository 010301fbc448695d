"""What a learner is, and the parts that all learners share."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from augment.data.images import LabelledImages

Metrics = dict[str, Tensor]


SNAPSHOTS = (0.25, 0.5, 0.75, 1.0)  # of a generator's training: when it is drawn, its weights kept


class Learner(Protocol):
    """Anything that learns: hyperparameters in __init__, networks in `prepare`, a step in `update`.

    Generators and classifiers alike, so that no arm differs by accident.
    """

    # after prepare; where there is an "ema", it and a "memory" are kept in the end, nothing else
    modules: dict[str, nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]

    @property
    def steps(self) -> int:
        """How many updates make a training; 0 for a control."""
        ...

    @property
    def batch(self) -> int:
        """Images an update."""
        ...

    def prepare(
        self, data: LabelledImages, *, seed: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        """Build the networks for images like these."""
        ...

    def update(self, images: Tensor, labels: Tensor, *, step: int, rng: torch.Generator) -> Metrics:
        """One optimiser step on float images [B, C, H, W] in [-1, 1], labels [B] int64.

        Classifiers also take mixed labels [B, K] float, a row counting what it adds up to; [B, 2K],
        the second half of rows that are to be normalised apart; and fewer labels than images: the
        rows beyond are weak views of unlabelled images, then as many strong ones.
        """
        ...


def steps_for(epochs: int, data: LabelledImages, batch: int) -> int:
    """Steps that see every image `epochs` times."""
    return math.ceil(epochs * len(data) / batch)


def in_mode(net: nn.Module, training: bool) -> nn.Module:
    """The network in training or evaluation mode; it is walked through only if it was not."""
    return net if net.training == training else net.train(training)


def seeded_init(build: Any, seed: int) -> Any:
    """Call `build()` with torch's initialisers seeded; the global random state is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
