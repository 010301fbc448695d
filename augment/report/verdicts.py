"""The words beside the figures: verdicts, and how many trials would show a gain."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from augment.experiment.arms import ARMS, DECISIVE, FREE_WAYS, TRANSFERS
from augment.metrics.intervals import LEAST_TRIALS, SIGNIFICANCE
from augment.metrics.planning import MOST_TRIALS, detectable_gain, sd_range, trials_needed
from augment.report.baselines import alpha_of, missing_baseline, units_of
from augment.report.format import interval_text, percent, probability

TABLE_KEYS = ["dataset", "asked"]  # columns of what one table is about
_PLAN_FROM = 6  # trials: the variance of fewer is too uncertain to plan with


def verdict_words(line: dict[str, Any], summary: pd.DataFrame) -> str:
    """Return the verdict of a line, with a question mark where Holm's p is above 0.05."""
    return line["verdict"] + ("?" if is_uncorrected(line, summary) else "")


def is_uncorrected(line: dict[str, Any], summary: pd.DataFrame) -> bool:
    """Tell whether an interval excludes 0 while p, corrected for the whole table, does not."""
    if not line["verdict"].startswith(("helps", "hurts")) or count_comparisons(summary) < 2:
        return False
    return bool(line["p_holm"] > SIGNIFICANCE)


def verdict_sentences(summary: pd.DataFrame) -> list[str]:
    """Write one plain sentence for each contrast that answers the question of a run."""
    return [sentence for _, sentence in verdict_lines(summary)]


def verdict_lines(summary: pd.DataFrame) -> list[tuple[dict[str, Any], str]]:
    """Return (line of the summary, its sentence) for each contrast that answers the question.

    First the decisive ones; then ways that need no generator, pretrained weights last, where they
    were also tried with synthetic images, each with these: nobody should hear that a generator
    helps without what helps for nothing.
    """
    free = [a for a in (*FREE_WAYS, *TRANSFERS) if f"{a}+synth" in set(summary["arm"])]
    answers = [DECISIVE, *(name for arm in free for name in (arm, f"{arm}+synth"))]
    lines = [
        line
        for _, block in summary.groupby(["dataset", "asked"], sort=False)
        for arm in answers
        for line in block[block["arm"] == arm].to_dict("records")
    ]
    return [(line, _verdict_sentence(line, summary)) for line in lines]


def _verdict_sentence(line: dict[str, Any], summary: pd.DataFrame) -> str:
    """Write who was compared, the verdict, the gain with its interval, and the power."""
    free = "" if line["generator"] else ", which needs no generator,"
    who = f"{subject(line)}{free} on {line['dataset']} ({line['n_labelled']} labelled images)"
    gain = f"{percent(line['difference'], True)} points against {_baseline(line)}"
    if missing := missing_baseline(line, summary):
        sentence = f"{who}: {missing}"
    elif not line["verdict"] or line["pairs"] == 0:
        sentence = (
            f"{who}: no trial finished both {line['arm']} and {ARMS[line['arm']].against}, so "
            "there is nothing to compare."
        )
    elif line["verdict"] == "one trial":
        sentence = f"{who}: {gain} in one trial; a verdict takes three at least (--seeds 3)."
    else:
        sentence = f"{who}: {_verdict_in_words(line, summary)}: {gain}{_interval(line)}, n = "
        sentence += f"{line['pairs']:.0f} trials."
        sentence += f" {plan_sentence(line)}" if line["arm"] == DECISIVE else ""
    if line["chosen"]:
        sentence += f" Chosen on validation (number of trials): {line['chosen']}."
    return sentence


def subject(line: dict[str, Any]) -> str:
    """Name what a sentence is about: a generator, a way without one, or both together."""
    if line["arm"] == DECISIVE:
        return str(line["generator"])
    if line["generator"]:
        against = str(ARMS[line["arm"]].against)
        how = {"transfer": " (once fine-tuned)"}.get(against, "")
        return f"{line['generator']} on top of {against}{how}"
    return str(line["arm"])


def _baseline(line: dict[str, Any]) -> str:
    """Name what a gain is measured against, and why where it is not the usual arm."""
    usual = ARMS[line["arm"]].against
    against = line["against"] or usual
    if against != usual:
        return f"{against} ({usual} is surely worse than that here)"
    return "classic transforms alone" if against == "real+classic" else f"{against} alone"


def _verdict_in_words(line: dict[str, Any], summary: pd.DataFrame) -> str:
    """Say what the question mark of an uncorrected verdict stands for."""
    if not is_uncorrected(line, summary):
        return line["verdict"]
    return (
        f"{line['verdict']}, but not if all {count_comparisons(summary)} comparisons of this table "
        f"are counted (p = {probability(line['p_holm'])})"
    )


def _interval(line: dict[str, Any]) -> str:
    """Write the interval of a line as the end of a clause; empty where nothing tells its width."""
    if math.isnan(line["low"]):
        return ", the same in all trials"
    ends = interval_text(line["low"], line["high"])  # as in the table
    return f", 95 % interval {ends.replace(' … ', ' to ')}"


def plan_sentence(line: dict[str, Any], gain: float = 0.005) -> str:
    """Write which gain the trials of a line detect, and how many trials would detect `gain`.

    Both are ranges: the standard deviation of so few differences is uncertain, and the plan covers
    its 80 % interval. Further trials are another look. Below six trials, and where the trials do
    not differ, there is no plan.
    """
    n, sd, rows = int(line["pairs"]), line["sd_difference"], pd.DataFrame([line])
    if n < LEAST_TRIALS:
        return f"A verdict takes {LEAST_TRIALS} trials at least (--seeds {LEAST_TRIALS})."
    if n < _PLAN_FROM:
        return f"How many trials it would take can be said from {_PLAN_FROM} on (--seeds 6)."
    if not sd:
        return "All trials differ by the same, so it cannot be said how many would be enough."
    units = units_of(rows)
    sds = sd_range(n, sd)
    gains = [detectable_gain(n, each, 1 - alpha_of(rows), units) for each in sds]
    detected = "no possible gain" if gains[0] >= 1 else f"a gain of {_points(gains)} points"
    level = 1 - alpha_of(rows, further=1)
    few, many = (trials_needed(gain, each, level, units) for each in sds)
    needed = "more than 1000 trials" if many is None else f"{many} trials"
    if units and units.se and detectable_gain(MOST_TRIALS, 0.0, level, units) > gain:
        needed = "more test images, however many trials there are"
    elif few is None:
        needed = "more than 1000 trials"
    elif few != many:
        needed = f"{few} to {needed}"
    return f"Power 80 %: {n} trials detect {detected}; {100 * gain:g} points would need {needed}."


def _points(gains: list[float]) -> str:
    """Write a range of gains, cut at 100 points."""
    low, high = (percent(min(gain, 1.0)) for gain in gains)
    return low if low == high else f"{low} to {high}"


def count_comparisons(summary: pd.DataFrame) -> int:
    """Count the contrasts of a table that have a p value."""
    return int(summary["p"].notna().sum())
