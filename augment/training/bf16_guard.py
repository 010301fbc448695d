"""Guard against wrong bf16 arithmetic: each kind of layer of a learner is compared with fp32.

Two faults are known, both of oneDNN's bf16 convolutions in torch 2.11 to 2.15 on a CPU: entries of
the weight gradient that are never written (AVX-512) and wrong rows of the output (AMX). Both turn
up on small, narrow maps alone, so whether a learner meets one depends on the user's images. One
update of a copy of the learner shows which convolutions and matrix products it consists of; each is
then run once on random operands in bf16 and in fp32.
"""

from __future__ import annotations

import dataclasses
import os
from typing import NamedTuple

import torch

from augment.data.boxed_images import AnyImages
from augment.runtime.machine import processor_name
from augment.training.bf16_probe import (
    CONVOLUTIONS,
    OUTPUTS,
    Call,
    Convolution,
    Layout,
    calls_of,
    convolution_of,
    wrong_output,
)
from augment.training.learner import Learner
from augment.training.precision import cpu_features, pick_precision

WIDE_ISAS = ("AVX512", "AVX10")  # the beginnings of instruction sets with registers of 512 bits


class Fault(NamedTuple):
    """A call and that of its outputs which is wrong in bf16."""

    call: Call
    output: str


def safe_precision(
    learner: Learner, data: AnyImages, precision: str, device: torch.device
) -> tuple[str, str]:
    """Resolve the precision of a learner for images like `data`: fp32 or bf16, and a warning.

    The warning is a sentence where bf16 was wanted and would give wrong numbers on this CPU, else
    empty. `learner` may be prepared or not and stays as it is; GPUs are not tried.
    """
    picked = pick_precision(precision, device, max(data.shape[1:]))
    if picked == "fp32" or device.type != "cpu":
        return picked, ""
    key = probe_key(learner, data)
    if key not in VERDICTS:
        VERDICTS[key] = first_fault(learner, data)
    fault = VERDICTS[key]
    return (picked, "") if fault is None else ("fp32", sentence(learner, fault))


VERDICTS: dict[tuple[str, ...], Fault | None] = {}  # of this process


def probe_key(learner: Learner, data: AnyImages) -> tuple[str, ...]:
    """What a verdict on bf16 depends on: processor, torch, threads, settings, shapes."""
    return (
        processor_name(),
        ",".join(sorted(cpu_features())),
        torch.__version__,
        isa_limit(),
        f"oneDNN {torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled}",
        f"{torch.get_num_threads()} threads",
        f"{type(learner).__qualname__} {trained_settings(learner)}",
        f"{data.shape}, {len(data.classes)} classes",
    )


def trained_settings(learner: Learner) -> str:
    """A learner's settings without those that matter in drawing alone."""
    if not dataclasses.is_dataclass(learner):
        return repr(learner)
    drawing = getattr(learner, "sampling", ())
    names = [f.name for f in dataclasses.fields(learner) if f.init and f.name not in drawing]
    return repr({name: getattr(learner, name) for name in names})


def first_fault(learner: Learner, data: AnyImages) -> Fault | None:
    """The first layer of a learner that is known or found to be wrong in bf16."""
    for call in calls_of(learner, data):
        if known := known_fault(call):
            return Fault(call, known)
        if found := wrong_output(call):
            return Fault(call, found)
    return None


def sentence(learner: Learner, fault: Fault) -> str:
    """What is done, why, and in which layer; no times and no measured figures."""
    return (
        f"{type(learner).__name__} runs in fp32, not bf16: torch {torch.__version__} on this "
        f"processor ({processor_name()}) computes a wrong {fault.output} in bf16 for "
        f"{described(fault.call)}"
    )


def described(call: Call) -> str:
    """A layer in words."""
    if call.operator not in CONVOLUTIONS:
        tensors = [a for a in call.arguments if isinstance(a, Layout)]
        return "a product of " + " and ".join(sides(t.shape) for t in tensors[-2:])
    layer = convolution_of(call)
    return (
        f"a {'transposed ' * layer.transposed}convolution of {sides(layer.kernel)}, stride "
        f"{sides(layer.stride)}, from {layer.channels[0]} to {layer.channels[1]} channels, between "
        f"maps of {sides(layer.wide)} and {sides(layer.narrow)} (height × width)"
    )


def sides(numbers: tuple[int, ...]) -> str:
    """Height × width."""
    return "×".join(map(str, numbers))


def isa_limit() -> str:
    """The instruction set that the user holds oneDNN to; empty: none."""
    named = (os.environ.get(f"{prefix}_MAX_CPU_ISA", "") for prefix in ("ONEDNN", "DNNL"))
    limit = next(filter(None, named), "").upper()
    return "" if limit in ("ALL", "DEFAULT") else limit


def known_fault(call: Call) -> str:
    """Name the output of a convolution that this processor's units are known to get wrong.

    It stands beside the measurement: the fault of AMX depends on channels and batch, which differ
    between training and drawing, and an entry that is never written can be right by luck.
    """
    if call.operator not in CONVOLUTIONS or not torch.backends.mkldnn.enabled:
        return ""
    layer, limit = convolution_of(call), isa_limit()
    if len(layer.kernel) != 2:
        return ""
    backward = call.operator is CONVOLUTIONS[1]
    if backward == layer.transposed and "amx" in cpu_features() and "AMX" in (limit or "AMX"):
        # one column from several of a wider map, and more than one row: all but the first are wrong
        height, width = layer.narrow
        if width == 1 < height and layer.stride[1] > 1 and max(layer.kernel) > 2:
            return OUTPUTS[call.operator][0]
    wide_units = torch.cpu._is_avx512_supported() and (limit or "AVX512").startswith(WIDE_ISAS)
    return "weight gradient" if backward and wide_units and unwritten_tap(layer) else ""


def unwritten_tap(layer: Convolution) -> bool:
    """Whether the map is narrower than the stride, and a tap meets its padding alone.

    As measured on Zen 5 with torch 2.15 over 10,000 geometries: one output column, more than one
    channel on the side strided over, at most half of the kernel's width as padding.
    """
    width, stride, kernel = layer.wide[1], layer.stride[1], layer.kernel[1]
    start = -layer.padding[1]
    padded = any(not 0 <= start + tap < width for tap in range(kernel))
    one_column = layer.narrow[1] == 1 and width < stride
    return one_column and padded and -2 * start <= kernel and layer.channels[layer.transposed] > 1
