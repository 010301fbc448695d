"""The words beside the figures: verdicts, power, and what a reader of the table must know."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from augment.experiment.arms import ARMS, DECISIVE
from augment.experiment.cells import WHOLE
from augment.metrics.paired import MOST_TRIALS, detectable_gain, trials_needed
from augment.report.format import percent, probability

_LEVEL = 0.05  # of p with Holm's correction, above which a verdict is marked as uncorrected


def verdict_words(line: dict[str, Any], summary: pd.DataFrame) -> str:
    """Return the verdict of a line, marked where it does not survive Holm's correction."""
    return line["verdict"] + (" (uncorrected)" if is_uncorrected(line, summary) else "")


def is_uncorrected(line: dict[str, Any], summary: pd.DataFrame) -> bool:
    """Tell whether an interval excludes 0 while p, corrected for the whole table, does not."""
    if line["verdict"] not in ("helps", "hurts") or _comparisons(summary) < 2:
        return False
    return bool(line["p_holm"] > _LEVEL)


def verdict_sentences(summary: pd.DataFrame) -> list[str]:
    """Write one plain sentence for each decisive contrast."""
    return [sentence for _, sentence in verdict_lines(summary)]


def verdict_lines(summary: pd.DataFrame) -> list[tuple[dict[str, Any], str]]:
    """Return (line of the summary, its sentence) for each decisive contrast."""
    decisive = summary[summary["arm"] == DECISIVE].to_dict("records")
    return [(line, _verdict_sentence(line, summary)) for line in decisive]


def _verdict_sentence(line: dict[str, Any], summary: pd.DataFrame) -> str:
    """Write who was compared, the verdict, the gain with its interval, and the power."""
    who = f"{line['generator']} on {line['dataset']} ({line['n_labelled']} labelled images)"
    usual = line["against"] in ("", ARMS[DECISIVE].against)
    baseline = (
        "classic transforms alone"
        if usual
        else f"{line['against']} ({ARMS[DECISIVE].against} is surely worse than that here)"
    )
    gain = f"{percent(line['difference'], True)} points against {baseline}"
    if not line["verdict"] or line["pairs"] == 0:
        sentence = (
            f"{who}: no trial finished both {DECISIVE} and {ARMS[DECISIVE].against}, so there is "
            "nothing to compare."
        )
    elif line["verdict"] == "one trial":
        sentence = f"{who}: {gain} in one trial; an interval needs at least two trials (--seeds 2)."
    else:
        sentence = (
            f"{who}: {verdict_words(line, summary)}: {gain}, 95 % interval "
            f"{percent(line['low'], True)} to {percent(line['high'], True)}, "
            f"n = {line['pairs']:.0f} trials. {power_line(line)}"
        )
        if is_uncorrected(line, summary):
            sentence += (
                f" Uncorrected: with Holm's correction for the {_comparisons(summary)} "
                f"comparisons of this table p = {probability(line['p_holm'])}."
            )
    if line["chosen"]:
        sentence += f" Chosen on validation (number of trials): {line['chosen']}."
    return sentence


def power_line(line: dict[str, Any], gain: float = 0.005) -> str:
    """Write which gain the trials of a line detect, and how many trials would detect `gain`.

    Both at a power of 80 %, with the variance that the line has.
    """
    n, sd, se_test = int(line["pairs"]), line["sd_difference"], line["se_test_images"]
    se_test = 0.0 if math.isnan(se_test) else se_test
    needed = trials_needed(gain, sd, se_test=se_test)
    least = detectable_gain(n, sd, se_test=se_test)
    detected = "no possible gain" if least >= 1 else f"a gain of {percent(least)} points"
    if needed:
        more = f"need {needed}"
    elif detectable_gain(MOST_TRIALS, 0.0, se_test=se_test) > gain:
        more = "need more test images, however many trials there are"
    else:
        more = f"need more than {MOST_TRIALS}"
    return (
        f"Power 80 %: with this variance {n} trials detect {detected}; "
        f"{100 * gain:g} points would {more}."
    )


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
    notes = []
    if any(arm_mark(line) for line in summary.to_dict("records")):
        notes.append(
            "† also uses the rest of the pool, without its labels; ‡ uses what was learnt on other "
            "images (weights, or AutoAugment's policy), so it is not a closed set; every other arm "
            "uses the labelled images alone."
        )
    if summary["asked"].eq(WHOLE).any():
        notes.append(
            "Where the whole pool is labelled, trials differ in their random numbers alone: no "
            "interval covers the choice of the labelled images (with --frac 0.8 it does)."
        )
    if summary["preset"].eq("smoke").any():
        notes.append(
            "Preset smoke trains for seconds, to check that everything works: it says nothing "
            "about the quality of a generator."
        )
    return notes


def arm_mark(line: dict[str, Any]) -> str:
    """Mark what an arm uses beyond the labelled images: † unlabelled ones, ‡ learnt elsewhere."""
    marks = ("†" if ARMS[line["arm"]].unlabelled else "") + ("‡" if not line["closed_set"] else "")
    return f" {marks}" if marks else ""


def table_foot(summary: pd.DataFrame) -> str:
    """Explain the columns of the table in one paragraph."""
    return (
        "Accuracy: mean ± standard deviation over n trials on the test set, in percent (balanced "
        "accuracy, the mean recall of the classes, where the title says so). Gain: mean of the "
        "paired differences to the arm in the column *against*, in percentage points. Interval: "
        f"{interval_description(summary)}; from 10 trials on the BCa bootstrap interval over "
        "trials is given too. Verdict: *helps* or *hurts* if the interval excludes 0, otherwise "
        "*can't tell*; *(uncorrected)* if p is above 0.05. p: sign-flip permutation test over "
        f"trials, with Holm's correction for the comparisons of this table{_least_p(summary)}."
    )


def _comparisons(summary: pd.DataFrame) -> int:
    """Count the contrasts of a table that have a p value."""
    return int(summary["p"].notna().sum())


def _least_p(summary: pd.DataFrame) -> str:
    """Say that so few trials cannot reach a small p; empty where they can."""
    n, comparisons = summary["pairs"].max(), _comparisons(summary)
    least = min(1.0, comparisons * 2.0 ** (1 - n)) if comparisons else 0.0
    if least <= _LEVEL:
        return ""
    return (
        f"; with {n:.0f} trials and {comparisons} comparisons it cannot be below "
        f"{probability(least)}"
    )
