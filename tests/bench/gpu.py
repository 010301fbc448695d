"""One GPU, this checkout beside an older one: `tests/bench/gpu.sh` says how to run it.

Rates are medians of interleaved repeats of two processes, one of each checkout; ratios are medians
of the ratios of neighbouring repeats. A run of minutes is timed once. What is written is complete
up to where the script was stopped.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gpu_worker
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ("speed", "equal", "runs")
Row = dict[str, Any]


class Checkout:
    """A process that measures one checkout when it is told to."""

    def __init__(self, root: Path, smoke: bool) -> None:
        self.environment = {**os.environ, "PYTHONPATH": str(root)}
        self.process = subprocess.Popen(
            [sys.executable, gpu_worker.__file__, *(["--smoke"] if smoke else [])],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, question: str) -> float:
        """Let the process measure one figure."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(question, file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            mark, _, answer = line.partition(" ")
            if mark == gpu_worker.MARK:
                return float(answer)
        raise SystemExit(f"the process that measures ended at: {question}")

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def speed(new: Checkout, base: Checkout, repeats: int) -> Iterator[Row]:
    """Rates of training and drawing, interleaved; the ddpm's also as a share of the peak."""
    flops, peaks, rates = new.ask("flops"), [], []
    for figure, unit in gpu_worker.RATES.items():
        pairs = [(base.ask(figure), new.ask(figure)) for _ in range(repeats)]
        for variant, values in zip(("base", "new"), zip(*pairs, strict=True), strict=True):
            yield row(figure, variant, unit, values)
        yield row(figure, "new / base", "ratio", [after / before for before, after in pairs])
        if figure == "ddpm":
            peaks = [new.ask("peak") for _ in range(repeats)]
            rates = [after for _, after in pairs]
    peak = statistics.median(peaks)
    yield row("convolution peak", "new", "TFLOP/s", [value / 1e12 for value in peaks])
    yield row("ddpm", "new", "share of the peak", [rate * flops / peak for rate in rates])


def equal(new: Checkout) -> Iterator[Row]:
    """Whether recorded steps are the unrecorded ones, and a resumed training an unbroken one."""
    for name in gpu_worker.LEARNERS:
        for question in ("recorded", "repeated", "resumed"):
            difference = new.ask(f"{question} {name}")
            yield row(name, question, "largest relative difference; 0: equal", [difference])


def runs(new: Checkout, base: Checkout, smoke: bool, data_dir: Path | None) -> Iterator[Row]:
    """Time one trial of both checkouts and six of this one, from the start of the command."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = "cifar10"
        if data_dir is None or not (data_dir / "cifar10.npz").is_file():
            dataset = str(gpu_worker.like_cifar10(Path(folder) / "like-cifar10.npz", smoke))
        command = [
            "run",
            "--dataset",
            dataset,
            "--frac",
            "0.05",
            "--generator",
            "ddpm",
            "--classic",
        ]
        command += ["natural", "--preset", "smoke" if smoke else "full"]
        if data_dir is not None:
            command += ["--data-dir", str(data_dir)]
        walls = []
        for variant, checkout, seeds in (("base", base, 1), ("new", new, 1), ("new", new, 6)):
            seeds = min(seeds, 2) if smoke else seeds
            out = f"{folder}/{len(walls)}"
            begun = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "augment", *command, "--seeds", str(seeds), "--out", out],
                env=checkout.environment,
                stdout=subprocess.DEVNULL,
                check=True,
            )
            walls.append(time.perf_counter() - begun)
            yield row(f"{seeds} trials of {Path(dataset).name}", variant, "seconds", walls[-1:])
        yield row("one trial", "new / base", "ratio", [walls[1] / walls[0]])
        yield row("all trials", "new / one trial", "ratio", [walls[2] / walls[1]])


def row(figure: str, variant: str, unit: str, values: Any) -> Row:
    """Sum up the repeats of a figure."""
    numbers = dict(median=statistics.median(values), least=min(values), most=max(values))
    return dict(figure=figure, variant=variant, unit=unit, **numbers, n=len(values))


def shorten(value: Any) -> Any:
    """Round a number for a line of the terminal."""
    return f"{value:.4g}" if isinstance(value, float) else value


def commit_of(root: Path) -> str:
    """Return the commit of a checkout, where git knows it."""
    command = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    """Measure the sections that are wanted; print and write each figure as it comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="a checkout of the older commit")
    parser.add_argument("--only", default=",".join(SECTIONS), help="speed, equal, runs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data-dir", type=Path, help="where cifar10.npz is; else one is made up")
    parser.add_argument("--out", type=Path, default=ROOT / "results/bench/gpu.csv")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, on a CPU too")
    options = parser.parse_args(arguments)
    where: Row = gpu_worker.hardware() | {
        "commit": commit_of(ROOT),
        "base": commit_of(options.base),
        "command": shlex.join([Path(__file__).name, *(arguments or sys.argv[1:])]),
    }
    new, base = Checkout(ROOT, options.smoke), Checkout(options.base, options.smoke)
    sections = {
        "speed": lambda: speed(new, base, options.repeats),
        "equal": lambda: equal(new),
        "runs": lambda: runs(new, base, options.smoke, options.data_dir),
    }
    rows: list[Row] = []
    try:
        for name in options.only.split(","):
            for figure in sections[name]():
                rows.append(figure | where)
                print(*map(shorten, figure.values()), sep="\t", flush=True)
                options.out.parent.mkdir(parents=True, exist_ok=True)
                pd.DataFrame(rows).to_csv(options.out, index=False)
    finally:
        new.close()
        base.close()
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
