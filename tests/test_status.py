"""`augment status`: counts, rate and stages of a run, in every state that it can be in."""

import json
import subprocess
import sys

import pytest
from conftest import SMOKE

import augment
from augment.engine.local import Local
from augment.engine.run import execute
from augment.engine.shards import merge
from augment.engine.status import read_status, status_lines
from augment.errors import UsageError
from augment.experiment.validation import make_recipe
from augment.runtime.units import duration, speed
from augment.storage.run_folder import STATUS_FILE


@pytest.fixture(autouse=True)
def _written_at_each_step(monkeypatch):
    monkeypatch.setattr("augment.engine.run.WRITE_SECONDS", -1.0)


def counts(run):
    about = read_status(run)
    return about["state"], *(about[k] for k in ("done", "failed", "running", "left"))


def begun(small_run, **changed):
    """A run that is stepped by the test."""
    asked = {k: v for k, v in (small_run | changed).items() if k not in ("out", "jobs")}
    return execute(
        make_recipe(**asked), out=small_run["out"], data_dir=None, executor=Local("cpu", 1)
    )


def test_status_follows_a_run_and_outlives_it(small_run):
    run, seen = small_run["out"], {}
    for step in begun(small_run):
        if step.step == 3:
            seen.setdefault(step.stage, (counts(run), read_status(run)["stages"]))
    assert seen["generator"][0] == ("running", 2, 0, 1, 7)
    (stage,) = seen["generator"][1]
    assert {k: stage[k] for k in ("stage", "step", "steps")} == {
        "stage": "generator",
        "step": 3,
        "steps": 4,
    }
    assert stage["cell"] == "digits, 3 a class, seed 0: real+synth (cvae)"
    assert seen["cell"][0] == ("running", 3, 0, 0, 7)
    assert counts(run) == ("finished", 10, 0, 0, 0)
    assert read_status(run)["per_second"] > 0


def test_stopped_run_says_where_it_was_and_what_was_found_again(small_run):
    steps = begun(small_run)
    next(s for s in steps if s.stage == "generator" and s.step == 2)
    steps.close()
    assert counts(small_run["out"]) == ("stopped", 2, 0, 0, 8)
    assert ["generator", "2/4 digits, 3 a class, seed 0: real+synth (cvae)"] in status_lines(
        read_status(small_run["out"])
    )
    augment.run(**small_run)
    assert read_status(small_run["out"])["found"] == 2


def test_killed_run_is_stopped(small_run):
    code = "import os; from augment.engine.status import *; s = Status(4, ended={0}); "
    code += "print(s.record(going=True))"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    small_run["out"].mkdir()
    (small_run["out"] / "settings.json").write_text("{}")
    (small_run["out"] / STATUS_FILE).write_bytes(text)
    assert counts(small_run["out"]) == ("stopped", 1, 0, 0, 3)
    elsewhere = json.loads(text) | {"machine": "node17"}  # whether it lives cannot be seen here
    (small_run["out"] / STATUS_FILE).write_text(json.dumps(elsewhere))
    assert counts(small_run["out"])[0] == "running"
    assert "node17" in status_lines(read_status(small_run["out"]))[0][1]


def test_failed_cells_are_counted(small_run):
    augment.run(**{**small_run, "set": {**SMOKE, "cvae": {"steps": 40, "lr": 1e18}}})
    assert counts(small_run["out"]) == ("finished", 4, 6, 0, 0)


def test_processes_and_merged_shards_are_counted_too(small_run, tmp_path):
    augment.run(**{**small_run, "arm": "real", "jobs": 2}, shard="1/2")
    assert counts(small_run["out"]) == ("finished", 1, 0, 0, 0)
    merge([small_run["out"]], tmp_path / "part", partial=True)
    assert counts(tmp_path / "part") == ("stopped", 1, 0, 0, 1)


def test_status_of_no_run_names_the_folder(tmp_path):
    with pytest.raises(UsageError, match="is no run folder"):
        read_status(tmp_path)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(UsageError, match="augment resume"):
        read_status(tmp_path)


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (speed(12), "12/s"),
        (speed(0.05), "3/min"),
        (speed(1e-3), "3.6/h"),
        (duration(0), "0 s"),
        (duration(99), "99 s"),
        (duration(600), "10 min"),
        (duration(9000), "2.5 h"),
        (duration(9 * 86400), "9 d"),
    ],
)
def test_times_as_people_say_them(shown, words):
    assert shown == words
