"""Which arm an arm is measured against, as the results have it."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from augment.experiment.arms import ARMS, DECISIVE
from augment.experiment.results_table import ERROR_COLUMNS
from augment.metrics.intervals import UnitVariance, look_alpha
from augment.metrics.paired import Contrast, paired_contrast


def baseline_of(arm: str, block: pd.DataFrame) -> str | None:
    """Return the arm that `arm` is measured against, None if it is a baseline itself.

    The decisive arm is measured against the better of the arms without synthetic images: against
    `real` where `real+classic` is surely worse, its whole interval below 0. `block` holds the rows
    of one data set and amount, with their `score` (NaN where unfinished) and ERROR_COLUMNS.
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
    return paired_contrast(
        scores.tolist(),
        baseline.set_index("seed")["score"].reindex(scores.index).tolist(),
        units=units_of(rows),
        alpha=alpha_of(rows),
    )


def units_of(rows: pd.DataFrame) -> UnitVariance | None:
    """Read what the test units add to the error of an arm, the same in all of its trials.

    None where it is not known. Tables of older versions tell the standard error alone.
    """
    se, sd, number = (float(rows[c].max()) for c in ERROR_COLUMNS[:3])
    if number == 1:
        return UnitVariance(1.0)
    if math.isnan(se):
        return None
    if math.isnan(number):
        return UnitVariance(se=se)
    return UnitVariance(number, se, sd)


def alpha_of(rows: pd.DataFrame, *, further: int = 0) -> float:
    """Read at which α the intervals of a table are taken, or would be after `further` looks.

    Tables that do not say how often their growing trials were looked at count as looked at once.
    """
    looks = float(rows["looks"].max())
    first = 1 if math.isnan(looks) else int(looks)
    return look_alpha(first + further, until=bool(rows["until"].notna().any()))


def missing_baseline(line: dict[str, Any], summary: pd.DataFrame) -> str:
    """Say that the arm which a line is measured against was not run; empty if it was, or none."""
    against = ARMS[line["arm"]].against
    same = (summary["dataset"] == line["dataset"]) & (summary["asked"] == line["asked"])
    if line["against"] or not against or against in set(summary.loc[same, "arm"]):
        return ""
    return f"{against} is not among --arm: add it to see a gain."


def baseline_notes(summary: pd.DataFrame, answered: set[str]) -> list[str]:
    """Say which arms with synthetic images, but those answered, lack what they are measured by."""
    others = [line for line in summary.to_dict("records") if line["arm"] not in answered]
    missing = {
        line["arm"]: missing_baseline(line, summary)
        for line in others
        if ARMS[line["arm"]].synthetic
    }
    return [f"{arm}: {said}" for arm, said in missing.items() if said]


def unit_columns(contrast: Contrast) -> dict[str, float | None]:
    """Return what `units_of` reads as columns; of a single unit its number alone."""
    units = contrast.units
    known = (units.se, units.sd_interaction) if units and not units.single else (None, None)
    number = units.number if units and math.isfinite(units.number) else None
    return dict(zip(ERROR_COLUMNS[:3], (*known, number), strict=True))
