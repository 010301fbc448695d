"""What changes class by class, and what may be said of the worst of them."""

import numpy as np
import pandas as pd
import pytest

from augment.experiment.results_table import read_results
from augment.report import class_changes as module
from augment.report.class_changes import class_changes, class_interval
from augment.report.html_sections import class_blocks, losers_sentence
from augment.report.table import summarise


def rows(variant, changes, trials=3, half=0.02):
    """Rows of class_changes.csv: class → change, all intervals of one width."""
    bounds = {} if trials < 3 else {"half": half}
    return [
        {
            "dataset": "digits",
            "asked": "10 a class",
            "variant": variant,
            "class": name,
            "n_test": 50,
            "trials": trials,
            "before": 0.6,
            "after": 0.6 + change,
            "change": change,
            "low": change - bounds["half"] if bounds else None,
            "high": change + bounds["half"] if bounds else None,
        }
        for name, change in changes.items()
    ]


def test_each_set_has_its_own_classes_worst_change_first(tmp_path):
    table = rows("ddpm", {"a": 0.1, "b": -0.1, "c": 0.0}) + rows("cvae", {"a": 0.0, "b": -0.01})
    pd.DataFrame(table).to_csv(tmp_path / "class_changes.csv", index=False)
    first, second = class_blocks(tmp_path)
    assert first["title"] == "ddpm on digits, 10 a class"
    assert [(line[0], *line[-2:]) for line in first["lines"]] == [
        ("b", "-10.00", "-12.00 … -8.00"),
        ("c", "+0.00", "-2.00 … +2.00"),
        ("a", "+10.00", "+8.00 … +12.00"),
    ]
    assert first["sentence"] == "Surely lost: b."
    assert second["sentence"] == "No class surely lost."


def test_two_trials_say_nothing_of_a_class():
    table = pd.DataFrame(rows("ddpm", {"a": -0.3}, trials=2))
    assert losers_sentence(table).endswith("cannot be told from so few trials (2).")
    assert class_interval(np.zeros((2, 9)), np.arange(9), 0.95) == (None, None)


def test_changes_are_those_of_the_recalls_of_the_run(finished, monkeypatch):
    monkeypatch.setattr(module, "LEAST_TRIALS", 2)
    table = read_results(finished.path / "results.csv")
    found = class_changes(finished.path, table, summarise(table)).set_index("class")
    recalls = pd.read_csv(finished.path / "per_class.csv", dtype={"class": str})
    means = recalls.groupby(["arm", "class"])["recall"].mean()
    for name, line in found.iterrows():
        assert line["before"] == pytest.approx(means[line_arm(finished), name])
        assert line["after"] == pytest.approx(means["real+classic+synth", name])
        assert line["change"] == pytest.approx(line["after"] - line["before"])
        assert line["low"] <= line["change"] <= line["high"]
    assert len(found) == 10
    # of two trials, 10 intervals at once: t with one degree of freedom is wide
    assert (found["high"] - found["low"]).max() > 1
    written = pd.read_csv(finished.path / "class_changes.csv", dtype={"class": str})
    assert written["change"].tolist() == pytest.approx(found["change"].tolist())
    assert written["low"].isna().all()


def line_arm(run):
    """The arm without synthetic images that the decisive one is measured against."""
    return run.summary.set_index("arm").loc["real+classic+synth", "against"]


def test_useless_generator_has_no_class_that_surely_lost():
    """500 experiments of six trials, ten classes of 36 test images, no effect."""
    rng = np.random.default_rng(0)
    named, worst = 0, []
    for _ in range(500):
        p = rng.beta(9, 1, (10, 36))  # how often each image is recognised
        changes = []
        for k in range(10):
            after, before = (rng.random((6, 36)) < p[k] for _ in range(2))
            difference = after.astype(float) - before
            _, high = class_interval(difference, np.arange(36), 1 - 0.05 / 10)
            changes.append((difference.mean(), high))
        worst.append(min(changes)[0])
        named += min(high for _, high in changes) < 0
    assert np.mean(worst) < -0.02  # looks like a loss
    assert named / 500 < 0.04  # half of 5 % lies on this side


def test_class_that_loses_is_found():
    rng = np.random.default_rng(0)
    lost = -(rng.random((6, 36)) < 0.3).astype(float)
    assert class_interval(lost, np.arange(36), 1 - 0.05 / 10)[1] < 0
    # nine patients of four images each: fewer that could have come out otherwise
    wide = class_interval(lost, np.arange(36) // 4, 1 - 0.05 / 10)
    assert wide[0] < lost.mean() < wide[1] or wide[1] < 0
