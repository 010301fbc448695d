"""Runs each kind of layer of a learner once in bf16 and once in fp32, and compares the results."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import functools
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from augment.data.boxed_images import AnyImages
from augment.data.images import to_float
from augment.training.learner import Learner

aten = torch.ops.aten
CONVOLUTIONS = (aten.convolution.default, aten.convolution_backward.default)
PRODUCTS = (aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default)
# of what each operator returns, in its order
OUTPUTS = {
    aten.convolution_backward.default: ("input gradient", "weight gradient", "bias gradient"),
    aten.convolution.default: ("output",),
    **dict.fromkeys(PRODUCTS, ("product",)),
}
TOLERANCE = 0.1  # relative L2 error of a slice: rounding makes 0.002, sums in bf16 0.04, a fault 1
ROWS = 8  # images of a batch at least; the known faults show from there on
FLOPS = 5e9  # of an update; a larger one is tried on as many images as do with that
POISON = 0x80  # new memory is filled with its complement: 0x7f7f is 3.4e38 in bf16


class Layout(NamedTuple):
    """What a kernel is chosen by, of a tensor."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class Call(NamedTuple):
    """An operator and its arguments, tensors as their layouts."""

    operator: Any
    arguments: tuple[Any, ...]


class Convolution(NamedTuple):
    """A convolution as oneDNN sees it; a transposed one is the same one run backwards."""

    wide: tuple[int, ...]  # sides of the map that is strided over, [H, W]
    narrow: tuple[int, ...]  # and of the other
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    channels: tuple[int, ...]  # in, out, as the layer has them
    transposed: bool


def convolution_of(call: Call) -> Convolution:
    """What a call of `CONVOLUTIONS` is a convolution of."""
    backward = call.operator is CONVOLUTIONS[1]
    image, weight, _, stride, padding, dilation, transposed, extra, *_ = call.arguments[backward:]
    kernel, given = weight.shape[2:], image.shape[2:]
    axes = list(zip(given, kernel, stride, padding, dilation, extra, strict=True))
    if transposed:
        wide = tuple((n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, d, e in axes)
        return Convolution(wide, given, kernel, stride, padding, weight.shape[:2], True)
    narrow = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, _ in axes)
    return Convolution(given, narrow, kernel, stride, padding, weight.shape[1::-1], False)


class CallRecorder(TorchDispatchMode):
    """Collects the distinct convolutions and matrix products in bf16 that run inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[Call, None] = {}
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note a call and carry it out, finite: a fault must not end the update that shows it."""
        output = func(*args, **(kwargs or {}))
        if func not in OUTPUTS or all(t.dtype != torch.bfloat16 for t in tensors_in(args)):
            return output
        self.calls.setdefault(Call(func, tuple(map(layout_of, args))))
        self.flops += flop_registry[func._overloadpacket](*args, out_val=output)
        for tensor in tensors_in(output if isinstance(output, tuple) else (output,)):
            tensor.nan_to_num_(0.0, 0.0, 0.0).clamp_(-1e4, 1e4)
        return output


def tensors_in(values: Any) -> list[Tensor]:
    """The tensors among some values."""
    return [value for value in values if isinstance(value, Tensor)]


def layout_of(value: Any) -> Any:
    """An argument as something that can be compared and keeps no memory."""
    if isinstance(value, Tensor):
        return Layout(tuple(value.shape), value.stride(), value.dtype)
    return tuple(value) if isinstance(value, list) else value


def calls_of(learner: Learner, data: AnyImages) -> list[Call]:
    """The distinct bf16 calls of one update of a copy, on random images of the shape of `data`."""
    tried = copy.deepcopy(learner)
    if hasattr(tried, "calls"):  # of a sampler: the first has the shapes of all
        tried.calls = 1  # pyright: ignore[reportAttributeAccessIssue]
    k, rng = len(data.classes), torch.Generator().manual_seed(0)
    n = max(2 * k, tried.batch)
    images = torch.randint(0, 256, (n, *data.shape), generator=rng, dtype=torch.uint8)
    like = type(data)(images, data.example_labels(n), data.classes)
    with torch.random.fork_rng(devices=[]):
        tried.prepare(like, seed=0, device=torch.device("cpu"), precision="bf16")
        few = recorded_update(tried, like, ROWS)
        rows = min(tried.batch, int(ROWS * FLOPS / max(1, few.flops)))
        recorder = few if rows <= ROWS else recorded_update(tried, like, rows)
    return list(recorder.calls)


def recorded_update(learner: Any, data: AnyImages, rows: int) -> CallRecorder:
    """What one update on so many images calls; of a learner without updates, what drawing calls."""
    rows = min(rows, learner.batch)
    images, labels = to_float(data.images[:rows]), data.labels[:rows]
    with CallRecorder() as recorder:
        if not learner.steps:
            learner.sample(labels[:1], seeds=torch.zeros(1, dtype=torch.int64))
            return recorder
        for share in getattr(learner, "phases", (0.0,)):
            step, rng = int(share * (learner.steps - 1)), torch.Generator().manual_seed(0)
            learner.update(images, labels, step=step, rng=rng)
    return recorder


def wrong_output(call: Call, reference: torch.dtype = torch.float32) -> str:
    """Name the output of a call that differs from the reference beyond rounding; empty if none."""
    rng = torch.Generator().manual_seed(0)
    operands = [operand(argument, rng) for argument in call.arguments]
    widened = [v.to(reference) if isinstance(v, Tensor) else v for v in operands]
    with torch.no_grad(), poisoned_memory():
        found = call.operator(*operands)
    with torch.no_grad():
        wanted = call.operator(*widened)
    found, wanted = (v if isinstance(v, tuple) else (v,) for v in (found, wanted))
    for name, ours, theirs in zip(OUTPUTS[call.operator], found, wanted, strict=True):
        if ours is not None and not worst_slice(ours.to(reference), theirs) <= TOLERANCE:
            return name
    return ""


def operand(argument: Any, rng: torch.Generator) -> Any:
    """A random tensor of a layout; other arguments as they are."""
    if not isinstance(argument, Layout):
        return list(argument) if isinstance(argument, tuple) else argument
    shape, stride, dtype = argument
    values = torch.randn(shape, generator=rng).to(dtype)
    if 0 in stride:  # expanded: its entries share memory
        return values
    return torch.empty_strided(shape, stride, dtype=dtype).copy_(values)


def worst_slice(found: Tensor, wanted: Tensor) -> float:
    """Largest relative L2 error of a slice: each index of each axis, each place of 2-D maps.

    An error in one row of sixteen, one channel or one tap of a kernel is not averaged away; slices
    smaller than the whole tensor's RMS are measured against that. NaN or infinite if `found` is.
    """
    errors, sizes = (found - wanted).square(), wanted.square()
    floor = sizes.mean()
    axes = range(wanted.ndim)
    kept = [(axis,) for axis in axes] + [tuple(axes[-2:])] * (wanted.ndim == 4)
    worst = []
    for own in kept:
        others = [axis for axis in axes if axis not in own]
        error, size = (v.mean(others) if others else v for v in (errors, sizes))
        worst.append((error / size.maximum(floor).clamp(min=1e-30)).max())
    return float(torch.stack(worst).max().sqrt())


@contextlib.contextmanager
def poisoned_memory() -> Iterator[None]:
    """Fill what malloc gives with large numbers, so that an entry never written is always seen.

    Memory is often zero when new, and zero can be the right value there. Where the C library is
    not glibc nothing is filled, and `known_fault` stands alone against entries never written.
    """
    mallopt, perturb = glibc_mallopt(), -6  # M_PERTURB of malloc.h
    if mallopt is None:
        yield
        return
    mallopt(perturb, POISON)
    try:
        yield
    finally:
        mallopt(perturb, int(os.environ.get("MALLOC_PERTURB_") or 0))


@functools.cache
def glibc_mallopt() -> Any:
    """The C library's function that sets how memory is given out; None where there is none."""
    if os.name != "posix":
        return None
    return getattr(ctypes.CDLL(None), "mallopt", None)
