"""CUDA graphs: a training step, or a step of a sampler, launched as a whole.

Small networks are bound by the launches of their hundreds of kernels on a GPU, not by arithmetic. A
replayed graph reads its inputs and its random numbers' seed anew; all else in it, Python's numbers
among it, is as it was when it was recorded.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from augment.runtime.seeds import default_generator, seeded

Results = dict[str, Tensor]

# calls before a recording: optimisers make their moments in them, libraries their workspaces
UNRECORDED = 3
MOST_GRAPHS = 4  # of one function; then the oldest makes room for inputs of other shapes


class Recording(NamedTuple):
    """A graph, and the tensors that it reads and writes."""

    replay: Callable[[], None]
    inputs: tuple[Tensor, ...]
    results: Results


class GraphedFunction:
    """A function of tensors on a GPU that is replayed as a CUDA graph from its fourth call on.

    Each call counts: a recording computes nothing, and is replayed at once. Inputs of each shape
    have a graph of their own. Where a recording fails, a warning says why, and all calls are
    computed kernel by kernel. What the function draws must come from `rng`, or from the global
    state inside `seeded(rng)`; it may neither wait for the GPU nor depend on numbers that change.
    """

    def __init__(
        self, function: Callable[..., Results], device: torch.device, rng: torch.Generator | None
    ) -> None:
        self.function, self.device, self.rng = function, device, rng
        self.recordings: dict[Any, Recording] = {}
        self.calls: dict[Any, int] = {}  # shapes of the inputs → calls so far
        self.failed = False
        self.stream: torch.cuda.Stream | None = None  # made at the first call

    def __call__(self, *inputs: Tensor) -> Results:
        """Compute the function; the results are the caller's to keep."""
        shapes = tuple((tuple(x.shape), x.dtype) for x in inputs)
        calls = self.calls[shapes] = self.calls.get(shapes, 0) + 1
        if calls > UNRECORDED and shapes not in self.recordings and not self.failed:
            self.try_to_record(shapes, inputs)
        if shapes not in self.recordings:
            return self.compute(inputs)
        recording = self.recordings[shapes]
        for static, given in zip(recording.inputs, inputs, strict=True):
            static.copy_(given)
        if self.rng is None:
            recording.replay()
        else:
            with seeded(self.rng):
                recording.replay()
        return {name: value.clone() for name, value in recording.results.items()}

    def compute(self, inputs: tuple[Tensor, ...]) -> Results:
        """Compute as usual, on the stream of the recordings.

        Autograd adds up gradients on the stream that a network first ran on: a graph may not wait
        for another one.
        """
        if self.device.type != "cuda":
            return self.function(*inputs)
        self.stream = self.stream or torch.cuda.Stream(self.device)
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            results = self.function(*inputs)
        current.wait_stream(self.stream)
        return results

    def try_to_record(self, shapes: Any, inputs: tuple[Tensor, ...]) -> None:
        """Record a graph for inputs of these shapes, or warn and never try again."""
        seed = None if self.rng is None else self.rng.initial_seed()
        if len(self.recordings) == MOST_GRAPHS:
            oldest = next(iter(self.recordings))
            del self.recordings[oldest], self.calls[oldest]
        try:
            static = tuple(x.clone() for x in inputs)
            self.recordings[shapes] = record(self.function, static, self.rng, self.stream)
        except RuntimeError as error:  # torch has no narrower type for what cannot be recorded
            self.failed, self.stream = True, None
            # what went wrong first: the end of a recording that went wrong raises too
            reason = str(error.__context__ or error).strip().partition("\n")[0]
            message = f"no CUDA graph, so each kernel is launched on its own: {reason}"
            warnings.warn(message, RuntimeWarning, stacklevel=3)
            self.recordings.clear()  # those of other shapes draw from the states that are replaced
            renew_generators(self.device, self.rng)
        if self.rng is not None and seed is not None:
            self.rng.manual_seed(seed)  # as it was: nothing has been drawn


def record(
    function: Callable[..., Results],
    inputs: tuple[Tensor, ...],
    rng: torch.Generator | None,
    stream: torch.cuda.Stream | None,
) -> Recording:
    """Record a function of these tensors as a CUDA graph; RuntimeError where that cannot be."""
    graph = torch.cuda.CUDAGraph()
    if rng is not None:
        graph.register_generator_state(rng)  # the default generator is registered by itself
    # gradients add up on the stream of the unrecorded calls, which is this one; torch would warn of
    # any network that has run on another one before
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    gc.collect()  # a graph that is freed during a recording would end it
    with torch.cuda.graph(graph, stream=stream):
        results = function(*inputs)
    return Recording(graph.replay, inputs, results)


def renew_generators(device: torch.device, rng: torch.Generator | None) -> None:
    """Give generators new states: a recording that failed may have left theirs unfinished."""
    if device.type != "cuda":
        return
    default = default_generator(device)
    before = default.get_state()
    for generator in (default, rng):
        if generator is not None:
            generator.graphsafe_set_state(torch.Generator(device))
    default.set_state(before)
