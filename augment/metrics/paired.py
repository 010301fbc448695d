"""Paired differences: how much, how sure, and what may be said.

d_i = score of the arm − score of its baseline in trial i. The interval is Student's t over the
trials. All of them are scored on the same test images, so that alone would leave out the luck of
these: with sixty images that the trials agree on, it covered the truth in 74 % of 600 simulated
experiments of six trials, in 56 % of those of twelve. What the images add is found as multi-reader
multi-case studies find it for their cases: by a two-way analysis of variance, trials × images, with
the degrees of freedom of Hillis (2007); that covered it in 93 to 97 %. The interval is never
narrower than the one over trials. From n = 10 on the bias-corrected accelerated
bootstrap over trials (Efron 1987) stands beside it, not in its place: at n = 10 to 12 it covered
normal data about 90 % of the time, t about 95 % (600 simulations each). p is the exact two-sided
sign-flip permutation test over trials, corrected by Holm (1979) over a table.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import optimize, stats

_BOOTSTRAP_FROM = 10  # trials
_EXACT_LIMIT = 16  # trials up to which all 2^n sign patterns are counted
_PATTERNS = 50_000  # random sign patterns beyond that
MOST_TRIALS = 1000  # the search for a number of trials ends here
_QUANTILES = 2000  # of the sample standard deviation, in the integral of the power
_DECIMALS = 12  # scores that agree to here are equal: 0.3 - (0.1 + 0.2) is no difference


@dataclass(frozen=True)
class Contrast:
    """A paired comparison; differences in the unit of the scores (fractions)."""

    n: int
    mean: float
    low: float | None = None  # 95 % interval; None with one trial
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    bca: tuple[float, float] | None = None  # bootstrap interval beside it, from ten trials on
    missing: int = 0  # trials in which one of the two cells failed
    sd: float | None = None  # of the differences, ddof = 1; None with one trial
    se_test: float | None = None  # standard error of the mean due to the test images, if known

    @property
    def verdict(self) -> str:
        """Return *helps* or *hurts* if the interval excludes 0, without correction of any kind."""
        if self.n == 0:
            return "no pair"
        if self.low is None or self.high is None:
            return "one trial"
        if self.low > 0:
            return "helps"
        return "hurts" if self.high < 0 else "can't tell"


def paired_contrast(
    arm: Sequence[float],
    baseline: Sequence[float],
    level: float = 0.95,
    se_test: float | None = None,
) -> Contrast:
    """Compare paired scores; a trial with a missing value (NaN) is left out and counted.

    `se_test` is what `unit_standard_error` finds for these trials; None where it is not known.
    """
    if len(arm) != len(baseline):
        raise ValueError(f"{len(arm)} scores cannot be paired with {len(baseline)}")
    differences = np.round(np.asarray(arm, float) - np.asarray(baseline, float), _DECIMALS)
    d = differences[np.isfinite(differences)]
    n, missing = len(d), int((~np.isfinite(differences)).sum())
    if n < 2:
        return Contrast(n, float(d.mean()) if n else math.nan, missing=missing)
    low, high = t_interval(d, level, se_test or 0.0)
    bca = _bca_interval(d, level) if n >= _BOOTSTRAP_FROM else None
    sd = float(d.std(ddof=1))
    p = sign_flip_p(d)
    return Contrast(n, float(d.mean()), low, high, p, None, bca, missing, sd, se_test)


def unit_standard_error(differences: np.ndarray) -> float:
    """Estimate the standard error of the mean difference that is due to the choice of test units.

    `differences` is [trials ≥ 2, units]. A unit is what is sampled together: an image, or all
    images of a patient. Its entry is how much it adds to the trial's difference, scaled so that a
    row's mean is that difference. From the mean squares of a two-way analysis of variance without
    repetition, trials × units: √((MS_units − MS_rest) / (trials · units)), 0 if negative.
    """
    trials, units = differences.shape
    if units < 2:
        return 0.0
    of_units = differences.mean(0)
    rest = differences - differences.mean(1, keepdims=True) - of_units + differences.mean()
    ms_units = trials * of_units.var(ddof=1)
    ms_rest = (rest**2).sum() / ((trials - 1) * (units - 1))
    return math.sqrt(max(0.0, float(ms_units - ms_rest)) / (trials * units))


def _half_width(sd: Any, n: int, level: float = 0.95, se_test: float = 0.0) -> Any:
    """Compute half the width of the interval from n ≥ 2 differences with standard deviation `sd`.

    `sd` is a number or an array of numbers; so is the result.
    """
    tail, of_trials = 0.5 + level / 2, np.square(sd) / n
    half_trials = stats.t.ppf(tail, n - 1) * np.sqrt(of_trials)
    if not se_test:
        return half_trials
    total = of_trials + se_test**2
    with np.errstate(divide="ignore"):  # zero variance over trials: infinite degrees of freedom
        degrees = (n - 1) * np.square(total / of_trials)  # Hillis 2007
    return np.maximum(half_trials, stats.t.ppf(tail, degrees) * np.sqrt(total))


def t_interval(d: np.ndarray, level: float = 0.95, se_test: float = 0.0) -> tuple[float, float]:
    """Compute the interval of the mean of [n ≥ 2] differences; width 0 without any variance."""
    mean, sd = float(d.mean()), float(d.std(ddof=1))
    half = float(_half_width(sd if sd > 1e-12 else 0.0, len(d), level, se_test))
    return mean - half, mean + half


def _bca_interval(d: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Compute the BCa bootstrap interval of the mean, 9,999 resamples; width 0 without variance."""
    if d.std() <= 1e-12:
        return float(d.mean()), float(d.mean())
    result = stats.bootstrap(
        (d,),
        np.mean,
        confidence_level=level,
        method="BCa",
        n_resamples=9999,
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def sign_flip_p(d: np.ndarray) -> float:
    """Compute the two-sided p of the sign-flip test: exact up to 16 trials, never below 2^(1−n)."""
    n = len(d)
    observed = abs(d.sum()) - 1e-9 * np.abs(d).sum()  # rounding of the sum must not break ties
    if n <= _EXACT_LIMIT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
        return float((np.abs(signs @ d) >= observed).mean())
    signs = np.random.default_rng(0).choice((1.0, -1.0), (_PATTERNS, n))
    return float(((np.abs(signs @ d) >= observed).sum() + 1) / (_PATTERNS + 1))


def power(n: int, gain: float, sd: float, level: float = 0.95, se_test: float = 0.0) -> float:
    """Compute how often the interval of n trials excludes 0 if the true mean difference is `gain`.

    `sd` is the standard deviation of the differences. The noncentral t distribution is integrated
    as a mean of normal ones over the sample standard deviation (Owen 1965); scipy's own fails in
    the far tail.
    """
    quantiles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    sample_sds = sd * np.sqrt(stats.chi2.ppf(quantiles, n - 1) / (n - 1))
    halves = _half_width(sample_sds, n, level, se_test)
    error = math.hypot(sd / math.sqrt(n), se_test)
    above, below = stats.norm.sf((halves - gain) / error), stats.norm.cdf((-halves - gain) / error)
    return float((above + below).mean())


def trials_needed(gain: float, sd: float, wanted: float = 0.8, se_test: float = 0.0) -> int | None:
    """Find the fewest trials with power `wanted` for a true `gain`; None above `MOST_TRIALS`."""
    if sd <= 1e-12 and not se_test:
        return 2
    index = bisect.bisect_left(
        range(2, MOST_TRIALS + 1), wanted, key=lambda n: power(n, gain, sd, se_test=se_test)
    )
    return index + 2 if index + 2 <= MOST_TRIALS else None


def detectable_gain(n: int, sd: float, wanted: float = 0.8, se_test: float = 0.0) -> float:
    """Find the smallest true gain that n ≥ 2 trials detect with power `wanted`."""
    unit = max(sd, se_test)
    if unit <= 1e-12:
        return 0.0
    return unit * float(
        optimize.brentq(
            lambda effect: power(n, effect, sd / unit, se_test=se_test / unit) - wanted, 0.0, 100.0
        )
    )


def holm(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """Return the contrasts with p corrected by Holm (1979); those without p are not counted."""
    tested = sorted((c.p, i) for i, c in enumerate(contrasts) if c.p is not None)
    corrected = list(contrasts)
    running = 0.0
    for rank, (p, i) in enumerate(tested):
        running = max(running, min(1.0, p * (len(tested) - rank)))
        corrected[i] = replace(contrasts[i], p_holm=running)
    return corrected


def mean_interval(
    values: Sequence[float], level: float = 0.95, se_test: float = 0.0
) -> tuple[float, float, float]:
    """Compute (mean, low, high) of scores that are not paired; NaN bounds with fewer than two."""
    v = np.asarray([x for x in values if math.isfinite(x)], float)
    if len(v) < 2:
        return float(v[0]) if len(v) else math.nan, math.nan, math.nan
    return float(v.mean()), *t_interval(v, level, se_test)
