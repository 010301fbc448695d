"""--until: add trials until the decisive intervals are narrow enough, or say why they cannot be.

A fixed-width rule in the manner of Chow and Robbins (1965): it stops at the first number of trials,
from FIRST on, whose half width is small enough. A chance run of similar trials stops it too early,
which costs one or two points of coverage; so its intervals are taken at `UNTIL_ALPHA`
(`tests/bench/coverage.py`). It never looks at the sign of a difference.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from augment.engine.executors import Executor
from augment.engine.run import Result, execute
from augment.engine.status import BEGUN, CELL
from augment.errors import UsageError
from augment.experiment.arms import ARMS, DECISIVE
from augment.experiment.progress import Progress
from augment.experiment.recipe import Recipe
from augment.metrics.planning import MOST_TRIALS, trials_for_width
from augment.report.baselines import alpha_of, units_of
from augment.report.format import interval_text, percent
from augment.runtime.steps import Steps
from augment.runtime.units import duration
from augment.storage.run_folder import read_settings, reading

FIRST = 6  # trials: the spread of fewer says too little
GROWTH = 4  # a round adds a quarter of the trials, and at least one


@dataclass(frozen=True)
class Until:
    """When to stop adding trials."""

    points: float  # half the width of each decisive 95 % interval, at most
    budget: float | None = None  # seconds of the whole command


@dataclass(frozen=True)
class Precision:
    """How sure a run is so far."""

    half_width: float  # of the widest decisive interval, in points; NaN if there is none
    needed: int | None  # trials in all until it is narrow enough; None if no number will do


def execute_until(
    until: Until, recipe: Recipe, *, out: Path | None, executor: Executor, **data: Any
) -> Generator[Progress, None, Result]:
    """Run a recipe with more and more trials; yields progress, returns the last Result.

    The run folder is that of the recipe with the trials so far after every round, so that what is
    stopped can be resumed, read and looked at. Where the pool has no further disjoint subset, it
    ends with the trials that it has.
    """
    check_until(recipe)
    begun, recipe = time.monotonic(), with_trials(with_found_trials(recipe, out), FIRST)
    first, result, worked = len(recipe.seeds), None, 0
    while True:
        steps = Steps(execute(recipe, out=out, executor=executor, until=until.points, **data))
        at_work: set[int] = set()  # numbers of the cells that are not found finished
        try:
            for step in steps:
                if step.number is not None and step.stage != CELL:
                    at_work.add(step.number)
                if step.stage != BEGUN or len(recipe.seeds) == first:  # once is enough
                    yield step
        except UsageError as error:
            if result is None:
                raise
            yield Progress("until", "", first, first, note=f"It ends here: {error}")
            return result
        result, n = steps.value, len(recipe.seeds)
        out, worked = result.path, worked + len(at_work)
        precision = precision_of(result.summary, until.points)
        trials = worked * n / len(result.table)  # as many as the cells of this command are worth
        each = (time.monotonic() - begun) / max(trials, 1)  # seconds of a trial
        more = next_trials(n, precision, until, seconds_left(until, begun), each)
        note = f"{n} trials: {answer_so_far(result.summary)}. {outlook(n, precision, until, each)}"
        over = not more and precision.needed and precision.half_width > until.points
        end = " There is no time left for one more." if over else ""
        yield Progress("until", "", n, n, note=note + end)
        if not more:
            return result
        recipe = with_trials(recipe, n + more)


def check_until(recipe: Recipe) -> None:
    """Raise UsageError if no arm of a recipe has the interval that is to become narrow."""
    if DECISIVE not in recipe.arm or ARMS[DECISIVE].against not in recipe.arm:
        raise UsageError(
            f"--until is half the interval of {DECISIVE}: leave --arm out, or add it and "
            f"{ARMS[DECISIVE].against}"
        )


def with_trials(recipe: Recipe, n: int) -> Recipe:
    """Return the recipe with n trials at least: its own, then the next higher seeds."""
    missing = range(max(recipe.seeds) + 1, max(recipe.seeds) + 1 + n - len(recipe.seeds))
    return recipe.model_copy(update={"seeds": [*recipe.seeds, *missing]})


def with_found_trials(recipe: Recipe, out: Path | None) -> Recipe:
    """Return the recipe with the trials of its run folder, if that has them and more."""
    file = out and out / "settings.json"
    if not file or not file.is_file():
        return recipe
    with reading(file.parent):
        found = read_settings(file).get("seeds", [])
    return recipe.model_copy(update={"seeds": found}) if {*recipe.seeds} < {*found} else recipe


def precision_of(summary: pd.DataFrame, points: float) -> Precision:
    """Read from a summary how wide the widest decisive interval is, and what it would take."""
    decisive = summary[(summary["arm"] == DECISIVE) & summary["low"].notna()]
    half_widths, needed = [], []
    for line in decisive.to_dict("records"):
        rows = pd.DataFrame([line])
        half_widths.append(50 * (line["high"] - line["low"]))
        needed.append(
            trials_for_width(
                points / 100, line["sd_difference"], 1 - alpha_of(rows), units_of(rows)
            )
        )
    if not needed:  # no trial finished, or all of them differ by the same
        return Precision(math.nan, None)
    return Precision(max(half_widths), None if None in needed else max(filter(None, needed)))


def next_trials(n: int, precision: Precision, until: Until, left: float, each: float) -> int:
    """Return how many trials to add to n; 0 if it is narrow enough, or cannot be in the time.

    `left` is the time left and `each` that of a trial, in seconds.
    """
    if precision.half_width <= until.points or precision.needed is None:
        return 0
    wanted = max(1, min(precision.needed - n, n // GROWTH))
    return max(0, math.floor(min(wanted, MOST_TRIALS - n, left / each)))


def seconds_left(until: Until, begun: float) -> float:
    """Return the seconds of the budget that are left; infinite without one."""
    return math.inf if until.budget is None else until.budget - (time.monotonic() - begun)


def answer_so_far(summary: pd.DataFrame) -> str:
    """Write the gain of each decisive arm with its interval."""
    decisive = summary[summary["arm"] == DECISIVE]
    several = len(decisive) > 1
    return ", ".join(
        f"{line['generator'] + ' ' if several else ''}{percent(line['difference'], True)} "
        f"({interval_text(line['low'], line['high']) or 'no interval'})"
        for line in decisive.to_dict("records")
    )


def outlook(n: int, precision: Precision, until: Until, each: float) -> str:
    """Write whether the interval is narrow enough, and otherwise what it takes.

    `each` is the time of a trial in seconds.
    """
    wanted = f"±{until.points:g} points"
    if math.isnan(precision.half_width):
        return "No interval: no trial finished, or all of them differ by the same."
    if precision.half_width <= until.points:
        return f"The interval is ±{precision.half_width:.2f}: narrow enough for {wanted}."
    if precision.needed is None:
        return (
            f"No number of trials up to {MOST_TRIALS} makes it {wanted}: the luck of the test "
            "images alone is more; take more of them, or a larger --until."
        )
    more = max(1, precision.needed - n)  # a trial that failed counts for nothing
    return f"{wanted} would take about {more} more trials, {duration(more * each)}."
