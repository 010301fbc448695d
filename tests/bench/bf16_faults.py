"""Look for kernels that are wrong on this processor: bf16, channels-last, each instruction set.

Example: python tests/bench/bf16_faults.py --out results/bench

Three searches, each in a process of its own for every instruction set that oneDNN can be held to:
layers that the registries' learners have at sides from 5 to 64 and batches from 1 to 64, random
convolutions, and every other operator of an update on the very operands that it meets there. Each
is compared with float64 on the same operands, slice by slice (`probe.worst_slice`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from augment import __version__
from augment.classifiers import CLASSIFIERS
from augment.data.images import LabelledImages
from augment.experiment.hyperparameters import hyperparameters
from augment.generators import GENERATORS
from augment.runtime.machine import processor_name
from augment.training.bf16_guard import described
from augment.training.bf16_probe import (
    CONVOLUTIONS,
    OUTPUTS,
    TOLERANCE,
    Call,
    Layout,
    layout_of,
    operand,
    poisoned_memory,
    recorded_update,
    worst_slice,
)
from augment.training.precision import cpu_features

ISAS = ("DEFAULT", "AVX512_CORE_BF16", "AVX512_CORE", "AVX2")
SHAPES = [(5, 5), (8, 8), (28, 28), (64, 64), (64, 5), (9, 40), (64, 16)]  # height, width
UNTRIED = (
    "duplicate",
    "noise",
    "pretrained",
    "finetune",
)  # controls, and networks of the user's own
RANDOM = 1000  # convolutions, forward and backward
EXACT = 1e-3  # relative L2 error of a slice in fp32; rounding makes 1e-6
CPU = torch.device("cpu")
# projections of fewer channels are left out: under AVX2 one ended the process (blocks.Projection)
FEW_CHANNELS = 8


def learners() -> Iterator[tuple[str, Any, LabelledImages, int]]:
    """(name, learner, its data, images of a batch) over registries, presets, shapes, batches."""
    rows, presets = itertools.cycle((2, 8, 32)), itertools.cycle(("smoke", "smoke", "quick"))
    entries = [(GENERATORS, n) for n in GENERATORS] + [(CLASSIFIERS, n) for n in CLASSIFIERS]
    for number, (height, width) in enumerate(SHAPES):
        for registry, name in entries:
            preset, few = next(presets), next(rows)
            if name in UNTRIED or (name == "airbench" and min(height, width) < 9):
                continue
            settings = hyperparameters(registry, name, preset, {})
            wanted = {"labelling": "per-class", "side": 32, "batch": few}
            settings |= {k: v for k, v in wanted.items() if k in settings}
            images = torch.randint(0, 256, (32, 1 + 2 * (number % 2), height, width))
            data = LabelledImages(images.to(torch.uint8), torch.arange(32) // 2 % 2, ("a", "b"))
            yield f"{name} ({preset})", registry[name](**settings), data, few


def random_convolutions(count: int) -> Iterator[Call]:
    """Forward and backward calls of convolutions of small maps."""
    pick = random.Random(0).choice
    while count > 0:
        batch, inside, out = pick((1, 2, 8, 64)), pick((1, 3, 4, 8, 17, 64)), pick((1, 5, 16, 64))
        height, width = pick((1, 2, 3, 5, 9, 16)), pick((1, 1, 2, 3, 4, 7, 16))
        kernel, stride, padding = pick((1, 2, 3, 4, 5, 7)), pick((1, 2, 3, 4)), pick((0, 1, 2, 3))
        transposed, last = pick((False, False, True)), pick((True, True, False))
        ways = [(n - 1) * stride - 2 * padding + kernel for n in (height, width)]
        if not transposed:
            ways = [(n + 2 * padding - kernel) // stride + 1 for n in (height, width)]
        if padding >= kernel or min(ways) < 1 or fragile(inside, out, kernel, stride):
            continue

        def layout(*shape: int, last: bool = last) -> Layout:
            like = torch.empty(shape, device="meta")
            like = like.to(memory_format=torch.channels_last) if last else like
            return Layout(shape, like.stride(), torch.bfloat16)

        image, result = layout(batch, inside, height, width), layout(batch, out, *ways)
        weight = layout(*((inside, out) if transposed else (out, inside)), kernel, kernel)
        how = ((stride,) * 2, (padding,) * 2, (1, 1), transposed, (0, 0), 1)
        yield Call(CONVOLUTIONS[0], (image, weight, None, *how))
        yield Call(CONVOLUTIONS[1], (result, image, weight, (out,), *how, (True, True, True)))
        count -= 1


def fragile(inside: int, out: int, kernel: int, stride: int) -> bool:
    """Whether such a convolution could end the process."""
    return kernel == 1 and stride > 1 and min(inside, out) < FEW_CHANNELS


def faults_of(call: Call) -> Iterator[tuple[str, str]]:
    """(arithmetic and layout, output) of what differs from float64 beyond rounding."""
    rng = torch.Generator().manual_seed(0)
    operands = [operand(argument, rng) for argument in call.arguments]
    wide = outcome(call, [v.double() if isinstance(v, Tensor) else v for v in operands])
    single = [v.float() if isinstance(v, Tensor) else v for v in operands]
    plain = [v.contiguous() if isinstance(v, Tensor) else v for v in single]
    for way, given, limit in (
        ("bf16", operands, TOLERANCE),
        ("fp32", single, EXACT),
        ("fp32 contiguous", plain, EXACT),
    ):
        with poisoned_memory():
            found = outcome(call, given)
        for name, ours, exact in zip(OUTPUTS[call.operator], found, wide, strict=True):
            if ours is not None and not worst_slice(ours.double(), exact) <= limit:
                yield way, name


def outcome(call: Call, operands: list[Any]) -> tuple[Any, ...]:
    """All outputs."""
    with torch.no_grad():
        found = call.operator(*operands)
    return tuple_of(found)


class OtherOperators(TorchDispatchMode):
    """Compares each other operator in bf16 with fp32 on its own operands as it runs."""

    def __init__(self, seen: set[Any], faults: Counter[str]) -> None:
        super().__init__()
        self.seen, self.faults = seen, faults

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        key = (func, repr([layout_of(a) for a in args]))
        bf16 = any(isinstance(a, Tensor) and a.dtype == torch.bfloat16 for a in args)
        new = bf16 and key not in self.seen and func not in OUTPUTS and pure(func)
        given = [a.clone() if new and isinstance(a, Tensor) else a for a in args]
        output = func(*args, **kwargs)
        if new:
            self.seen.add(key)
            wide = [
                a.float() if isinstance(a, Tensor) and a.dtype == torch.bfloat16 else a
                for a in given
            ]
            exact = func(*wide, **kwargs)
            self.faults[str(func)] += not all(map(near, tuple_of(output), tuple_of(exact)))
        return output


def tuple_of(output: Any) -> tuple[Any, ...]:
    """The outputs of an operator that returns one or several."""
    return tuple(output) if isinstance(output, (tuple, list)) else (output,)


def near(ours: Any, theirs: Any) -> bool:
    """Whether two outputs are equal but for rounding; those that are no numbers are."""
    if not isinstance(ours, Tensor) or not ours.is_floating_point() or not ours.numel():
        return True
    return worst_slice(ours.float(), theirs.float()) <= TOLERANCE


def pure(func: Any) -> bool:
    """Whether an operator writes into no operand, draws nothing, makes no view and no dtype."""
    named = func._schema.name
    unfit = (
        "_to_copy",
        "empty",
        "bernoulli",
        "dropout",
        "randn",
        "new_zeros",
        "full_like",
        "alias",
    )
    aliases = any(a.alias_info for a in (*func._schema.arguments, *func._schema.returns))
    return not aliases and not any(word in named for word in unfit)


def search(isa: str) -> dict[str, Any]:
    """All that is tried under one instruction set: counts, and what was found."""
    torch.set_num_threads(1)
    begun, calls, seen = time.process_time(), dict[Call, str](), set[Any]()
    others, found, examples = Counter[str](), Counter[str](), dict[str, str]()
    for name, learner, data, rows in learners():
        learner.prepare(data, seed=0, device=CPU, precision="bf16")
        with OtherOperators(seen, others):
            recorder = recorded_update(learner, data, rows)
        for call in recorder.calls:
            calls.setdefault(call, name)
    print(isa, len(calls), "layers", file=sys.stderr, flush=True)
    laid = len(calls)
    for call in random_convolutions(RANDOM):
        calls.setdefault(call, "random")
    for call, name in calls.items():
        for way, output in faults_of(call):
            kind = f"{way}, {output}, {'random' if name == 'random' else 'registries'}"
            found[kind] += 1
            examples.setdefault(kind, f"{name}: {described(call)}")
    return {
        "isa": isa,
        "layers": laid,
        "random": len(calls) - laid,
        "operators": len(seen),
        "found": dict(found),
        "examples": examples,
        "others": {name: count for name, count in others.items() if count},
        "seconds": time.process_time() - begun,
    }


def table(results: list[dict[str, Any]]) -> str:
    """The record as Markdown."""
    lines = [
        "# Kernels that are wrong on a CPU",
        "",
        f"{processor_name()}, {os.cpu_count()} cores, fast bf16 units: "
        f"{', '.join(sorted(cpu_features())) or 'none'}; torch {torch.__version__}, augment "
        f"{__version__}; one thread; `python tests/bench/bf16_faults.py`. The sets below "
        "the processor's own are oneDNN's, by ONEDNN_MAX_CPU_ISA. AMX is not tried where it is "
        "missing above.",
        "",
        f"Tried: {len(SHAPES)} sizes from 5 to 64 pixels a side, batches of 2, 8 and 32, presets "
        f"smoke and quick, every registry entry that trains; {RANDOM} random convolutions with "
        "batches of 1 to 64, forward and backward; each other operator on the operands of those "
        f"updates. Wrong: a slice is off from float64 (other operators: fp32) by {TOLERANCE:g} of "
        f"its RMS in bf16, by {EXACT:g} in fp32, with new memory poisoned.",
        "",
        "| instruction set | distinct layers | random | other operators | found | CPU seconds |",
        "|:---|---:|---:|---:|:---|---:|",
    ]
    for own in results:
        found = [f"{kind}: {count}" for kind, count in sorted(own["found"].items())]
        found += [f"{name}: {count}" for name, count in sorted(own["others"].items())]
        cells = (own["isa"], own["layers"], own["random"], own["operators"])
        said = "; ".join(found) or "nothing"
        lines.append(f"| {' | '.join(map(str, cells))} | {said} | {own['seconds']:.0f} |")
    lines += ["", "The first of each kind:", ""]
    for own in results:
        lines += [f"- {own['isa']}, {kind}: {one}" for kind, one in own["examples"].items()]
    if any("batch_norm_backward" in name for own in results for name in own["others"]):
        lines += [
            "",
            "Batch norm of two values (a batch of 2 on maps of one pixel) takes the difference of "
            "nearly equal numbers: that is rounding, not a wrong kernel.",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Each instruction set in a process of its own; the table into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    parser.add_argument("--one", help="instruction set of this process; prints JSON")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(search(asked.one)))
        return
    results = []
    for isa in ISAS:
        environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": isa}
        done = subprocess.run(
            [sys.executable, __file__, "--one", isa],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        results.append(json.loads(done.stdout))
        print(results[-1], file=sys.stderr, flush=True)
    (asked.out / "bf16_faults.md").write_text(table(results), encoding="utf-8")


if __name__ == "__main__":
    main()
