"""How often the interval misses the truth: simulated experiments of which the truth is known.

    python tests/bench/coverage.py [--experiments 2000] [--out results/bench/coverage.md]

Four tables: no difference at all, by trials, test units and what varies; few images that differ,
all in one direction; trials added until an interval excludes 0, or until it is narrow.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from augment import __version__
from augment.engine.until import FIRST, GROWTH
from augment.metrics.intervals import look_alpha, t_interval, unit_variance
from augment.storage.atomic import write_atomic

TRIALS = (3, 6, 12)
UNITS = {2: "groups", 5: "groups", 60: "images", 200: "images", 2000: "images"}
UNIT_SDS = {"none": 0.0, "medium": 0.5, "large": 2.0}  # beside a residual of 1
TRIAL_SDS = {"groups": (0.0, 0.3), "images": (0.0, 0.1)}
DIFFER = 0.1  # of the images that the two arms do not both get right or wrong
SCHEDULES = {
    "3, 6, 9, … 27": range(3, 28, 3),
    "6, 9, 12, … 30": range(6, 31, 3),
    "3, 4, 5, … 11": range(3, 12),
}
LOOKS = (1, 2, 4, 9)
WIDTHS = {60: (0.08,), 200: (0.03, 0.025), 2000: (0.01, 0.007)}  # test images → half widths
MOST = 60  # trials
Rng = np.random.Generator


def experiment(rng: Rng, n: int, m: int, trial_sd: float, unit_sd: float) -> np.ndarray:
    """Draw the differences of n trials on m units, of mean 0: [n, m].

    Those of an image are −1, 0 or 1, those of a group (of many images) continuous.
    """
    latent = rng.normal(0, 1, (n, m)) + rng.normal(0, trial_sd, (n, 1)) + rng.normal(0, unit_sd, m)
    if UNITS[m] == "groups":
        return latent
    threshold = stats.norm.isf(DIFFER / 2) * np.sqrt(1 + trial_sd**2 + unit_sd**2)
    return (latent > threshold).astype(float) - (latent < -threshold)


def missed(d: np.ndarray, truth: float, over_units: bool = True) -> bool:
    """Tell whether the interval of an experiment misses the true mean."""
    interval = t_interval(d.mean(1), units=unit_variance(d) if over_units else None)
    return interval is not None and not interval[0] <= truth <= interval[1]


def false_verdicts(rng: Rng, experiments: int) -> Iterator[dict[str, object]]:
    """Yield a row for each number of units and trials: share of intervals that exclude 0."""
    for m, kind in UNITS.items():
        for n in TRIALS:
            row: dict[str, object] = {"test units": f"{m} {kind}", "trials": n}
            for name, unit_sd in UNIT_SDS.items():
                shares = []
                for trial_sd in TRIAL_SDS[kind]:
                    drawn = [experiment(rng, n, m, trial_sd, unit_sd) for _ in range(experiments)]
                    shares.append(
                        [np.mean([missed(d, 0, both) for d in drawn]) for both in (True, False)]
                    )
                rule, alone = 100 * np.max(shares, axis=0)  # the worse of the two trial_sds
                row[f"unit variance {name}"] = f"{rule:.1f} ({alone:.1f})"
            yield row


def few_differences(rng: Rng, experiments: int) -> Iterator[dict[str, object]]:
    """Yield the misses where a few images are won by the arm in all six trials, none lost."""
    for m in (60, 200):
        row: dict[str, object] = {"test images": m}
        for expected in (0, 1, 3, 5, 10):
            share = expected / m
            drawn = [np.tile(rng.random(m) < share, (6, 1)) for _ in range(experiments)]
            row[f"{expected} differ"] = (
                f"{100 * np.mean([missed(d.astype(float), share) for d in drawn]):.1f}"
            )
        yield row


def growing_trials(rng: Rng, experiments: int) -> Iterator[dict[str, object]]:
    """Yield how often some look at a growing number of trials excludes 0, paid for and not."""
    for name, numbers in SCHEDULES.items():
        d = rng.normal(0, 1, (experiments, max(numbers)))
        p = np.array([stats.ttest_1samp(d[:, :n], 0, axis=1).pvalue for n in numbers])
        paid = p <= np.array([[look_alpha(k)] for k in range(1, len(p) + 1)])
        free = p <= look_alpha(1)
        row: dict[str, object] = {"trials at the looks": name}
        for looks in LOOKS:
            shares = [100 * found[:looks].any(0).mean() for found in (paid, free)]
            row[f"{looks} looks" if looks > 1 else "1 look"] = "{:.1f} ({:.1f})".format(*shares)
        yield row


def waited_for(rng: Rng, experiments: int) -> Iterator[dict[str, object]]:
    """Yield the misses where trials are added until half the interval is narrow enough."""
    level = 1 - look_alpha(1, until=True)
    for m, widths in WIDTHS.items():
        for width in widths:
            found = []
            for _ in range(experiments):
                d, n, half = experiment(rng, MOST, m, 0.1, 0.5), FIRST, math.inf
                while n <= MOST:
                    units = unit_variance(d[:n])
                    low, high = t_interval(d[:n].mean(1), level, units) or (math.nan, math.nan)
                    half = (high - low) / 2
                    if half <= width or n == MOST:
                        break
                    n = min(MOST, n + max(1, n // GROWTH))
                found.append((not low <= 0 <= high, n, half <= width))
            misses, trials, narrow = np.mean(found, axis=0)
            yield {
                "test images, half width": f"{m}, {100 * width:g} points",
                "misses": f"{100 * misses:.1f}",
                "trials": f"{trials:.1f}",
                f"narrow within {MOST} trials": f"{100 * narrow:.0f}",
            }


def main() -> None:
    """Simulate and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/bench/coverage.md"))
    given = parser.parse_args()
    rng, count = np.random.default_rng(given.seed), given.experiments

    def table(rows: Iterator[dict[str, object]]) -> str:
        return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)

    text = f"""# How often an interval misses the truth

Percent of simulated experiments whose 95 % interval misses the true difference; 5 is right, less is
wide. augment {__version__}; `python tests/bench/coverage.py`, seed {given.seed}, {count}
experiments each: a standard error of {100 * (0.05 * 0.95 / count) ** 0.5:.1f}.

## No difference

Every interval that excludes 0 is a false verdict. In brackets: Student's t over trials alone. The
residual of a prediction has the variance 1; units have none, a quarter or four times that, trials
none or {TRIAL_SDS["groups"][1]}² ({TRIAL_SDS["images"][1]}² with images), of which the worse is \
shown. Of the images {100 * DIFFER:g} % differ in a trial.

{table(false_verdicts(rng, count))}

## Few images that differ

Six trials; so many images are won on average, the same in all trials, and none is lost.

{table(few_differences(rng, count))}

## Trials added until something shows

No difference; {20 * count} experiments. In brackets: with 5 % at each look.

{table(growing_trials(rng, 20 * count))}

## Trials added until the interval is narrow (`--until`)

Intervals at {100 * (1 - look_alpha(1, until=True)):g} %; trials have a variance of 0.1², images \
of 0.5² beside a residual of 1; {count // 2} experiments.

{table(waited_for(rng, count // 2))}
"""
    write_atomic(given.out, text)
    print(text)


if __name__ == "__main__":
    main()
