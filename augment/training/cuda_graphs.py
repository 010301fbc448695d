"""CUDA graphs: forward and backward pass of a network, launched as a whole.

Small networks are bound by the launches of their hundreds of kernels on a GPU, not by arithmetic.
On a CPU, and inside `graphs_disabled`, networks are called as usual.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

NetworkCall = Callable[..., Tensor]

GRAPHS_DISABLED: ContextVar[bool] = ContextVar("GRAPHS_DISABLED", default=False)


@contextlib.contextmanager
def graphs_disabled() -> Iterator[None]:
    """Call networks as usual, for gradient accumulation.

    A replayed graph overwrites the gradients of the call before; those of micro-batches add up.
    """
    token = GRAPHS_DISABLED.set(True)
    try:
        yield
    finally:
        GRAPHS_DISABLED.reset(token)


class GraphedCall(nn.Module):
    """A call of a network as a module: torch replaces its forward by the graph."""

    def __init__(self, net: nn.Module, call: NetworkCall | None) -> None:
        super().__init__()
        self.net, self.call = net, call
        self.training = net.training  # not by train(): parts of the net may be in another mode

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.call(self.net, *inputs) if self.call else self.net(*inputs)


def graphed(net: nn.Module, *inputs: Tensor, call: NetworkCall | None = None) -> Tensor:
    """Compute `net(*inputs)`, or `call(net, *inputs)`; in training on a GPU by a CUDA graph.

    The first call records the graph, for inputs of these shapes in this mode and precision; inputs
    of others are computed as usual. What the call does must not depend on the inputs' values.
    """
    if inputs[0].device.type == "cuda" and torch.is_grad_enabled() and not GRAPHS_DISABLED.get():
        shapes = [(tuple(x.shape), x.dtype) for x in inputs]
        key = (shapes, net.training, torch.is_autocast_enabled("cuda"))
        # an attribute of the network: the graph is freed with it
        attributes: dict[str, Any] = vars(net)
        if "recording" not in attributes:
            attributes["recording"] = key, _record(GraphedCall(net, call), inputs)
        recorded_key, graph = attributes["recording"]
        if key == recorded_key:
            return graph(*inputs)
    return call(net, *inputs) if call else net(*inputs)


def _record(module: GraphedCall, inputs: tuple[Tensor, ...]) -> nn.Module:
    """Record a module's forward and backward pass as graphs; its buffers keep their values."""
    # the warm-up passes before the recording would move batch statistics
    before = [buffer.clone() for buffer in module.buffers()]
    examples = tuple(x.detach().clone() for x in inputs)
    # gradients accumulate on the stream that recorded; autograd waits for it, and would warn of it
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    # backward passes run in a thread of torch's own: if its first call were one of cuBLAS, torch
    # would warn that the thread has no CUDA context yet
    torch.ones((), device=examples[0].device, requires_grad=True).mul(1).backward()
    graph = torch.cuda.make_graphed_callables(module, examples)
    for buffer, old in zip(module.buffers(), before, strict=True):
        buffer.copy_(old)
    assert isinstance(graph, nn.Module)
    return graph
