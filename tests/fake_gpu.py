"""A GPU that computes nothing: shapes and devices of tensors alone (torch's FakeTensorMode).

What would wait for a GPU raises here, without one: the value of a tensor, a shape that depends on
values, a copy between the CPU and the GPU.
"""

import copy

import torch
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
DEVICE = torch.device("cuda:0")


class FakeGenerator(torch.Generator):
    """Says that it draws on the GPU; nothing is drawn."""

    @property
    def device(self):
        return DEVICE


class Guard(TorchDispatchMode):
    """Refuses copies between devices, which FakeTensorMode carries out; steps no optimiser."""

    def __init__(self, active=True):
        super().__init__()
        self.active = active

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name.startswith("aten::_fused_"):  # torch knows no shapes of these
            rate = kwargs["lr"]
            assert not isinstance(rate, torch.Tensor) or rate.device == DEVICE
            return None
        output = func(*args, **(kwargs or {}))
        if self.active and func._overloadpacket in (aten._to_copy, aten.copy_):
            devices = {x.device for x in (*args, output) if isinstance(x, torch.Tensor)}
            assert len(devices) == 1, f"{func} copies between {devices}"
        return output


def fake_gpu():
    """Make a mode in which tensors on the GPU can be made and computed with."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def on_gpu(mode, tensor):
    """A tensor of this shape on the fake GPU."""
    fake = FakeTensor(mode, tensor.detach().to("meta"), DEVICE)
    parameter = isinstance(tensor, torch.nn.Parameter)
    return torch.nn.Parameter(fake, tensor.requires_grad) if parameter else fake


def move(mode, learner):
    """A copy of a learner that was prepared on the CPU, on the fake GPU."""
    memo = {id(tensor): on_gpu(mode, tensor) for tensor in tensors_of(learner)}
    moved = copy.deepcopy(learner, memo)
    for part in parts_of(moved):
        part.device = DEVICE
    return moved


def parts_of(learner):
    """The learner and the learners in it."""
    yield learner
    for value in vars(learner).values():
        if isinstance(getattr(value, "modules", None), dict):
            yield from parts_of(value)


def tensors_of(learner):
    """All tensors of a learner."""
    for part in parts_of(learner):
        for module in part.modules.values():
            yield from module.parameters()
            yield from module.buffers()
        yield from (value for value in vars(part).values() if isinstance(value, torch.Tensor))
