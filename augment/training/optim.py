"""Optimiser steps, the learning-rate schedule and the exponential moving average (EMA)."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor


def warmup_cosine(
    step: int | Tensor, steps: int, warmup: float = 0.05, floor: float = 0.02
) -> float | Tensor:
    """Return the factor of the learning rate at a step: linear warm-up to 1, then cosine decay.

    `warmup` is a share of the steps, `floor` the factor at the end. Of a step that is a tensor, the
    factor is one, read from a table: see `cuda_graphs`.
    """
    if isinstance(step, Tensor):
        return torch.take(_factor_table(steps, warmup, floor, step.device), step)
    progress = (step + 1) / steps  # the first step already learns
    if progress < warmup:
        return progress / warmup
    decayed = (progress - warmup) / (1 - warmup)  # 0…1
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * decayed))


@functools.lru_cache(maxsize=8)
def _factor_table(steps: int, warmup: float, floor: float, device: torch.device) -> Tensor:
    """Tabulate `warmup_cosine` of all steps: [steps] float32."""
    factors = [warmup_cosine(step, steps, warmup, floor) for step in range(steps)]
    return torch.tensor(factors, device=device)


def optimizer_step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """Compute the gradient of a loss and take one step of the optimiser."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def set_rate(optimiser: torch.optim.Optimizer, rate: float | Tensor) -> None:
    """Set the learning rate of every parameter group, times the group's `scale` if it has one."""
    for group in optimiser.param_groups:
        # `recovery.halve_rate` sets `scale`, and a GAN may give D another rate than G
        group["lr"] = rate * group.get("scale", 1.0)


def allow_recording(optimiser: torch.optim.Optimizer) -> None:
    """Let a CUDA graph record the steps of an optimiser; Adam refuses where it is not told to."""
    for group in optimiser.param_groups:
        if "capturable" in group:
            group["capturable"] = True
