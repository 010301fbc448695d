"""Cases 15, 16, 17, 20, 21, 24, 26, 27, 30, 34, 35 of the faults: machine, disk, signals."""

import os
import signal
import time

import pytest
from blackbox import augment, fine, finished, rows, start, workers

SLOWER = ["--per-class", "3", "--preset", "smoke", "--arm", "real,real+classic",
          "--set", "classifier.steps=400"]  # fmt: skip


def until(process, happened):
    """Wait for something that a running command does."""
    while not happened():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds the workers in /proc")
def test_35_a_killed_worker_fails_its_own_cell_and_the_rest_go_on(tmp_path):
    out = tmp_path / "run"
    words = ["run", *SLOWER, "--seeds", "2", "--jobs", "2", "--out", out]
    process = start(*words)
    until(process, lambda: list(out.glob("artefacts/score/*.partial")))
    os.kill(workers(process)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 4, said
    assert "Traceback" not in said
    assert "its process was killed (out of memory?): run again to go on, with --jobs 1" in said
    assert rows(out)["status"].tolist().count("failed") == 1
    assert finished(out) == 3
    assert "1/2" in (out / "table.md").read_text()
    fine(augment(*words, "-q"))
    assert finished(out) == 4
