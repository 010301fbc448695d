"""--until: trials are added by the width of the interval, never by its sign."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
from test_cli import FAST, call

from augment.engine.local import Local
from augment.engine.run import execute
from augment.engine.until import (
    FIRST,
    Precision,
    Until,
    check_until,
    execute_until,
    next_trials,
    outlook,
    with_trials,
)
from augment.errors import UsageError
from augment.experiment.validation import make_recipe
from augment.metrics.intervals import UnitVariance, half_width, look_alpha, t_interval
from augment.metrics.planning import trials_for_width
from augment.runtime.steps import Steps, run_to_end
from augment.storage.run_folder import count_look

TINY = dict(
    dataset="digits",
    per_class=3,
    generator="cvae",
    preset="smoke",
    ratio=2,
    arm=["real+classic", "real+classic+synth"],
    set={"generator": {"steps": 2}, "classifier": {"steps": 4, "batch": 16, "width": 8}},
)


@pytest.mark.parametrize("units", [None, UnitVariance(200, 0.002, 0.02)])
def test_the_fewest_trials_that_are_narrow_enough(units):
    n = trials_for_width(0.01, 0.02, units=units)
    assert half_width(0.02, n, units=units) <= 0.01 < half_width(0.02, n - 1, units=units)


def test_no_number_of_trials_is_more_than_the_luck_of_the_test_images():
    assert trials_for_width(0.01, 0.02, units=UnitVariance(60, 0.02, 0.02)) is None
    assert trials_for_width(1e-5, 0.02) is None


def test_more_trials_are_the_next_seeds():
    assert with_trials(make_recipe(seeds=3), 6).seeds == [0, 1, 2, 3, 4, 5]
    assert with_trials(make_recipe(seeds="100-101"), 4).seeds == [100, 101, 102, 103]
    assert with_trials(make_recipe(seeds=9), 6).seeds == list(range(9))


@pytest.mark.parametrize(
    ("n", "precision", "left", "more"),
    [
        (6, Precision(0.4, 6), math.inf, 0),  # narrow enough
        (6, Precision(1.2, 40), math.inf, 1),  # a quarter
        (20, Precision(1.2, 40), math.inf, 5),
        (20, Precision(0.6, 22), math.inf, 2),  # no more than it takes
        (20, Precision(0.6, 20), math.inf, 1),  # the estimate was too low
        (6, Precision(5.0, None), math.inf, 0),  # no number will do
        (20, Precision(1.2, 40), 25.0, 2),  # ten seconds each
        (20, Precision(1.2, 40), -3.0, 0),
    ],
)
def test_trials_are_added_by_width_and_time(n, precision, left, more):
    assert next_trials(n, precision, Until(0.5), left, 10.0) == more


def test_the_outlook_says_what_it_takes():
    until = Until(0.5)
    assert "about 34 more trials, 5.7 min" in outlook(6, Precision(1.2, 40), until, 10.0)
    assert "narrow enough" in outlook(6, Precision(0.4, 6), until, 10.0)
    assert "more of them" in outlook(6, Precision(3.0, None), until, 10.0)
    assert "about 1 more trials" in outlook(20, Precision(0.6, 20), until, 10.0)  # one had failed
    assert "No interval" in outlook(6, Precision(math.nan, None), until, 10.0)


def test_it_needs_the_decisive_arm():
    with pytest.raises(UsageError, match="leave --arm out"):
        check_until(make_recipe(arm="real,synth"))


def test_trials_are_added_until_the_time_is_over(tmp_path):
    out = tmp_path / "run"
    until = Until(0.01, budget=1e-3)
    common = dict(out=out, executor=Local("cpu", 1), data_dir=None)
    steps = Steps(execute_until(until, make_recipe(**TINY), **common))
    begun, *notes = [step.note for step in steps if step.note]
    result = steps.value
    assert "12 cells into" in begun
    assert result.table["seed"].nunique() == FIRST
    assert result.table["until"].eq(0.01).all()
    assert len(notes) == 1
    assert notes[0].startswith("6 trials: ")
    wider = dataclasses.replace(until, points=90.0, budget=None)
    again = Steps(execute_until(wider, make_recipe(**TINY), **common))
    _, note = [step.note for step in again if step.note]
    assert "narrow enough" in note
    assert again.value.table["looks"].eq(1).all()  # all that --until adds is one look
    same = ["seed", "arm", "signature"]
    pd.testing.assert_frame_equal(again.value.table[same], result.table[same])


def test_the_same_command_again_goes_on_with_the_trials_that_are_there(tmp_path):
    common = dict(out=tmp_path / "run", executor=Local("cpu", 1), data_dir=None)
    run_to_end(execute(make_recipe(**TINY, seeds=8), until=90.0, **common))
    steps = Steps(execute_until(Until(90.0), make_recipe(**TINY), **common))
    trained = {step.stage for step in steps} & {"generator", "score"}
    assert not trained
    assert steps.value.table["seed"].nunique() == 8


def test_it_ends_where_the_pool_has_no_further_disjoint_subset(tmp_path, monkeypatch):
    monkeypatch.setattr("augment.engine.until.precision_of", lambda *_: Precision(5.0, 40))
    common = dict(executor=Local("cpu", 1), data_dir=None)
    few = make_recipe(**{**TINY, "per_class": 20}, subsets="disjoint")
    with pytest.raises(UsageError, match="disjoint"):  # nothing was run: that is an error
        run_to_end(execute_until(Until(0.5), few, out=tmp_path / "few", **common))
    some = make_recipe(**{**TINY, "per_class": 12}, subsets="disjoint")
    steps = Steps(execute_until(Until(0.5), some, out=tmp_path / "some", **common))
    *_, last = [step.note for step in steps if step.note]
    assert last.startswith("It ends here: --subsets disjoint: the pool has room for 7")
    assert steps.value.table["seed"].nunique() == 7


def test_looks_after_it_are_paid_for(tmp_path):
    assert count_look(tmp_path, 6, 0.5) == (1, 0.5)
    assert count_look(tmp_path, 9, 0.5) == (1, 0.5)
    assert count_look(tmp_path, 12) == (2, 0.5)  # resumed without --until
    assert count_look(tmp_path, 12) == (2, 0.5)
    assert look_alpha(1, until=True) < look_alpha(1)
    assert look_alpha(2, until=True) == look_alpha(2)


def test_a_width_that_is_waited_for_covers_the_truth():
    rng, hits, level = np.random.default_rng(0), [], 1 - look_alpha(1, until=True)
    for width in (0.4, 0.6, 1.0):
        for _ in range(400):
            d = rng.normal(0, 1, 150)
            n = FIRST
            while np.diff(t_interval(d[:n], level))[0] / 2 > width:
                n += max(1, n // 4)
            low, high = t_interval(d[:n], level)
            hits.append(low <= 0 <= high)
    assert np.mean(hits) >= 0.94 - 0.015  # 1,200 experiments: a standard error of 0.7 points


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--budget", "5m"], "give --until too"),
        (["--until", "0"], "--until 0: give half the interval"),
        (["--until", "nan", "--dry-run"], "give half the interval"),
        (["--until", "1", "--shard", "1/2"], "leave --shard out"),
        (["--until", "1", "--budget", "soon"], "e.g. 90s, 10m or 2h"),
        (["--until", "1", "--arm", "real,synth"], "leave --arm out"),
    ],
)
def test_flags_that_say_nothing_together_are_refused(flags, words, tmp_path, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, "run", *FAST, *flags, "--out", tmp_path / "run")
    assert code == 2
    assert words in " ".join(err.split())
    assert not (tmp_path / "run").exists()


def test_dry_run_is_of_the_first_round(tmp_path, monkeypatch, capsys):
    flags = ["--until", "1", "--dry-run", "--json", "--arm", "real+classic,real+classic+synth"]
    code, out, _ = call(monkeypatch, capsys, "run", *FAST, *flags)
    assert code == 0
    assert len(json.loads(out)["cells"]) == 2 * FIRST
