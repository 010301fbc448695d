"""CUDA graphs: forward and backward pass of a network, launched as a whole.

Small networks are bound by the launches of their hundreds of kernels on a GPU, not by arithmetic.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

Call = Callable[..., Tensor]


PLAIN: ContextVar[bool] = ContextVar("PLAIN", default=False)


@contextlib.contextmanager
def graphs_disabled() -> Iterator[None]:
    """Networks run as they are: a recording writes gradients where it wrote those before.

    Those of a batch in parts are added up instead.
    """
    token = PLAIN.set(True)
    try:
        yield
    finally:
        PLAIN.reset(token)


class Recordable(nn.Module):
    """A call of a network, as a module of its own: torch puts the graph in place of its forward."""

    def __init__(self, net: nn.Module, call: Call | None) -> None:
        super().__init__()
        self.net, self.call = net, call
        self.training = net.training  # parts of it may be in another mode: train() would set those

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.call(self.net, *inputs) if self.call else self.net(*inputs)


def graphed(net: nn.Module, *inputs: Tensor, call: Call | None = None) -> Tensor:
    """`net(*inputs)`, or `call(net, *inputs)`, in training; on a GPU replayed from a recording.

    The first call records, for inputs of these shapes in this mode and precision; others run as
    they are. What the call does must not depend on the values of the inputs.
    """
    if inputs[0].device.type == "cuda" and torch.is_grad_enabled() and not PLAIN.get():
        shapes = [(tuple(x.shape), x.dtype) for x in inputs]
        key = (shapes, net.training, torch.is_autocast_enabled("cuda"))
        own: dict[str, Any] = vars(net)  # kept by the network, so that both go together
        if "recording" not in own:
            own["recording"] = key, record(Recordable(net, call), inputs)
        known, graph = own["recording"]
        if key == known:
            return graph(*inputs)
    return call(net, *inputs) if call else net(*inputs)


def record(module: Recordable, inputs: tuple[Tensor, ...]) -> nn.Module:
    """The module with its forward and backward pass as graphs; its buffers stay as they are."""
    before = [buffer.clone() for buffer in module.buffers()]  # the rehearsals move batch statistics
    examples = tuple(x.detach().clone() for x in inputs)
    # gradients are added up in the stream that recorded; the engine waits for it, and would tell so
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    # backward passes run in a thread of torch's own: if its first call were one of cuBLAS, it would
    # warn that the thread has no context yet
    torch.ones((), device=examples[0].device, requires_grad=True).mul(1).backward()
    graph = torch.cuda.make_graphed_callables(module, examples)
    for buffer, old in zip(module.buffers(), before, strict=True):
        buffer.copy_(old)
    assert isinstance(graph, nn.Module)
    return graph
