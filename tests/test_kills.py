"""A run that is killed sixty times, wherever it happens to be, ends as if it had not been.

Thirty and more kills each in two tests, which two processes can share.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from conftest import FIVE_ARMS
from test_engine import values

from augment.engine.status import read_status
from augment.experiment.results_table import read_results
from augment.storage.artifacts import find_damage

SETTINGS = dict(
    dataset="digits",
    per_class=3,
    generator="cvae",
    preset="smoke",
    seeds=3,
    arm=FIVE_ARMS,
    ratio=2,
    set={"generator": {"steps": 40}, "classifier": {"steps": 25, "batch": 16, "width": 8}},
)
CELLS = 3 * len(FIVE_ARMS)
# by stage: kills at least, how likely one is at each of its steps, how many seconds later at most
HAZARD = {
    "begun": (1, 0.5, 0.1),
    "generator": (9, 0.06, 0.05),
    "synthetic": (2, 0.6, 0.02),
    "quality": (4, 0.5, 0.3),
    "score": (10, 0.03, 0.05),
    "cell": (3, 0.1, 0.01),
    "outputs": (3, 0.9, 0.5),
}
RUNS = 20  # each takes what kills it can; a kill may land a stage later than it was meant for
TIMED = {
    "results.csv",
    "environment.json",
    "status.json",
    "about.json",
    "seal.json",
    "report.html",
}  # these say when or for how long


def attempt(launcher, out, left, chance):
    """One try of the run: None if it came to its end, else the stage in which it was killed.

    `left`: how many kills each stage has yet to take.
    """
    launcher.stdin.write(f"{out}\n")
    launcher.stdin.flush()
    child, stage, killed = int(launcher.stdout.readline()), "start", False
    for line in launcher.stdout:
        said, number = line.split()
        if said == "end":
            assert int(number) in ((0, -signal.SIGKILL) if killed else (0,))
            return stage if int(number) else None  # one that ended before its kill was not killed
        stage = "outputs" if line == f"cell {CELLS}\n" else said
        _, likely, seconds = HAZARD[stage]
        if left[stage] > 0 and not killed and chance.random() < likely:
            time.sleep(seconds * chance.random())
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)  # what it did meanwhile is still in the pipe
            killed = True
    raise AssertionError("the launcher ended")


def check_halves(out):
    """What has its final name is whole, no cell has two rows, and none is said to run."""
    for artefact in out.glob("artefacts/*/*"):
        assert "." in artefact.name or find_damage(artefact) is None
    if (out / "results.csv").exists():
        table = read_results(out / "results.csv")
        assert table["signature"].is_unique
        assert len(table) <= CELLS
    if (out / "status.json").exists():
        assert read_status(out)["state"] in ("stopped", "finished")


def lasting(out):
    """Every file that does not tell the time: weights, pictures, predictions, tables, plots."""
    files = [p for p in out.rglob("*") if p.is_file() and p.name not in TIMED]
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_sixty_kills_leave_no_trace(tmp_path, seed):
    script = Path(__file__).parent / "faults" / "forked.py"
    chance, killed, runs = random.Random(seed), Counter(), []
    left = Counter({stage: kills for stage, (kills, *_) in HAZARD.items()})
    with subprocess.Popen(
        [sys.executable, script, json.dumps(SETTINGS)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as launcher:
        assert attempt(launcher, tmp_path / "whole", Counter(), chance) is None
        while max(left.values()) > 0 and len(runs) < RUNS:
            runs.append(tmp_path / f"killed-{len(runs)}")
            while stage := attempt(launcher, runs[-1], left, chance):
                killed[stage] += 1
                left[stage] -= 1
                check_halves(runs[-1])
        launcher.stdin.close()
    print(f"{killed.total()} kills over {len(runs)} runs: {dict(killed)}")
    assert killed.total() >= 30
    assert all(killed[stage] >= kills for stage, (kills, *_) in HAZARD.items())
    wanted = lasting(tmp_path / "whole")
    assert sum(name.endswith(".png") for name in wanted) > 10
    halves = 2 * 3  # judges, two a trial
    assert sum(name.endswith("weights.safetensors") for name in wanted) == 3 + CELLS + halves
    for out in runs:
        pd.testing.assert_frame_equal(values(tmp_path / "whole"), values(out))
        found = lasting(out)
        assert found.keys() == wanted.keys()
        assert [name for name in wanted if found[name] != wanted[name]] == []
