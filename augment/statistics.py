"""Paired differences: how much, how sure, and what may be said.

d_i = score of the arm − score of its baseline in trial i. The interval is Student's t; from n = 10
on the bias-corrected accelerated bootstrap (Efron 1987) stands beside it, not in its place: at
n = 10 to 12 it covered normal data about 90 % of the time, t about 95 % (600 simulations each).
p is the exact two-sided sign-flip permutation test, corrected by Holm (1979) over a table.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, stats

BOOTSTRAP_FROM = 10  # pairs
EXACT_LIMIT = 16  # pairs up to which all 2^n sign patterns are counted
PATTERNS = 50_000  # random sign patterns beyond that
MOST_PAIRS = 1000  # looked through for the power line
QUANTILES = 2000  # of the sample spread, in the integral of the power
DECIMALS = 12  # scores that agree to here are equal: 0.3 - (0.1 + 0.2) is no difference


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

    @property
    def verdict(self) -> str:
        """*helps* / *hurts* when the interval excludes 0; p, corrected or not, stands beside it."""
        if self.n == 0:
            return "no pair"
        if self.low is None or self.high is None:
            return "one trial"
        if self.low > 0:
            return "helps"
        return "hurts" if self.high < 0 else "can't tell"


def compare(arm: Sequence[float], baseline: Sequence[float], level: float = 0.95) -> Contrast:
    """Contrast of paired scores; a pair with a missing value (NaN) is left out and counted."""
    if len(arm) != len(baseline):
        raise ValueError(f"{len(arm)} scores cannot be paired with {len(baseline)}")
    differences = np.round(np.asarray(arm, float) - np.asarray(baseline, float), DECIMALS)
    d = differences[np.isfinite(differences)]
    n, missing = len(d), int((~np.isfinite(differences)).sum())
    if n < 2:
        return Contrast(n, float(d.mean()) if n else math.nan, missing=missing)
    low, high = t_interval(d, level)
    bca = bca_interval(d, level) if n >= BOOTSTRAP_FROM else None
    sd = float(d.std(ddof=1))
    return Contrast(n, float(d.mean()), low, high, sign_flip_p(d), None, bca, missing, sd)


def t_interval(d: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of [n ≥ 2] differences; zero spread gives width 0."""
    mean, spread = float(d.mean()), float(d.std(ddof=1))
    if spread <= 1e-12:  # rounding of equal differences
        return mean, mean
    half = float(stats.t.ppf(0.5 + level / 2, len(d) - 1)) * spread / math.sqrt(len(d))
    return mean - half, mean + half


def bca_interval(d: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Bootstrap interval of the mean, 9,999 resamples; zero spread gives width 0."""
    if d.std() <= 1e-12:
        return float(d.mean()), float(d.mean())
    result = stats.bootstrap(
        (d,), np.mean, confidence_level=level, method="BCa", n_resamples=9999,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def sign_flip_p(d: np.ndarray) -> float:
    """Two-sided p of the sign-flip test: exact up to 16 pairs, never below 2^(1−n)."""
    n = len(d)
    observed = abs(d.sum()) - 1e-9 * np.abs(d).sum()  # sums in another order are ties all the same
    if n <= EXACT_LIMIT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
        return float((np.abs(signs @ d) >= observed).mean())
    signs = np.random.default_rng(0).choice((1.0, -1.0), (PATTERNS, n))
    return float(((np.abs(signs @ d) >= observed).sum() + 1) / (PATTERNS + 1))


def power(n: int, gain: float, sd: float, level: float = 0.95) -> float:
    """How often the t interval of n pairs excludes 0 if the true mean is `gain`, the spread `sd`.

    The noncentral t distribution as a mean of normal ones over the sample spread (Owen 1965);
    scipy's own fails in the far tail.
    """
    critical, shift = stats.t.ppf(0.5 + level / 2, n - 1), gain / sd * math.sqrt(n)
    quantiles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    edge = critical * np.sqrt(stats.chi2.ppf(quantiles, n - 1) / (n - 1))
    return float((stats.norm.sf(edge - shift) + stats.norm.cdf(-edge - shift)).mean())


def pairs_for(gain: float, sd: float, wanted: float = 0.8) -> int | None:
    """The fewest pairs that show a true `gain` in `wanted` of all experiments; None above 1,000."""
    if sd <= 1e-12:
        return 2
    found = bisect.bisect_left(range(2, MOST_PAIRS + 1), wanted, key=lambda n: power(n, gain, sd))
    return found + 2 if found + 2 <= MOST_PAIRS else None


def gain_shown(n: int, sd: float, wanted: float = 0.8) -> float:
    """The least true gain that n ≥ 2 pairs show in `wanted` of all experiments."""
    if sd <= 1e-12:
        return 0.0
    return sd * float(optimize.brentq(lambda effect: power(n, effect, 1.0) - wanted, 0.0, 100.0))


def holm(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """The same contrasts with p corrected for their number (those without p stay without)."""
    tested = sorted((c.p, i) for i, c in enumerate(contrasts) if c.p is not None)
    corrected = list(contrasts)
    running = 0.0
    for rank, (p, i) in enumerate(tested):
        running = max(running, min(1.0, p * (len(tested) - rank)))
        corrected[i] = replace(contrasts[i], p_holm=running)
    return corrected


def spread_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean and t interval of single scores, for plots: (mean, low, high); NaN bounds for one."""
    v = np.asarray([x for x in values if math.isfinite(x)], float)
    if len(v) < 2:
        return float(v[0]) if len(v) else math.nan, math.nan, math.nan
    return float(v.mean()), *t_interval(v, level)
