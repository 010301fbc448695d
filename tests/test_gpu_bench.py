"""tests/bench/gpu.sh and what it runs, at tiny sizes and without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def worker(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests/bench"))
    import gpu_worker

    return gpu_worker


def test_the_script_measures_both_checkouts(tmp_path):
    environment = {**os.environ, "BASE_DIR": str(ROOT), "PYTHON": sys.executable}
    flags = ["--smoke", "--only", "speed", "--repeats", "1", "--out", str(tmp_path / "gpu.csv")]
    subprocess.run([ROOT / "tests/bench/gpu.sh", *flags], env=environment, check=True)
    table = pd.read_csv(tmp_path / "gpu.csv")
    assert set(table["figure"]) == {"airbench", "resnet", "ddpm", "drawing", "convolution peak"}
    assert (table["median"] > 0).all()
    assert table.groupby("figure").size()["airbench"] == 3  # base, new and their ratio
    assert table[["device", "torch", "date", "command"]].notna().all(axis=None)


@pytest.mark.parametrize("question", ["recorded", "repeated", "resumed"])
def test_equal_trainings_differ_by_nothing(worker, question):
    assert worker.difference("cvae", question, worker.Sizes(smoke=True)) == 0


def test_other_trainings_differ(worker, monkeypatch):
    sizes = worker.Sizes(smoke=True)
    taken = iter((8, 7))
    train = worker.state_after
    monkeypatch.setattr(
        worker, "state_after", lambda name, sizes, n: train(name, sizes, next(taken))
    )
    assert worker.difference("cvae", "repeated", sizes) > 1e-3
