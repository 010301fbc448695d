"""Which arm an arm is measured against, as the results have it."""

from __future__ import annotations

import math

import pandas as pd

from augment.experiment.arms import ARMS, DECISIVE
from augment.metrics.paired import Contrast, paired_contrast


def baseline_of(arm: str, block: pd.DataFrame) -> str | None:
    """Return the arm that `arm` is measured against, None if it is a baseline itself.

    The decisive arm is measured against the better of the arms without synthetic images: against
    `real` where `real+classic` is surely worse, its whole interval below 0. `block` holds the rows
    of one data set and amount, with their `score` (NaN where unfinished) and `se_test_images`.
    """
    against = ARMS[arm].against
    plain = ARMS[against].against if arm == DECISIVE and against else None
    if against and plain and {against, plain} <= set(block["arm"]):
        rows, plain_rows = (block[block["arm"] == name] for name in (against, plain))
        if contrast_of(rows, plain_rows).verdict == "hurts":
            return plain
    return against


def contrast_of(rows: pd.DataFrame, baseline: pd.DataFrame) -> Contrast:
    """Compare an arm with its baseline, paired over seeds; columns as in `baseline_of`."""
    scores = rows.set_index("seed")["score"]
    se_test = float(rows["se_test_images"].max())  # the same in all trials
    return paired_contrast(
        scores.tolist(),
        baseline.set_index("seed")["score"].reindex(scores.index).tolist(),
        se_test=None if math.isnan(se_test) else se_test,
    )
