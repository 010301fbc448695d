"""What a gain is worth in labelled images, read off the learning curve of the baseline.

The curve is a power law, error = a · n^(−b), as learning curves are over wide ranges (Hestness et
al. 2017); it is fitted to the mean errors of a few amounts of labelled images in the same trials
and passes through the one at all of them, so that no gain is worth no image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

FARTHEST, FEWEST = 4.0, 0.5  # times the labelled images; nothing is said of more, or of less
_FLATTEST = 0.05  # exponent, below which a curve does not tell amounts apart
_RESAMPLES = 2000


@dataclass(frozen=True)
class Equivalent:
    """How many times the labelled images the baseline would need to be as good."""

    n: int  # labelled images
    ratio: float  # inf beyond FARTHEST, nan of a flat curve
    low: float  # 95 % interval over trials
    high: float
    exponent: float  # b of the curve

    @property
    def words(self) -> str:
        """The number of images in words, with its interval."""
        if math.isnan(self.ratio):
            return "beyond what this curve can say: more labelled images do not lower its error"
        text = f"{self._change(self.ratio)} labelled images"
        if not FEWEST <= self.ratio <= FARTHEST:
            text = f"beyond what this curve can say: {text}"
        low, high = self._change(self.low), self._change(self.high)
        return f"{text} (95 % interval over trials: {low} to {high})"

    def _change(self, ratio: float) -> str:
        """Write how many more or fewer images a ratio is, up to the ends of the curve."""
        over = "" if FEWEST <= ratio <= FARTHEST else "over "
        change = round(self.n * (min(max(ratio, FEWEST), FARTHEST) - 1))
        return f"{over}{abs(change)} {'more' if change >= 0 else 'fewer'}"


def equivalent_images(
    sizes: list[int], errors: np.ndarray, target: np.ndarray, least: float
) -> Equivalent:
    """Find at which amount of labelled images the baseline would have the error `target`.

    `sizes` [m ≥ 2] are amounts of labelled images, ascending, `errors` [trials, m] those of the
    baseline, `target` [trials] that of another way at the last amount. An error is never below
    `least`, what the test set can tell from 0. The interval is a percentile bootstrap over trials.
    """
    rng = np.random.default_rng(0)
    trials = len(target)
    drawn = rng.integers(0, trials, (_RESAMPLES, trials))
    ratios = [_ratio(sizes, errors[rows], target[rows], least) for rows in drawn]
    low, high = np.quantile([ratio for ratio, _ in ratios], (0.025, 0.975), method="inverted_cdf")
    ratio, exponent = _ratio(sizes, errors, target, least)
    flat = exponent < _FLATTEST
    return Equivalent(sizes[-1], math.nan if flat else ratio, float(low), float(high), exponent)


def _ratio(
    sizes: list[int], errors: np.ndarray, target: np.ndarray, least: float
) -> tuple[float, float]:
    """Return the ratio of amounts, and the exponent of the curve."""
    means = np.maximum(errors.mean(0), least)
    exponent = -float(np.polyfit(np.log(sizes), np.log(means), 1)[0])
    gain = math.log(means[-1] / max(float(target.mean()), least))  # in log error
    # a curve that is flat within this draw: any gain is beyond it, any loss is all of the images
    power = gain / max(exponent, 1e-9)
    if power > math.log(FARTHEST):
        return math.inf, exponent
    return math.exp(power), exponent
