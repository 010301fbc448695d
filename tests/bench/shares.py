"""Where the time of a training step and of drawing goes, by kind of operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from peers import Contender
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from augment.data.images import LabelledImages

KINDS = {  # the first that an operation's name holds
    "convolution": ("conv",),
    "matrix product": ("mm", "linear"),
    "norm": ("layer_norm", "layernorm", "group_norm", "groupnorm"),  # not aten::normal_
    "optimiser, average": ("adam", "optimizer", "lerp", "foreach"),
    "layout, conversion": ("copy", "contiguous", "clone", "cat"),
}
TIMES = 5


def kind_of(operation: str) -> str:
    """What an operation of the profiler is counted as."""
    name = operation.lower().removeprefix("aten::")
    for kind, parts in KINDS.items():
        if any(part in name for part in parts):
            return kind
    return "other operations"


def profiled(work: Callable[[], Any]) -> tuple[dict[str, float], float]:
    """Seconds of one call by kind of operation, and GFLOP of its convolutions (counted)."""
    work()
    with FlopCounterMode(display=False) as counter:
        work()
    counted = counter.get_flop_counts()["Global"]
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(TIMES):
            work()
    seconds: dict[str, float] = {}
    for event in seen.key_averages():
        kind = kind_of(event.key)
        seconds[kind] = seconds.get(kind, 0.0) + event.self_cpu_time_total / 1e6 / TIMES
    return seconds, sum(n for op, n in counted.items() if "conv" in str(op)) / 1e9


def shares(
    name: str, data: LabelledImages, policy: str, build: Contender, peak: Callable[[Any], float]
) -> Iterator[dict[str, Any]]:
    """Rows: the share of each kind, and what part of the peak the convolutions reach by themselves.

    That part is what training or drawing would reach if all else cost nothing.
    """
    ours: Any = build(data, policy, seed=0)
    labels: Tensor = torch.arange(256) % len(data.classes)
    highest = peak(torch.bfloat16 if ours.model.precision == "bf16" else torch.float32)
    for phase, work in (("training", ours.step), ("drawing", partial(ours.sample, labels, 10))):
        seconds, gflop = profiled(work)
        for kind, own in sorted(seconds.items(), key=lambda pair: -pair[1]):
            yield dict(
                figure="profile",
                dataset=name,
                contender=f"{phase}: {kind}",
                precision=ours.model.precision,
                share_of_time=own / sum(seconds.values()),
                share_of_peak=gflop / own / highest if kind == "convolution" else None,
            )
