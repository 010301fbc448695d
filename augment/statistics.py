"""Paired differences: how much, how sure, and what may be said.

d_i = score of the arm − score of its baseline in trial i. The interval is Student's t for n < 10
and bias-corrected accelerated bootstrap (Efron 1987) from 10 on; p is the exact two-sided
sign-flip permutation test; tables with several contrasts are corrected by Holm (1979).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

EXACT_LIMIT = 16  # pairs up to which all 2^n sign patterns are counted
PATTERNS = 50_000  # random sign patterns beyond that


@dataclass(frozen=True)
class Contrast:
    """A paired comparison; differences in the unit of the scores (fractions)."""

    n: int
    mean: float
    low: float | None = None  # 95 % interval; None with one trial
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    missing: int = 0  # trials in which one of the two cells failed

    @property
    def verdict(self) -> str:
        """*helps* / *hurts* when the interval excludes 0 (and Holm's p agrees, if it was made)."""
        if self.n == 0:
            return "no pair"
        if self.low is None or self.high is None:
            return "one trial"
        if self.low > 0:
            return "helps"
        return "hurts" if self.high < 0 else "can't tell"


def compare(arm: Sequence[float], baseline: Sequence[float], level: float = 0.95) -> Contrast:
    """Contrast of paired scores; a pair with a missing value (NaN) is left out and counted."""
    differences = np.asarray(arm, float) - np.asarray(baseline, float)
    d = differences[np.isfinite(differences)]
    n, missing = len(d), int((~np.isfinite(differences)).sum())
    if n < 2:
        return Contrast(n, float(d.mean()) if n else math.nan, missing=missing)
    low, high = interval(d, level)
    return Contrast(n, float(d.mean()), low, high, sign_flip_p(d), missing=missing)


def interval(d: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """95 % interval of the mean of [n ≥ 2] differences; zero spread gives width 0."""
    mean, spread = float(d.mean()), float(d.std(ddof=1))
    if spread <= 1e-12:
        return mean, mean
    if len(d) < 10:
        half = float(stats.t.ppf(0.5 + level / 2, len(d) - 1)) * spread / math.sqrt(len(d))
        return mean - half, mean + half
    result = stats.bootstrap(
        (d,), np.mean, confidence_level=level, method="BCa", n_resamples=9999,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def sign_flip_p(d: np.ndarray) -> float:
    """Two-sided p of the sign-flip test: exact up to 16 pairs, never below 2^(1−n)."""
    n, observed = len(d), abs(d.sum())
    if n <= EXACT_LIMIT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
        return float((np.abs(signs @ d) >= observed - 1e-12).mean())
    signs = np.random.default_rng(0).choice((1.0, -1.0), (PATTERNS, n))
    return float(((np.abs(signs @ d) >= observed - 1e-12).sum() + 1) / (PATTERNS + 1))


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
    if len(v) == 0:
        return math.nan, math.nan, math.nan
    if len(v) == 1:
        return float(v[0]), math.nan, math.nan
    half = float(stats.t.ppf(0.5 + level / 2, len(v) - 1)) * v.std(ddof=1) / math.sqrt(len(v))
    return float(v.mean()), float(v.mean() - half), float(v.mean() + half)
