"""Whole runs of this tree beside those of another checkout, in turn, idle and beside other work.

    git worktree add ../base c7a1d7e
    python tests/bench/jobs.py --base ../base --pictures FOLDER

Writes jobs.csv and jobs.md into results/bench: wall seconds, and the largest memory of a process.
Both trees run in the environment of this script. `--busy` keeps one core at work besides.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from augment.runtime.device import pick_device
from augment.runtime.machine import environment

ROOT = Path(__file__).resolve().parents[2]
LARGE = "--per-class 20 --size 64 --seeds 1"
JOBS = {  # flags of `augment run`; {pictures} is the folder given
    "digits, three trials": "",
    "digits, smoke": "--preset smoke",
    "64 px, 20 a class, one trial": "--dataset {pictures} " + LARGE,
    "64 px, 20 a class, smoke": "--dataset {pictures} --preset smoke " + LARGE,
}


def main() -> None:
    """Time each job in both trees and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="checkout to compare with")
    parser.add_argument("--pictures", type=Path, help="folder of images, one folder a class")
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=JOBS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--busy", action="store_true", help="beside one busy process")
    parser.add_argument("--out", type=Path, default=ROOT / "results/bench/jobs")
    asked = parser.parse_args()
    rows = []
    for job in asked.jobs:
        flags = JOBS[job].format(pictures=asked.pictures).split()
        for repeat in range(asked.repeats):
            for tree, root in (("base", asked.base.resolve()), ("this", ROOT)):
                with other_work(asked.busy):
                    row = dict(job=job, busy=asked.busy, tree=tree, repeat=repeat)
                    rows.append(row | timed_run(root, flags))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    if asked.out.with_suffix(".csv").exists():  # idle and busy are two calls
        before = pd.read_csv(asked.out.with_suffix(".csv"))
        again = before["busy"].eq(asked.busy) & before["job"].isin(asked.jobs)
        table = pd.concat([before[~again], table])
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(asked.out.with_suffix(".csv"), index=False)
    asked.out.with_suffix(".md").write_text(report(table))


@contextlib.contextmanager
def other_work(busy: bool) -> Iterator[None]:
    """Keep one core at work inside the block."""
    worker = multiprocessing.Process(target=spin, daemon=True)
    if busy:
        worker.start()
    yield
    if busy:
        worker.kill()


def spin() -> None:
    """Never stop."""
    while True:
        pass


def timed_run(root: Path, flags: list[str]) -> dict[str, Any]:
    """Run the command of a tree to its end in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "augment", "run", *flags, "--out", f"{folder}/run", "-q"]
        start = time.perf_counter()
        child = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        assert status == 0, f"{command} ended with {status}"
        table = pd.read_csv(f"{folder}/run/results.csv")
    return dict(
        wall_seconds=wall,
        memory_mb=max(table["peak_memory_mb"].max(), used.ru_maxrss / 1000),
        accuracy=table["accuracy"].mean(),
        rows=len(table),
    )


def report(table: pd.DataFrame) -> str:
    """Medians of both trees and the ratio of their walls, pair by pair."""
    lines = []
    for (job, busy), part in table.groupby(["job", "busy"], sort=False):
        by_tree = part.pivot(index="repeat", columns="tree", values=["wall_seconds", "memory_mb"])
        ratio = by_tree["wall_seconds"]["this"] / by_tree["wall_seconds"]["base"]
        medians = by_tree.median()
        lines.append(
            {
                "job": job,
                "beside": "one busy process" if busy else "nothing",
                "n": len(ratio),
                "base, s": round(medians["wall_seconds", "base"], 1),
                "this, s": round(medians["wall_seconds", "this"], 1),
                "ratio": f"{ratio.median():.2f} ({ratio.min():.2f} … {ratio.max():.2f})",
                "base, MB": round(medians["memory_mb", "base"]),
                "this, MB": round(medians["memory_mb", "this"]),
            }
        )
    machine = environment(pick_device("cpu"))
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    return (
        "# Whole runs\n\nThis tree beside another checkout, in turn; "
        f"medians, ratio pair by pair (least … largest). {machine['processor']}, "
        f"{machine['cores']} cores, {versions}. Made by `tests/bench/jobs.py`.\n\n"
        f"{pd.DataFrame(lines).to_markdown(index=False)}\n"
    )


if __name__ == "__main__":
    main()
