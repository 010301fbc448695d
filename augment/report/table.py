"""results.csv → the table people read: arm, mean, paired difference, interval, verdict."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from augment.experiment.arms import ARMS, DECISIVE
from augment.experiment.cells import WHOLE
from augment.metrics.classification import BALANCED
from augment.metrics.paired import (
    MAX_PAIRS,
    Contrast,
    compare_pairs,
    detectable_gain,
    holm,
    mean_interval,
    pairs_needed,
)

SETTINGS = (
    "preset",
    "guidance",
    "strength",
    "ratio",
    "share",
    "mixing",
    "filter",
)  # what cells of one generator may differ in
BOOTSTRAP = ("bca_low", "bca_high")  # from ten pairs on
TESTED = (
    "pairs",
    "difference",
    "sd_difference",
    "se_test_images",
    "low",
    "high",
    "p",
    "p_holm",
    *BOOTSTRAP,
)  # empty in baselines
SUMMARY = (
    "dataset",
    "asked",
    "n_labelled",
    "measure",
    "preset",
    "generator",
    "arm",
    "closed_set",
    "n",
    "of",
    "mean",
    "sd",
    "mean_low",
    "mean_high",
    "against",
    *TESTED,
    "verdict",
    "chosen",
)


def leading(results: pd.DataFrame) -> pd.Series:
    """The score that counts of each row: balanced accuracy where the classes are very uneven."""
    uneven = results["measure"].eq(BALANCED)
    return results["accuracy"].mask(uneven, results["balanced_accuracy"]).astype(float)


def summarise(results: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
    """A row for each data set, labelled number, generator variant and arm, in the arms' order.

    Scores are those of the column `metric`, else the leading ones.

    Differences are paired over seeds against the arm's baseline; p is corrected by Holm over the
    contrasts of this table. Cells that failed are counted in n ("5/6"), never averaged. Intervals
    cover the luck of the test images where the results say how large it is; `metric` has none.
    """
    scores_of = results[metric].astype(float) if metric else leading(results)
    finished = scores_of.where(results["status"] == "ok")
    luck = math.nan if metric else results["se_test_images"].astype(float)
    results = results.assign(variant=variants(results), score=finished, luck=luck)
    lines: list[dict[str, Any]] = []
    contrasts: dict[int, Contrast] = {}
    for (dataset, asked), trial in results.groupby(["dataset", "asked"], sort=False):
        of_arm = dict(list(trial.groupby(["variant", "arm"], sort=False)))
        scores = {key: cells.set_index("seed")["score"] for key, cells in of_arm.items()}
        opened = set(
            trial[trial["closed_set"].eq(False)][["variant", "arm"]].itertuples(
                index=False, name=None
            )
        )
        labelled = int(trial["n_labelled"].max()) if trial["n_labelled"].notna().any() else 0
        for name in sorted(trial["variant"].unique(), key=lambda v: v != ""):
            for arm in [a for a in ARMS if (name, a) in scores]:
                values = scores[name, arm]
                against = ARMS[arm].against
                if against and ("", against) in scores:
                    base = scores["", against].reindex(values.index)
                    luck = of_arm[name, arm]["luck"].max()  # the same in all trials
                    contrasts[len(lines)] = compare_pairs(
                        values.tolist(),
                        base.tolist(),
                        se_images=None if math.isnan(luck) else float(luck),
                    )
                mean, low, high = mean_interval(values.tolist())
                lines.append(
                    {
                        "dataset": dataset,
                        "asked": asked,
                        "n_labelled": labelled,
                        "generator": name,
                        "measure": metric or next(iter(trial["measure"].dropna()), "accuracy"),
                        "preset": next(iter(trial["preset"].dropna()), ""),
                        "arm": arm,
                        "closed_set": (name, arm) not in opened,
                        "n": int(values.notna().sum()),
                        "of": len(values),
                        "mean": mean,
                        "sd": values.std(ddof=1),
                        "mean_low": low,
                        "mean_high": high,
                        "against": against if len(lines) in contrasts else "",
                        "chosen": choices(of_arm[name, arm]),
                    }
                )
    for place, contrast in zip(contrasts, holm(list(contrasts.values())), strict=True):
        lines[place] |= {
            "pairs": contrast.n,
            "difference": contrast.mean,
            "sd_difference": contrast.sd,
            "se_test_images": contrast.se_images,
            "low": contrast.low,
            "high": contrast.high,
            "p": contrast.p,
            "p_holm": contrast.p_holm,
            "verdict": contrast.verdict,
            **dict(zip(BOOTSTRAP, contrast.bca or (), strict=False)),
        }
    table = pd.DataFrame([{"verdict": "", **line} for line in lines], columns=list(SUMMARY))
    return table.astype(dict.fromkeys(TESTED, float))


def variants(results: pd.DataFrame) -> list[str]:
    """The generator, with the settings that this table varies; empty in arms without one.

    Settings that were chosen on validation are no variants: they can differ from trial to trial.
    """
    results = results.assign(
        **{c: results[c].where(results["candidates"].isna()) for c in SETTINGS if c != "preset"}
    )
    with_images = results[results["generator"].notna()]
    varied = [
        c
        for c in SETTINGS
        if with_images.dropna(subset=[c]).groupby("generator")[c].nunique().gt(1).any()
    ]
    names = []
    for line in results.to_dict("records"):
        said = [line["generator"]] if isinstance(line["generator"], str) else []
        said += ["selected"] if pd.notna(line["candidates"]) else []
        names.append(" ".join([*said, *settings_of(line, varied)]))
    return names


def settings_of(line: dict[str, Any], names: Iterable[str]) -> list[str]:
    """`key=value` for each setting that a row has."""
    return [
        f"{c}={line[c]:.12g}" if isinstance(line[c], float) else f"{c}={line[c]}"
        for c in names
        if pd.notna(line[c])
    ]


def choices(cells: pd.DataFrame) -> str:
    """What was chosen on validation, in how many trials: `share=0 (2), ratio=5 share=0.5 (1)`."""
    if cells["candidates"].isna().all():
        return ""
    said = [
        " ".join(settings_of(line, ["share"] if line["share"] == 0 else SETTINGS[1:]))
        for line in cells[cells["status"] == "ok"].to_dict("records")
    ]
    return ", ".join(f"{what} ({n})" for what, n in Counter(said).most_common())


def percent(value: float | None, sign: bool = False) -> str:
    """A fraction as percent with two decimals; empty where there is none."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{100 * value:+.2f}" if sign else f"{100 * value:.2f}"


def between(low: float | None, high: float | None) -> str:
    """An interval of differences, as far as these can go; empty where there is none."""
    ends = (None if v is None or math.isnan(v) else max(-1.0, min(1.0, v)) for v in (low, high))
    said = [percent(end, True) for end in ends]
    return " … ".join(said) if all(said) else ""


def probability(p: float | None) -> str:
    """Three decimals, never 0."""
    if p is None or not math.isfinite(p):
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def mark(line: dict[str, Any]) -> str:
    """What an arm uses beyond these images: † unlabelled ones, ‡ what was learnt elsewhere."""
    arm = ARMS[line["arm"]]
    used = ("†" if arm.unlabelled else "") + ("‡" if not line["closed_set"] else "")
    return f" {used}" if used else ""


HEAD = (
    "generator",
    "arm",
    "accuracy %",
    "gain",
    "95 % interval",
    "verdict",
    "n",
    "against",
    "p (Holm)",
)
LEAST = 6  # of these columns, up to the verdict, are in every table


def blocks(summary: pd.DataFrame) -> list[tuple[str, list[list[str]]]]:
    """(title, lines of text cells under HEAD) for each data set and amount of labelled images."""
    keys = ["dataset", "n_labelled", "asked", "measure"]
    return [
        (
            f"{dataset}, {n} labelled images ({asked})"
            + (f"; {measure}" if measure != "accuracy" else ""),
            [shown(r, summary) for r in block.to_dict("records")],
        )
        for (dataset, n, asked, measure), block in summary.groupby(keys, sort=False)
    ]


def shown(line: dict[str, Any], summary: pd.DataFrame) -> list[str]:
    """One line of the summary as text cells."""
    interval = between(line["low"], line["high"])
    if np.isfinite(line["bca_low"]):
        interval += f" (BCa {between(line['bca_low'], line['bca_high'])})"
    sd = f" ± {percent(line['sd'])}" if line["n"] > 1 else ""
    n = str(line["n"]) if line["n"] == line["of"] else f"{line['n']}/{line['of']}"
    fewer = f" ({line['pairs']:.0f} pairs)" if line["pairs"] < line["of"] else ""
    return [
        line["generator"],
        line["arm"] + mark(line),
        percent(line["mean"]) + sd,
        (percent(line["difference"], True) + fewer).strip(),
        interval,
        line["verdict"] + (", taken alone" if taken_alone(line, summary) else ""),
        n,
        line["against"],
        probability(line["p_holm"]),
    ]


def markdown(summary: pd.DataFrame) -> str:
    """The table as Markdown, with what its columns mean."""
    parts = []
    for title, lines in blocks(summary):
        parts += [
            f"**{escape(title)}**",
            "",
            "| " + " | ".join(HEAD) + " |",
            "|---" * len(HEAD) + "|",
        ]
        parts += ["| " + " | ".join(escape(cell) for cell in line) + " |" for line in lines]
        parts.append("")
    parts += [f"- {escape(sentence)}" for sentence in verdicts(summary)]
    parts += [f"\n{line}" for line in legend(summary)]
    parts += [
        "",
        "Accuracy on the test set (balanced, the mean recall of the classes, where a title says "
        "so), mean ± standard deviation over n trials; gains in "
        f"percentage points, paired over trials; {interval_said(summary)}, which alone makes "
        "the verdict (from 10 pairs on the BCa bootstrap's over trials stands beside it); p from "
        "the sign-flip test over trials, corrected by Holm for the contrasts of this table; a "
        f"verdict taken alone has one above 0.05{least_p(summary)}.",
        "",
    ]
    return "\n".join(parts)


def interval_said(summary: pd.DataFrame) -> str:
    """What the table's intervals allow for."""
    if summary["se_test_images"].notna().any():
        return (
            "95 % interval for other trials and for other test images of the same kind (two-way "
            "analysis of variance, trials × test images)"
        )
    return "95 % interval by Student's t, for other trials on the same test images"


def least_p(summary: pd.DataFrame) -> str:
    """That so few trials cannot have a small p; empty where they can."""
    pairs, tests = summary["pairs"].max(), summary["p"].notna().sum()
    least = min(1.0, tests * 2.0 ** (1 - pairs)) if tests else 0.0
    if least <= 0.05:
        return ""
    return f" ({pairs:.0f} pairs in {tests} comparisons have none below {probability(least)})"


def legend(summary: pd.DataFrame) -> list[str]:
    """What this table's reader must know: what marks mean, what no interval covers."""
    said = []
    if any(mark(line) for line in summary.to_dict("records")):
        said.append(
            "† also sees the rest of the pool, without its labels; ‡ uses what was learnt on other "
            "images (weights, or AutoAugment's policy), not a closed set; all others see the "
            "labelled images alone."
        )
    if summary["asked"].eq(WHOLE).any():
        said.append(
            "Where all of the pool is labelled, trials differ in their random numbers alone: no "
            "interval covers the luck of which labelled images there are (--frac 0.8 does)."
        )
    if summary["preset"].eq("smoke").any():
        said.append(
            "Preset smoke trains for seconds, to see that all works: it says nothing about what a "
            "generator can do."
        )
    return said


def escape(text: str) -> str:
    """Text that cannot break out of a Markdown table."""
    text = " ".join(text.splitlines()).replace("\\", "\\\\").replace("|", "\\|")
    return text.replace("&", "&amp;").replace("<", "&lt;")


def verdicts(summary: pd.DataFrame) -> list[str]:
    """One plain sentence for each decisive contrast."""
    return [sentence for _, sentence in verdict_lines(summary)]


def verdict_lines(summary: pd.DataFrame) -> list[tuple[dict[str, Any], str]]:
    """(line of the summary, its sentence) of each decisive contrast."""
    found = []
    for line in summary[summary["arm"] == DECISIVE].to_dict("records"):
        who = f"{line['generator']} on {line['dataset']} ({line['n_labelled']} labelled images)"
        gain = f"{percent(line['difference'], True)} points against classic transforms alone"
        if not line["verdict"] or line["pairs"] == 0:
            said = f"{who}: no finished pair of {DECISIVE} and real+classic to compare."
        elif line["verdict"] == "one trial":
            said = f"{who}: {gain} in one trial; no interval without more seeds."
        else:
            said = (
                f"{who}: {line['verdict']}: {gain}, 95 % interval {percent(line['low'], True)} to "
                f"{percent(line['high'], True)}, n = {line['pairs']:.0f} pairs. {power_line(line)}"
            )
            if taken_alone(line, summary):
                said += (
                    f" Taken alone, that is: corrected for the {summary['p'].notna().sum()} "
                    f"comparisons of this table p is {probability(line['p_holm'])}."
                )
        if line["chosen"]:
            said += f" Chosen on validation, in how many trials: {line['chosen']}."
        found.append((line, said))
    return found


def taken_alone(line: dict[str, Any], summary: pd.DataFrame) -> bool:
    """Whether a verdict, which is of one interval, could be luck among those of the table."""
    several = summary["p"].notna().sum() > 1
    return bool(several and line["verdict"] in ("helps", "hurts") and line["p_holm"] > 0.05)


def power_line(line: dict[str, Any], gain: float = 0.005) -> str:
    """What so many pairs can show with the spread seen, and how many would show `gain`."""
    n, sd, se = int(line["pairs"]), line["sd_difference"], line["se_test_images"]
    se = 0.0 if math.isnan(se) else se
    needed, least = pairs_needed(gain, sd, se_images=se), detectable_gain(n, sd, se_images=se)
    said = f"takes n = {needed or f'over {MAX_PAIRS}'}"
    if not needed and detectable_gain(MAX_PAIRS, 0.0, se_images=se) > gain:
        said = "takes more test images, however many pairs"
    shown = "no gain that is possible" if least >= 1 else f"a gain of {percent(least)} points"
    return (
        f"With this spread {n} pairs show {shown} four times of five; "
        f"one of {100 * gain:g} points {said}."
    )
