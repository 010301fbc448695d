"""What synthetic images change class by class, with intervals for all classes together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from augment.experiment.arms import DECISIVE
from augment.experiment.records import ScoreResult
from augment.metrics.intervals import LEAST_TRIALS, SIGNIFICANCE, t_interval, unit_variance
from augment.report.measured import ClassScores, the_measure
from augment.report.table import variant_names
from augment.report.test_set_error import units_of_test_set
from augment.storage.artifacts import Store


def class_changes(folder: Path, table: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the score of each class before and after synthetic images: recall, or precision.

    A row a set and class with test images, paired over trials. `low` and `high` allow for other
    test images, and all intervals of a set hold together with 95 %. Empty bounds below
    LEAST_TRIALS trials. `summary` says which arm is the one without synthetic images.
    """
    done, units = table.assign(variant=variant_names(table)), units_of_test_set(folder)
    done = done[done["status"] == "ok"]
    rows: list[dict[str, Any]] = []
    decisive = summary[(summary["arm"] == DECISIVE) & (summary["against"] != "")]
    for line in decisive.to_dict("records"):
        block = done[(done["dataset"] == line["dataset"]) & (done["asked"] == line["asked"])]
        arms = (block["variant"] == line["generator"]) & (block["arm"] == DECISIVE)
        after = block[arms].set_index("seed")["signature"]
        before = block[block["arm"] == line["against"]].set_index("seed")["signature"]
        seeds = after.index.intersection(before.index)
        if len(seeds):
            keys = {k: line[k] for k in ("dataset", "asked")} | {"variant": line["generator"]}
            pair = after[seeds].tolist(), before[seeds].tolist()
            by_class = the_measure([line["measure"]]).by_class
            of_set = _changes(Store(folder), pair, units[line["dataset"]], by_class)
            rows += [{**keys, **change} for change in of_set]
    return pd.DataFrame(rows)


def _changes(
    store: Store,
    pair: tuple[list[str], list[str]],
    units: np.ndarray,
    by_class: Callable[[Path], dict[int, ClassScores]],
) -> list[dict[str, Any]]:
    """Compare two arms, each the scores' signatures of its trials, class by class."""
    arms = [[by_class(store.path("score", name)) for name in signatures] for signatures in pair]
    present = list(arms[0][0])
    level = 1 - SIGNIFICANCE / len(present)  # Bonferroni: the worst class is a selection
    classes = ScoreResult.read(store.path("score", pair[0][0])).classes
    rows = []
    for k in present:
        after, before = (np.stack([trial[k].values for trial in trials]) for trials in arms)
        first = arms[0][0][k]
        low, high = class_interval(after - before, units[first.images], level)
        rows.append(
            {
                "class": classes[k],
                "n_test": first.n_test,
                "trials": len(after),
                "before": before.mean(),
                "after": after.mean(),
                "change": (after - before).mean(),
                "low": low,
                "high": high,
            }
        )
    return rows


def class_interval(
    differences: np.ndarray, units: np.ndarray, level: float
) -> tuple[float | None, float | None]:
    """Compute the interval of the mean difference of one class; None below LEAST_TRIALS trials.

    `differences` [trials, images] have those of the trials as means; `units` [images] name what
    belongs together.
    """
    if len(differences) < LEAST_TRIALS:
        return None, None
    _, unit_of = np.unique(units, return_inverse=True)
    n_units = unit_of.max() + 1
    # scaled so that a row's mean is the difference of its trial
    by_unit = np.stack([np.bincount(unit_of, row, n_units) for row in differences])
    by_unit *= n_units / len(units)
    interval = t_interval(differences.mean(1), level, unit_variance(by_unit))
    return interval or (None, None)
