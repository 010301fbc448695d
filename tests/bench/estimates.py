"""How far `--dry-run` is from the wall time of the run that it tells of."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ONE = ("--seeds", "1")
RUNS = {  # what is run, each as its own process from the command line
    "digits, ddpm, three trials": (),
    "digits, cgan and cvae, one trial": ("--generator", "cgan,cvae", *ONE),
    "mnist, ddpm, one trial": ("--dataset", "mnist", *ONE),
    "mnist, cvae, one trial": ("--dataset", "mnist", "--generator", "cvae", *ONE),
    "cifar10 1 %, ddpm, two arms": (
        "--dataset",
        "cifar10",
        "--frac",
        "0.01",
        "--arm",
        "real,real+synth",
        *ONE,
    ),
}


def estimates(data_dir: Path | None) -> Iterator[dict[str, Any]]:
    """Rows: estimated and measured seconds of each run, and the first over the second."""
    where = ("--data-dir", str(data_dir)) if data_dir else ()
    for name, words in RUNS.items():
        command = [sys.executable, "-m", "augment", "run", *words, *where, "--json"]
        told = subprocess.run([*command, "--dry-run"], check=True, capture_output=True, text=True)
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            subprocess.run([*command, "--out", f"{folder}/run"], check=True, capture_output=True)
            spent = time.perf_counter() - begun
        estimated = json.loads(told.stdout)["estimated_seconds"]
        yield dict(
            figure="estimate",
            dataset=name.partition(",")[0].split()[0],
            contender=name,
            estimated_seconds=estimated,
            seconds=spent,
            ratio=estimated / spent,
        )
