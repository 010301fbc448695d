"""How many trials would show a gain: the power of an interval, and how uncertain that is."""

from __future__ import annotations

import bisect
import math

import numpy as np
from scipy import optimize, stats

from augment.metrics.intervals import LEAST_TRIALS, LEVEL, UnitVariance, half_width

MOST_TRIALS = 1000  # the search for a number of trials ends here
POWER = 0.8
SD_LEVEL = 0.8  # of the interval of the standard deviation that a plan covers
_QUANTILES = 2000  # of the sample standard deviation, in the integral of the power


def power(
    n: int, gain: float, sd: float, level: float = LEVEL, units: UnitVariance | None = None
) -> float:
    """Compute how often the interval of n trials excludes 0 if the true mean difference is `gain`.

    `sd` is the standard deviation of the differences. The noncentral t distribution is integrated
    as a mean of normal ones over the sample standard deviation (Owen 1965); scipy's own fails in
    the far tail.
    """
    units = units or UnitVariance()
    sd = max(sd, units.sd_interaction)
    quantiles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    sample_sds = sd * np.sqrt(stats.chi2.ppf(quantiles, n - 1) / (n - 1))
    halves = half_width(sample_sds, n, level, units)
    error = math.hypot(sd / math.sqrt(n), units.se)
    above, below = stats.norm.sf((halves - gain) / error), stats.norm.cdf((-halves - gain) / error)
    return float((above + below).mean())


def trials_needed(
    gain: float, sd: float, level: float = LEVEL, units: UnitVariance | None = None
) -> int | None:
    """Find the fewest trials with a power of 80 % for a true `gain`; None above `MOST_TRIALS`."""
    index = bisect.bisect_left(
        range(LEAST_TRIALS, MOST_TRIALS + 1), POWER, key=lambda n: power(n, gain, sd, level, units)
    )
    return index + LEAST_TRIALS if index + LEAST_TRIALS <= MOST_TRIALS else None


def trials_for_width(
    width: float, sd: float, level: float = LEVEL, units: UnitVariance | None = None
) -> int | None:
    """Find the fewest trials whose interval has half the width `width`; None above `MOST_TRIALS`.

    With the variance that is given; the error that is due to the test units stays, however many
    trials there are.
    """
    index = bisect.bisect_left(
        range(LEAST_TRIALS, MOST_TRIALS + 1),
        -width,
        key=lambda n: -float(half_width(sd, n, level, units)),
    )
    return index + LEAST_TRIALS if index + LEAST_TRIALS <= MOST_TRIALS else None


def detectable_gain(
    n: int, sd: float, level: float = LEVEL, units: UnitVariance | None = None
) -> float:
    """Find the smallest true gain that n ≥ 2 trials detect with a power of 80 %."""
    units = units or UnitVariance()
    scale = max(sd, units.se, units.sd_interaction)
    rescaled = units.scaled(1 / scale)
    return scale * float(
        optimize.brentq(
            lambda effect: power(n, effect, sd / scale, level, rescaled) - POWER, 0.0, 1000.0
        )
    )


def sd_range(n: int, sd: float) -> tuple[float, float]:
    """Compute the 80 % interval of the true standard deviation from that of n differences.

    By the χ² distribution of the variance of normal differences.
    """
    tails = 0.5 + SD_LEVEL / 2, 0.5 - SD_LEVEL / 2
    low, high = (sd * math.sqrt((n - 1) / stats.chi2.ppf(tail, n - 1)) for tail in tails)
    return low, high
