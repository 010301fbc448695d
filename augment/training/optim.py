"""Optimiser steps, the learning-rate schedule and the exponential moving average (EMA)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def warmup_cosine(step: int, steps: int, warmup: float = 0.05, floor: float = 0.02) -> float:
    """Return the factor of the learning rate at a step: linear warm-up to 1, then cosine decay.

    `warmup` is a share of the steps, `floor` the factor at the end.
    """
    progress = (step + 1) / steps  # the first step already learns
    if progress < warmup:
        return progress / warmup
    decayed = (progress - warmup) / (1 - warmup)  # 0…1
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * decayed))


def optimizer_step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """Compute the gradient of a loss and take one step of the optimiser."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group, times the group's `scale` if it has one."""
    for group in optimiser.param_groups:
        # `recovery.halve_rate` sets `scale`, and a GAN may give D another rate than G
        group["lr"] = rate * group.get("scale", 1.0)
