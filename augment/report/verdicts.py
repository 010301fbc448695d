"""The words beside the figures: verdicts, power, and what a reader of the table must know."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from augment.experiment.arms import ARMS, DECISIVE, FREE_WAYS, TRANSFERS
from augment.experiment.cells import DISJOINT, WHOLE
from augment.metrics.intervals import LEAST_TRIALS, SIGNIFICANCE
from augment.metrics.planning import MOST_TRIALS, detectable_gain, sd_range, trials_needed
from augment.report.baselines import alpha_of, baseline_notes, missing_baseline, units_of
from augment.report.format import interval_text, percent, probability
from augment.report.measured import the_measure

_BLOCK = ["dataset", "asked"]  # columns of what one table is about
_PLAN_FROM = 6  # trials: the variance of fewer is too uncertain to plan with


def verdict_words(line: dict[str, Any], summary: pd.DataFrame) -> str:
    """Return the verdict of a line, with a question mark where Holm's p is above 0.05."""
    return line["verdict"] + ("?" if is_uncorrected(line, summary) else "")


def is_uncorrected(line: dict[str, Any], summary: pd.DataFrame) -> bool:
    """Tell whether an interval excludes 0 while p, corrected for the whole table, does not."""
    if not line["verdict"].startswith(("helps", "hurts")) or _comparisons(summary) < 2:
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
        f"{line['verdict']}, but not if all {_comparisons(summary)} comparisons of this table are "
        f"counted (p = {probability(line['p_holm'])})"
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
            f"table makes {_comparisons(summary)} comparisons, and among so many one such interval "
            "can be chance (p above 0.05 with Holm's correction)."
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
    choices = summary.loc[summary["classic_chosen"] != "", [*_BLOCK, "classic_chosen"]]
    several = summary[_BLOCK].drop_duplicates().shape[0] > 1
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
        f"({_comparisons(summary)})."
    )


def _comparisons(summary: pd.DataFrame) -> int:
    """Count the contrasts of a table that have a p value."""
    return int(summary["p"].notna().sum())
