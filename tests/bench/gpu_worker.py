"""What `gpu.py` measures, in a process of its own for each checkout: a line asks, a line answers.

It uses what both checkouts have.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augment.classifiers import CLASSIFIERS
from augment.data.images import LabelledImages
from augment.experiment.arms import generator_set, training_set
from augment.experiment.hyperparameters import hyperparameters
from augment.generators import GENERATORS
from augment.training.loop import train
from augment.training.precision import pick_precision
from augment.training.serialization import finite_state, full_state, load_full_state

MARK = "measured:"  # before an answer: libraries print too
RATES = {
    "airbench": "steps/s at batch 64",
    "resnet": "steps/s at batch 64",
    "ddpm": "images/s",
    "drawing": "images/s",
}
LEARNERS = ("airbench", "resnet", "ddpm", "cgan", "cvae", "mix")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Sizes:
    """How much is measured."""

    def __init__(self, smoke: bool) -> None:
        self.preset = "smoke" if smoke else "full"
        self.steps = 3 if smoke else 200  # timed at a time
        self.compared = 8 if smoke else 50  # steps of trainings that are compared
        self.drawn = 8 if smoke else 2048
        self.side = 8 if smoke else 32
        self.per_class = 4 if smoke else 250


def images_of(sizes: Sizes) -> LabelledImages:
    """Make noise of ten classes: what a step costs does not depend on its pixels."""
    rng, n = torch.Generator().manual_seed(0), 10 * sizes.per_class
    images = torch.randint(0, 256, (n, 3, sizes.side, sizes.side), generator=rng)
    classes = tuple(map(str, range(10)))
    return LabelledImages(images.to(torch.uint8), torch.arange(n) % 10, classes)


def begin(name: str, sizes: Sizes, steps: int, state: Any = None, start: int = 0) -> Any:
    """Return a learner of a preset, its training from a step on, and its data."""
    registry: dict[str, Any] = CLASSIFIERS if name in CLASSIFIERS else GENERATORS
    settings = hyperparameters(registry, name, sizes.preset, {}) | {"steps": steps}
    if "epochs" in settings:
        settings["epochs"] = 0  # it would raise the steps
    learner, data = registry[name](**settings), images_of(sizes)
    learnt = (
        training_set("real+classic", data, None, "natural", 0.0)
        if registry is CLASSIFIERS
        else generator_set(data, "natural", learner.transformed)
    )
    precision = pick_precision("auto", DEVICE, sizes.side)
    learner.prepare(learnt.parts[0], seed=0, device=DEVICE, precision=precision)
    if state is not None:
        load_full_state(learner, state)
    return learner, train(learner, learnt, seed=0, device=DEVICE, start=start), learnt


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that some work takes, the GPU's included."""
    synchronise()
    begun = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - begun


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def rate_of(name: str, sizes: Sizes) -> Callable[[], float]:
    """Make a function that measures one of RATES; it is warm when it is returned."""
    learner, steps, _ = begin("ddpm" if name == "drawing" else name, sizes, 20_000)
    if name == "drawing":
        labels, seeds = torch.arange(sizes.drawn) % 10, torch.arange(sizes.drawn)
        learner.sample(labels[:512], seeds=seeds[:512])
        return lambda: sizes.drawn / timed(lambda: learner.sample(labels, seeds=seeds))
    each = learner.batch if name == "ddpm" else 1

    def advance(n: int) -> None:
        for _ in range(n):
            next(steps)

    advance(8)  # the recordings
    return lambda: each * sizes.steps / timed(lambda: advance(sizes.steps))


def flops(sizes: Sizes) -> float:
    """Count the floating-point operations of the ddpm's step, an image; a multiply-add is two."""
    from torch.utils.flop_counter import FlopCounterMode

    learner, _, _ = begin("ddpm", sizes, 10)
    images = torch.zeros(learner.batch, 3, sizes.side, sizes.side, device=DEVICE)
    labels = torch.zeros(learner.batch, dtype=torch.int64, device=DEVICE)
    with FlopCounterMode(display=False) as counter:
        learner.update(images, labels, step=0, rng=torch.Generator(DEVICE))
    return counter.get_total_flops() / learner.batch


def convolution_peak(sizes: Sizes) -> float:
    """Measure the fastest of some convolutions in bf16, in operations a second."""
    n, times = (2, 1) if sizes.preset == "smoke" else (512, 20)

    def convolve(x: torch.Tensor, weight: torch.Tensor) -> None:
        for _ in range(times):
            torch.conv2d(x, weight, padding=1)

    rates = []
    for channels, side in ((128, 16), (256, 8), (256, 16), (512, 16)):
        shapes = (n, channels, side, side), (channels, channels, 3, 3)
        x, weight = (torch.randn(shape, device=DEVICE, dtype=torch.bfloat16) for shape in shapes)
        x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
        convolve(x, weight)
        operations = 2 * times * n * (side * channels * 3) ** 2
        rates.append(operations / timed(partial(convolve, x, weight)))
    return max(rates)


def difference(name: str, question: str, sizes: Sizes) -> float:
    """Compare two trainings, as the largest relative difference of a tensor; 0: to the bit."""
    from augment.training import cuda_graphs

    n, usual = sizes.compared, cuda_graphs.UNRECORDED
    expected = state_after(name, sizes, n)
    if question == "resumed":
        found = state_after(name, sizes, n, state_after(name, sizes, n, stop=n // 2), n // 2)
    else:
        cuda_graphs.UNRECORDED = n + 1 if question == "recorded" else usual
        found = state_after(name, sizes, n)
        cuda_graphs.UNRECORDED = usual
    pairs = [(found[key].double(), value.double()) for key, value in expected.items()]
    return max(float((a - b).norm() / b.norm().clamp(min=1e-12)) for a, b in pairs)


def state_after(
    name: str, sizes: Sizes, steps: int, state: Any = None, start: int = 0, stop: int = 0
) -> dict[str, torch.Tensor]:
    """Train a learner, or go on from a state, and return its state."""
    learner, training, _ = begin(name, sizes, steps, state, start)
    for step, _ in training:
        if step == stop:
            return finite_state(learner, step)
    return full_state(learner)


def like_cifar10(path: Path, smoke: bool) -> Path:
    """Write noise in the shapes of CIFAR-10."""
    rng, side = np.random.default_rng(0), 8 if smoke else 32
    arrays = {}
    for part, n in (
        (("train", 2000), ("test", 200)) if smoke else (("train", 50_000), ("test", 10_000))
    ):
        arrays[f"{part}_images"] = rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(n) % 10
    np.savez(path, **arrays)
    return path


def hardware() -> dict[str, str]:
    """Name what the figures were measured on, and when."""
    cuda = DEVICE.type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "python": sys.version.split()[0],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def main() -> None:
    """Answer the questions of standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true")
    sizes = Sizes(parser.parse_args().smoke)
    rates: dict[str, Callable[[], float]] = {}
    for line in sys.stdin:
        name, _, learner = line.strip().partition(" ")
        if name in RATES:
            if name not in rates:
                rates[name] = rate_of(name, sizes)
            answer = rates[name]()
        elif name in ("flops", "peak"):
            answer = flops(sizes) if name == "flops" else convolution_peak(sizes)
        else:
            answer = difference(learner, name, sizes)
        print(MARK, answer, flush=True)


if __name__ == "__main__":
    main()
