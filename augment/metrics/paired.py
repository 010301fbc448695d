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

BOOTSTRAP_FROM = 10  # pairs
EXACT_LIMIT = 16  # pairs up to which all 2^n sign patterns are counted
RANDOM_PATTERNS = 50_000  # sign patterns drawn beyond that
MAX_PAIRS = 1000  # looked through for the power line
QUANTILES = 2000  # of the sample standard deviation, in the integral of the power
DECIMALS = 12  # scores that agree to here are equal: 0.3 - (0.1 + 0.2) is no difference
NO_SPREAD = 1e-12  # a standard deviation up to here is 0 but for rounding


@dataclass(frozen=True)
class Contrast:
    """A paired comparison; differences in the unit of the scores (fractions)."""

    n: int
    mean: float
    low: float | None = None  # 95 % interval; None with one trial
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    bca: tuple[float, float] | None = None  # bootstrap interval beside it, from ten pairs on
    missing: int = 0  # trials in which one of the two cells failed
    sd: float | None = None  # of the differences, ddof = 1; None with one trial
    se_images: float | None = None  # what the interval allows for other test images; None: nothing

    @property
    def verdict(self) -> str:
        """*helps* or *hurts* when the interval excludes 0; p, corrected or not, is beside it."""
        if self.n == 0:
            return "no pair"
        if self.low is None or self.high is None:
            return "one trial"
        if self.low > 0:
            return "helps"
        return "hurts" if self.high < 0 else "can't tell"


def compare_pairs(
    arm: Sequence[float],
    baseline: Sequence[float],
    level: float = 0.95,
    se_images: float | None = None,
) -> Contrast:
    """Contrast paired scores; a pair with a missing value (NaN) is left out and counted.

    `se_images` is what `image_error` finds for these pairs; None where it is not known. Raises
    ValueError if the numbers of scores differ.
    """
    if len(arm) != len(baseline):
        raise ValueError(f"{len(arm)} scores cannot be paired with {len(baseline)}")
    differences = np.round(np.asarray(arm, float) - np.asarray(baseline, float), DECIMALS)
    d = differences[np.isfinite(differences)]
    n, missing = len(d), int((~np.isfinite(differences)).sum())
    if n < 2:
        return Contrast(n, float(d.mean()) if n else math.nan, missing=missing)
    low, high = t_interval(d, level, se_images or 0.0)
    bca = _bca_interval(d, level) if n >= BOOTSTRAP_FROM else None
    sd = float(d.std(ddof=1))
    p = sign_flip_p(d)
    return Contrast(n, float(d.mean()), low, high, p, None, bca, missing, sd, se_images)


def image_error(differences: np.ndarray) -> float:
    """Estimate the standard error of the mean of [trials ≥ 2, units] due to the units tested.

    A unit is what is drawn together: an image, or a patient's. Its entry is how much it adds to
    the trial's difference, scaled so that a row's mean is that difference. From the mean squares of
    trials × units without repetition: (MS_units − MS_rest) / (trials · units), 0 if negative.
    """
    trials, units = differences.shape
    if units < 2:
        return 0.0
    unit_means = differences.mean(0)  # [units]
    rest = differences - differences.mean(1, keepdims=True) - unit_means + differences.mean()
    ms_units = trials * unit_means.var(ddof=1)  # mean squares
    ms_rest = (rest**2).sum() / ((trials - 1) * (units - 1))
    return math.sqrt(max(0.0, float(ms_units - ms_rest)) / (trials * units))


def _half_width(sd: Any, n: int, level: float = 0.95, se_images: float = 0.0) -> Any:
    """Compute half the width of the interval of n ≥ 2 differences with this standard deviation.

    `sd` and the result are a number, or arrays. Degrees of freedom with images: Hillis 2007.
    """
    quantile, var_trials = 0.5 + level / 2, np.square(sd) / n
    over_trials = stats.t.ppf(quantile, n - 1) * np.sqrt(var_trials)
    if not se_images:
        return over_trials
    var_total = var_trials + se_images**2
    with np.errstate(divide="ignore"):  # without spread: as many degrees as the normal has
        degrees = (n - 1) * np.square(var_total / var_trials)
    return np.maximum(over_trials, stats.t.ppf(quantile, degrees) * np.sqrt(var_total))


def t_interval(d: np.ndarray, level: float = 0.95, se_images: float = 0.0) -> tuple[float, float]:
    """Compute the interval of the mean of [n ≥ 2] differences.

    Its width is 0 if they do not vary and nothing is added for the test images.
    """
    mean, sd = float(d.mean()), float(d.std(ddof=1))
    half = float(_half_width(sd if sd > NO_SPREAD else 0.0, len(d), level, se_images))
    return mean - half, mean + half


def _bca_interval(d: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Compute the bootstrap interval of the mean, 9,999 resamples; zero spread gives width 0."""
    if d.std() <= NO_SPREAD:
        return float(d.mean()), float(d.mean())
    result = stats.bootstrap(
        (d,),
        np.mean,
        confidence_level=level,
        method="BCa",
        n_resamples=9999,
        rng=np.random.default_rng(0),  # a report written twice has the same figures
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def sign_flip_p(d: np.ndarray) -> float:
    """Compute the two-sided p of the sign-flip test: exact up to 16 pairs, at least 2^(1−n)."""
    n = len(d)
    observed = abs(d.sum()) - 1e-9 * np.abs(d).sum()  # sums in another order are ties all the same
    if n <= EXACT_LIMIT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))  # [2^n, n]
        return float((np.abs(signs @ d) >= observed).mean())
    signs = np.random.default_rng(0).choice((1.0, -1.0), (RANDOM_PATTERNS, n))
    # + 1: the pattern observed is one of them, and p is never 0 (Phipson & Smyth 2010)
    return float(((np.abs(signs @ d) >= observed).sum() + 1) / (RANDOM_PATTERNS + 1))


def power(n: int, gain: float, sd: float, level: float = 0.95, se_images: float = 0.0) -> float:
    """Compute how often the interval of n pairs excludes 0 at a true mean `gain` and spread `sd`.

    The noncentral t distribution as a mean of normal ones over the sample spread (Owen 1965);
    scipy's own fails in the far tail.
    """
    quantiles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    sample_sds = sd * np.sqrt(stats.chi2.ppf(quantiles, n - 1) / (n - 1))
    halves = _half_width(sample_sds, n, level, se_images)
    error = math.hypot(sd / math.sqrt(n), se_images)
    above, below = stats.norm.sf((halves - gain) / error), stats.norm.cdf((-halves - gain) / error)
    return float((above + below).mean())


def pairs_needed(
    gain: float, sd: float, target_power: float = 0.8, se_images: float = 0.0
) -> int | None:
    """Find the fewest pairs that detect a true `gain` with this power; None above 1,000."""
    if sd <= NO_SPREAD and not se_images:
        return 2
    candidates = range(2, MAX_PAIRS + 1)  # the power rises with n
    index = bisect.bisect_left(
        candidates, target_power, key=lambda n: power(n, gain, sd, se_images=se_images)
    )
    return candidates[index] if index < len(candidates) else None


def detectable_gain(n: int, sd: float, target_power: float = 0.8, se_images: float = 0.0) -> float:
    """Find the least true gain that n ≥ 2 pairs detect with this power."""
    unit = max(sd, se_images)  # so that the root lies between 0 and 100 of them
    if unit <= NO_SPREAD:
        return 0.0
    return unit * float(
        optimize.brentq(
            lambda effect: power(n, effect, sd / unit, se_images=se_images / unit) - target_power,
            0.0,
            100.0,
        )
    )


def holm(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """Correct p for the number of contrasts by Holm (1979); those without p stay without."""
    ordered = sorted((c.p, i) for i, c in enumerate(contrasts) if c.p is not None)
    corrected = list(contrasts)
    running = 0.0
    for rank, (p, i) in enumerate(ordered):
        # never below the one before it: a larger p must not be corrected to a smaller one
        running = max(running, min(1.0, p * (len(ordered) - rank)))
        corrected[i] = replace(contrasts[i], p_holm=running)
    return corrected


def mean_interval(
    values: Sequence[float], level: float = 0.95, se_images: float = 0.0
) -> tuple[float, float, float]:
    """Compute mean and interval of single scores, for plots: (mean, low, high); NaN for one."""
    v = np.asarray([x for x in values if math.isfinite(x)], float)
    if len(v) < 2:
        return float(v[0]) if len(v) else math.nan, math.nan, math.nan
    return float(v.mean()), *t_interval(v, level, se_images)
