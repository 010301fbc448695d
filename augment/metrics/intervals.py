"""Intervals and p values of mean differences: over trials, and over trials × test units.

d_ij is what test unit j adds to the difference of trial i. A unit is what is sampled together: an
image, or all images of a patient. With d_ij = mean + trial_i + unit_j + rest_ij, all random, the
mean over n trials and m units has the variance (MS_trials + MS_units − MS_rest) / nm. Student's t
with the degrees of freedom of Satterthwaite (1946) makes an interval of it. Three rules keep it
from being too narrow; `tests/bench/coverage.py` shows by simulation what they do:

- MS_trials and MS_units count as MS_rest at least, which both of them contain.
- With m units of which none differs, 3/m of all units may (the rule of three): half the interval
  is not below that. It fades as more than three units are seen to differ.
- It is never narrower than Student's interval over trials alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

SIGNIFICANCE = 0.05  # α of a single look
LEVEL = 1 - SIGNIFICANCE  # of its interval
UNTIL_ALPHA = 0.035  # of a run whose trials were added until its interval was narrow enough
LEAST_TRIALS = 3  # fewer have no verdict
_NOTHING = 1e-12  # a standard deviation up to here is rounding
_RULE_OF_THREE = 3 / stats.norm.ppf(1 - SIGNIFICANCE / 2)  # units: 1.96 of them are three


@dataclass(frozen=True)
class UnitVariance:
    """What the test units of an experiment add to the error of its mean difference."""

    number: float = math.inf  # of units; not known in tables of older versions
    se: float = 0.0  # standard error of the mean difference that is due to the choice of units
    sd_interaction: float = 0.0  # of one trial's difference, due to the rest: trial × unit

    @property
    def single(self) -> bool:
        """Whether there is one unit alone, which says nothing about others."""
        return self.number == 1

    def scaled(self, factor: float) -> UnitVariance:
        """Return the variance of differences multiplied by `factor`."""
        return UnitVariance(self.number, self.se * factor, self.sd_interaction * factor)


def unit_variance(differences: np.ndarray) -> UnitVariance:
    """Estimate `UnitVariance` by a two-way analysis of variance without repetition.

    `differences` is [trials ≥ 2, units], scaled so that a row's mean is the difference of the
    trial. With a single unit its error is not known, which is not 0.
    """
    trials, units = differences.shape
    if units < 2:
        return UnitVariance(1.0)
    of_units = differences.mean(0)
    rest = differences - differences.mean(1, keepdims=True) - of_units + differences.mean()
    ms_rest = float((rest**2).sum()) / ((trials - 1) * (units - 1))
    differing = differences[np.abs(differences) > _NOTHING]
    size = float(np.mean(differing**2)) if differing.size else 1.0  # of a unit that differs
    # all of these are variances of the mean difference: mean squares over trials · units
    of_rest = ms_rest / (trials * units)
    n_differing = int((np.abs(differences) > _NOTHING).any(0).sum())
    weight = (1 - n_differing / units) * min(1.0, 3 / max(1, n_differing))
    floor = weight * size * (_RULE_OF_THREE / units) ** 2
    total = max(float(of_units.var(ddof=1)) / units, of_rest, floor)
    return UnitVariance(units, math.sqrt(total - of_rest), math.sqrt(ms_rest / units))


def standard_error(sd: Any, n: int, units: UnitVariance) -> tuple[Any, Any]:
    """Compute the standard error of the mean of n differences and its degrees of freedom.

    `sd`, of the differences, is a number or an array of numbers; so are the results.
    """
    of_rest = units.sd_interaction**2 / n
    of_trials = np.maximum(np.square(sd) / n, of_rest)
    of_units = units.se**2 + of_rest
    total = of_trials + units.se**2
    m = math.inf if units.single else units.number
    sum_of_squares = (
        of_trials**2 / (n - 1) + of_units**2 / (m - 1) + of_rest**2 / ((n - 1) * (m - 1))
    )
    with np.errstate(divide="ignore"):  # units alone, unknown how many: infinite degrees
        return np.sqrt(total), np.square(total) / sum_of_squares


def half_width(sd: Any, n: int, level: float = LEVEL, units: UnitVariance | None = None) -> Any:
    """Compute half the width of the interval from n ≥ 2 differences with standard deviation `sd`.

    `sd` is a number or an array of numbers, not 0 if there are no units; so is the result.
    """
    tail = 0.5 + level / 2
    half_trials = stats.t.ppf(tail, n - 1) * np.asarray(sd) / math.sqrt(n)
    if units is None or units.single:
        return half_trials
    error, degrees = standard_error(sd, n, units)
    return np.maximum(half_trials, stats.t.ppf(tail, degrees) * error)


def t_interval(
    d: np.ndarray, level: float = LEVEL, units: UnitVariance | None = None
) -> tuple[float, float] | None:
    """Compute the interval of the mean of [n ≥ 2] differences; None if nothing tells its width."""
    mean, sd = float(d.mean()), spread(d)
    if not sd and (units is None or units.single):
        return None
    half = float(half_width(sd, len(d), level, units))
    return mean - half, mean + half


def t_test_p(d: np.ndarray, units: UnitVariance | None = None) -> float | None:
    """Compute the two-sided p of `t_interval`: at most α exactly where that at 1 − α excludes 0."""
    mean, sd, n = abs(float(d.mean())), spread(d), len(d)
    if not sd and (units is None or units.single):
        return None
    p = 2 * float(stats.t.sf(mean / (sd / math.sqrt(n)), n - 1)) if sd else 0.0
    if units is None or units.single:
        return p
    error, degrees = standard_error(sd, n, units)
    return max(p, 2 * float(stats.t.sf(mean / error, degrees)))


def spread(d: np.ndarray) -> float:
    """Compute the standard deviation, ddof = 1; 0 where it is but rounding."""
    sd = float(d.std(ddof=1))
    return sd if sd > _NOTHING else 0.0


def look_alpha(looks: int, *, until: bool = False) -> float:
    """Return α of the interval at look k of a growing number of trials: 5 %, then 1.25 % / (k − 1).

    Who adds trials until an interval excludes 0 finds a difference that is not there in at most 7 %
    of experiments, nine looks or fewer (`tests/bench/coverage.py`); with 5 % at each it is 20 %.
    `until`: they were added until the interval was narrow enough, which trials that are alike by
    chance end too early; at 3.5 % it covers the truth in 94 % all the same.
    """
    first = UNTIL_ALPHA if until else SIGNIFICANCE
    return first if looks < 2 else SIGNIFICANCE / (4 * (looks - 1))


def mean_interval(
    values: Sequence[float], level: float = LEVEL, units: UnitVariance | None = None
) -> tuple[float, float, float]:
    """Compute (mean, low, high); NaN bounds with fewer than two values, or all of them equal."""
    v = np.asarray([x for x in values if math.isfinite(x)], float)
    interval = t_interval(v, level, units) if len(v) > 1 else None
    low, high = interval or (math.nan, math.nan)
    return (float(v.mean()) if len(v) else math.nan), low, high
