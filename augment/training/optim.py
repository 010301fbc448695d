"""Optimiser steps, the learning rate's schedule and the exponential moving average (EMA)."""

from __future__ import annotations

import copy
import math
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn


def warmup_cosine(step: int, steps: int, warmup: float = 0.05, floor: float = 0.02) -> float:
    """Factor of the learning rate: linear from 0 to 1 over `warmup`, then a cosine to `floor`."""
    progress = (step + 1) / steps
    if progress < warmup:
        return progress / warmup
    fallen = (progress - warmup) / (1 - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * fallen))


def optimizer_step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of an optimiser down a loss."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group this rate, times the group's own `scale` if it has one."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)


def ema_copy(net: nn.Module) -> nn.Module:
    """A frozen copy that `follow` keeps as the moving average."""
    return copy.deepcopy(net).requires_grad_(False).eval()


@torch.no_grad()
def ema_update(average: nn.Module, net: nn.Module, step: int, decay: float) -> None:
    """Move the average towards the net; short at the start: min(decay, (1 + s) / (10 + s)).

    Floating-point buffers (batch-norm statistics) are averaged too, others copied.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    (floats, others), (new_floats, new_others) = tensors_of(average), tensors_of(net)
    torch._foreach_lerp_(floats, new_floats, weight)
    for to, new in zip(others, new_others, strict=True):
        to.copy_(new)


TENSORS: WeakKeyDictionary[nn.Module, tuple[list[Tensor], list[Tensor]]] = WeakKeyDictionary()


def tensors_of(net: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and buffers, the floating-point ones and the others.

    Looked up once a network, whose tensors training changes in place and never replaces: this and
    `in_mode` took a quarter off a small classifier's step.
    """
    if net not in TENSORS:
        own = [*net.parameters(), *net.buffers()]
        floats = [t for t in own if t.is_floating_point()]
        TENSORS[net] = floats, [t for t in own if not t.is_floating_point()]
    return TENSORS[net]
