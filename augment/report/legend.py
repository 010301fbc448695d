"""What a reader of the table must know: its columns, its marks, what no interval covers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from augment.experiment.arms import ARMS
from augment.experiment.cells import DISJOINT, WHOLE
from augment.metrics.intervals import LEAST_TRIALS
from augment.report.baselines import alpha_of, baseline_notes
from augment.report.measured import the_measure
from augment.report.verdicts import TABLE_KEYS, count_comparisons, is_uncorrected, verdict_lines


def interval_description(summary: pd.DataFrame) -> str:
    """Describe what the intervals of a table allow for."""
    if summary["se_test_images"].notna().any():
        return (
            "95 % interval for new trials and for new test images of the same kind (two-way "
            "analysis of variance, trials × test images)"
        )
    return "95 % interval for new trials on the same test images (Student's t)"


def legend(summary: pd.DataFrame) -> list[str]:
    """Explain the marks of a table and what none of its intervals covers."""
    notes, lines = [], summary.to_dict("records")
    if any(is_uncorrected(line, summary) for line in lines):
        notes.append(
            "A question mark behind helps or hurts: the interval of this row excludes 0, but this "
            f"table makes {count_comparisons(summary)} comparisons, and among so many one "
            "such interval can be chance (p above 0.05 with Holm's correction)."
        )
    if any(arm_mark(line) for line in lines):
        notes.append(
            "† also uses the rest of the pool, without its labels; ‡ uses what was learnt on other "
            "images (weights, or AutoAugment's policy), so it is not a closed set; every other arm "
            "uses the labelled images alone."
        )
    notes += baseline_notes(summary, {line["arm"] for line, _ in verdict_lines(summary)})
    notes += _classic_choices(summary)
    if (looks := summary["looks"].max()) > 1:
        notes.append(
            f"This is look {looks:.0f} at a growing number of trials. Who adds trials until "
            "something shows finds too much by chance; so each interval is taken at "
            f"{100 * (1 - alpha_of(summary)):.4g} %, which keeps all looks together near "
            "95 %, and p is raised alike."
        )
    elif (until := summary["until"].max()) > 0:
        notes.append(
            f"Trials were added until half the interval was {until:g} points wide, or nothing "
            "more could make it so. Trials that are alike by chance end that too early; so each "
            f"interval is taken at {100 * (1 - alpha_of(summary)):.4g} %, to cover the truth in at "
            "least 94 %."
        )
    if summary["test_units"].eq(1).any():
        notes.append(
            "All test images are of one group (a patient, say): no interval covers other groups, "
            "and a verdict holds on this one group alone. Test on several to say more."
        )
    if summary["asked"].eq(WHOLE).any():
        notes.append(
            "Where the whole pool is labelled, trials differ in their random numbers alone: no "
            "interval covers the choice of the labelled images. --frac 0.8 covers a part of it, "
            "--subsets disjoint all of it."
        )
    if summary["asked"].str.endswith(DISJOINT).any():
        notes.append(
            "No two trials share a labelled image: intervals cover the choice of the labelled "
            "images too."
        )
    if summary["preset"].eq("smoke").any():
        notes.append(
            "Preset smoke trains for seconds, to check that everything works: it says nothing "
            "about the quality of a generator."
        )
    return notes


def _classic_choices(summary: pd.DataFrame) -> list[str]:
    """Say which classic transforms were chosen in how many trials, by data set and amount."""
    choices = summary.loc[summary["classic_chosen"] != "", [*TABLE_KEYS, "classic_chosen"]]
    several = summary[TABLE_KEYS].drop_duplicates().shape[0] > 1
    return [
        "Classic transforms, chosen in each trial by cross-validation on its labelled images "
        f"(number of trials){f' of {dataset}, {asked}' if several else ''}: {chosen}."
        for dataset, asked, chosen in choices.drop_duplicates().itertuples(index=False)
    ]


def arm_mark(line: dict[str, Any]) -> str:
    """Mark what an arm uses beyond the labelled images: † unlabelled ones, ‡ learnt elsewhere."""
    marks = ("†" if ARMS[line["arm"]].unlabelled else "") + ("‡" if not line["closed_set"] else "")
    return f" {marks}" if marks else ""


def table_foot(summary: pd.DataFrame) -> str:
    """Explain the columns of the table in one paragraph."""
    return (
        f"{the_measure(summary['measure']).meaning} Gain: mean of the paired differences to the "
        "arm in the column *against*, in percentage points. Interval: "
        f"{interval_description(summary)}; from 10 trials on the BCa bootstrap interval over "
        "trials is given too. Verdict: *helps* or *hurts* if the interval excludes 0, otherwise "
        f"*can't tell*; none below {LEAST_TRIALS} trials. p: two-sided, of the same t statistic as "
        f"the interval, with Holm's correction for all comparisons of this table "
        f"({count_comparisons(summary)})."
    )
