"""Exponential moving average (EMA) of a network's weights, which samples and predicts."""

from __future__ import annotations

import copy
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn


def ema_copy(net: nn.Module) -> nn.Module:
    """Copy a network, in evaluation mode and without gradients, as the EMA of its weights."""
    return copy.deepcopy(net).requires_grad_(False).eval()


@torch.no_grad()
def ema_update(average: nn.Module, net: nn.Module, step: int | Tensor, decay: float) -> None:
    """Move the EMA towards the network by 1 - decay; less decay in the first steps s.

    The decay is min(decay, (1 + s) / (10 + s)), so that the initial weights are soon forgotten.
    Floating-point buffers (batch-norm statistics) are averaged too, others copied.
    """
    (floats, others), (new_floats, new_others) = _tensors_of(average), _tensors_of(net)
    # one call for all tensors: a loop over them costs a small network a launch each
    if isinstance(step, Tensor):  # of a recorded step: so is the weight, which lerp does not take
        weight = 1 - ((1 + step) / (10 + step)).clamp(max=decay)
        changes = torch._foreach_sub(new_floats, floats)
        torch._foreach_mul_(changes, weight)
        torch._foreach_add_(floats, changes)
    else:
        torch._foreach_lerp_(floats, new_floats, 1 - min(decay, (1 + step) / (10 + step)))
    if others:
        torch._foreach_copy_(others, new_others)


# weak keys: a network is freed with its last other reference
_TENSORS: WeakKeyDictionary[nn.Module, tuple[list[Tensor], list[Tensor]]] = WeakKeyDictionary()


def _tensors_of(net: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return the parameters and buffers of a network: the floating-point ones, and the others.

    Collected once per network, because training changes its tensors in place and never replaces
    them: this and `in_mode` took a quarter off a small classifier's step.
    """
    if net not in _TENSORS:
        tensors = [*net.parameters(), *net.buffers()]
        floats = [t for t in tensors if t.is_floating_point()]
        _TENSORS[net] = floats, [t for t in tensors if not t.is_floating_point()]
    return _TENSORS[net]
