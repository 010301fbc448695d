"""The page of `augment advise`: what to do with these images, how much it brings, what it costs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from augment.experiment.arms import ARMS
from augment.experiment.cells import Cell
from augment.experiment.race import Outcome
from augment.experiment.results_table import main_score
from augment.experiment.ways import REFERENCE, Way
from augment.metrics.learning_curve import equivalent_images
from augment.metrics.paired import paired_contrast
from augment.report.advice_page import advice_html, advice_markdown
from augment.report.test_set_error import units_of_test_set, variance_between_arms
from augment.storage.atomic import write_atomic

PAGE = "advice.md"
RACE_COLUMNS = ("folds", "loss", "gain", "standard_error", "accuracy")
COSTS = ("generator_seconds", "sample_seconds", "classifier_seconds")


@dataclass(frozen=True)
class Measured:
    """The cells that were scored on the test images after a race, and their rows."""

    cells: list[Cell]
    rows: list[dict[str, Any]]  # of results.csv
    ways: list[Way]  # at all labelled images; the winner comes first
    baseline: Way  # whose learning curve the other cells are of
    used: float  # seconds
    budget: int  # seconds


def write_advice(
    folder: Path, table: pd.DataFrame, outcome: Outcome, measured: Measured
) -> dict[str, Any]:
    """Write advice.json, advice.html and, last, advice.md; return what stands in the first.

    `table` is results.csv of the measurement.
    """
    facts = advice_facts(folder, table, outcome, measured)
    write_atomic(folder / "advice.json", json.dumps(facts, indent=1))
    write_atomic(folder / "advice.html", advice_html(facts))
    write_atomic(folder / PAGE, advice_markdown(facts))
    return facts


def advice_facts(
    folder: Path, table: pd.DataFrame, outcome: Outcome, measured: Measured
) -> dict[str, Any]:
    """Collect all figures of the page."""
    table = table.assign(score=main_score(table))
    done = table[table["status"] == "ok"]
    cell = measured.baseline.cell
    rows = {way.name: rows_of(done, way.cell) for way in measured.ways}
    units = units_of_test_set(folder)[cell.dataset]
    free = outcome.best_free.name
    return {
        "dataset": Path(cell.dataset).name,
        "folder": str(folder),
        "amount": cell.amount,
        "n_labelled": int(done["n_labelled"].max()) if len(done) else 0,
        "n_test": len(units),
        "measure": str(table["measure"].dropna().iloc[0]).replace("_", " ") if len(done) else "",
        "preset": cell.preset,
        "usual": REFERENCE,
        "winner": outcome.winner.name,
        "winner_generator": outcome.winner.generator,
        "runner_up": outcome.runner_up.name if outcome.runner_up else None,
        "best_free": free,
        "ways": [
            {
                "way": way.name,
                "about": ARMS[way.cell.arm].about,
                "n": len(rows[way.name]),
                "accuracy": _mean(rows[way.name]["score"]),
                "gain": _gain(folder, rows[way.name], rows[REFERENCE], units),
                "gain_over_free": _gain(folder, rows[way.name], rows[free], units),
                **{cost: _mean(rows[way.name][cost]) for cost in COSTS},
            }
            for way in measured.ways
        ],
        "equivalent": _equivalent(done, measured, rows, len(units)),
        "race": [
            {"way": each.way.name} | {name: getattr(each, name) for name in RACE_COLUMNS}
            for each in outcome.standings
        ],
        "left_out": outcome.left_out,
        "used_seconds": round(measured.used),
        "budget_seconds": measured.budget,
    }


def _gain(
    folder: Path, rows: pd.DataFrame, base: pd.DataFrame, units: np.ndarray
) -> dict[str, Any] | None:
    """Compare the finished rows of two ways, paired over trials; None beside itself."""
    shared = set(rows["seed"]) & set(base["seed"])
    if rows.index.equals(base.index) or not shared:
        return None
    scores = rows.set_index("seed")["score"]
    found = paired_contrast(
        scores.tolist(),
        base.set_index("seed")["score"].reindex(scores.index).tolist(),
        units=variance_between_arms((folder, rows), (folder, base), units),
    )
    columns = ("mean", "low", "high", "verdict", "n")
    return {name: getattr(found, name) for name in columns}


def rows_of(done: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Select the finished rows of a cell in all trials."""
    own = done[(done["arm"] == cell.arm) & (done["asked"] == cell.amount)]
    if cell.generator:
        return own[(own["generator"] == cell.generator) & (own["share"] == cell.use.share)]
    return own[own["generator"].isna()]


def _mean(values: pd.Series) -> float | None:
    """Return the mean of the values that there are."""
    known = values.dropna().astype(float)
    return float(known.mean()) if len(known) else None


def _equivalent(
    done: pd.DataFrame, measured: Measured, rows: dict[str, pd.DataFrame], n_test: int
) -> dict[str, Any] | None:
    """Say what the winner is worth in labelled images; None where it is the baseline itself."""
    winner, baseline = measured.ways[0], measured.baseline
    if winner.name == baseline.name:
        return None
    of_arm = done[(done["arm"] == baseline.cell.arm) & done["generator"].isna()]
    curve = of_arm.pivot_table(index="seed", columns="n_labelled", values="score").dropna()
    target = rows[winner.name].set_index("seed")["score"].reindex(curve.index).dropna()
    errors = 1 - curve.loc[target.index]
    about: dict[str, Any] = {
        "baseline": baseline.name,
        "curve": [[int(n), float(e)] for n, e in errors.mean().items()] if len(errors) else [],
    }
    if errors.shape[1] < 2 or len(errors) < 2:
        return about | {"words": "not known: there are too few labelled images for a curve"}
    sizes = [int(n) for n in errors.columns]
    found = equivalent_images(sizes, errors.to_numpy(), 1 - np.asarray(target), 0.5 / n_test)
    finite = {
        name: value if math.isfinite(value) else None
        for name, value in (("ratio", found.ratio), ("low", found.low), ("high", found.high))
    }
    return about | finite | {"exponent": found.exponent, "words": found.words}
