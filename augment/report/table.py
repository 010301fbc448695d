"""results.csv → the table people read: arm, mean, paired difference, interval, verdict."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from augment.experiment.arms import ARMS
from augment.experiment.results_table import CLASSIC_AMONG, ERROR_COLUMNS, LOOK_COLUMNS, main_score
from augment.experiment.synthetic_use import USE_COLUMNS
from augment.metrics.intervals import mean_interval
from augment.metrics.paired import Contrast, holm
from augment.report.baselines import baseline_of, contrast_of, unit_columns
from augment.report.format import (
    escape,
    interval_text,
    markdown_table,
    percent,
    probability,
    settings_text,
)
from augment.report.legend import arm_mark, legend, table_foot
from augment.report.measured import the_measure
from augment.report.verdicts import verdict_sentences, verdict_words

# what cells of one generator may differ in
VARIANT_SETTINGS = ("preset", *USE_COLUMNS)
_BCA_COLUMNS = ("bca_low", "bca_high")  # from ten trials on
_DIFFERENCE_COLUMNS = ("pairs", "difference", "sd_difference", *ERROR_COLUMNS, "low", "high")
_P_COLUMNS = ("p", "p_holm", "p_sign_flip")
_CONTRAST_COLUMNS = (*_DIFFERENCE_COLUMNS, *_P_COLUMNS, *_BCA_COLUMNS)  # empty in baselines
_CELL_COLUMNS = ("dataset", "asked", "n_labelled", "measure", "preset", "generator", "arm")
_SCORE_COLUMNS = ("closed_set", "n", "of", "mean", "sd", "mean_low", "mean_high", "against")
_CHOICES = ("chosen", "classic_chosen")  # on validation, in words
_SUMMARY_COLUMNS = (*_CELL_COLUMNS, *_SCORE_COLUMNS, *_CONTRAST_COLUMNS, "verdict", *_CHOICES)
SCORE_HEAD = "accuracy %"
_MAIN_HEAD = ("generator", "arm", SCORE_HEAD, "gain", "95 % interval", "verdict")
LEAST_COLUMNS = len(_MAIN_HEAD)  # these are in every table, however narrow the terminal
TABLE_HEAD = (*_MAIN_HEAD, "n", "against", "p (Holm)")


def table_head(summary: pd.DataFrame) -> tuple[str, ...]:
    """Return TABLE_HEAD with the name of what is measured."""
    return tuple(
        the_measure(summary["measure"]).head if name == SCORE_HEAD else name for name in TABLE_HEAD
    )


def summarise(results: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
    """Summarise results.csv: a row for each data set, amount, generator variant and arm.

    Scores are those of the column `metric`, else the main ones. Differences are paired over trials
    against the arm's baseline; p is corrected by Holm over the contrasts of this table. Cells that
    failed are counted in n ("5/6"), never averaged. Intervals allow for other test images where
    the results say how large that error is; with `metric` they do not.
    """
    scores = results[metric].astype(float) if metric else main_score(results)
    results = results.assign(
        variant=variant_names(results),
        score=scores.where(results["status"] == "ok"),
        **{
            c: math.nan if metric and c not in LOOK_COLUMNS else results[c].astype(float)
            for c in ERROR_COLUMNS
        },
    )
    lines: list[dict[str, Any]] = []
    contrasts: dict[int, Contrast] = {}  # by their line
    for (dataset, asked), block in results.groupby(["dataset", "asked"], sort=False):
        n_labelled = int(block["n_labelled"].max()) if block["n_labelled"].notna().any() else 0
        classic = _classic_choices(block)
        for line, contrast in _block_lines(block, metric):
            if contrast:
                contrasts[len(lines)] = contrast
            line |= {"dataset": dataset, "asked": asked, "n_labelled": n_labelled}
            lines.append(line | {"classic_chosen": classic})
    looks = {c: results[c].max() for c in LOOK_COLUMNS}
    for index, contrast in zip(contrasts, holm(list(contrasts.values())), strict=True):
        lines[index] |= {**_contrast_columns(contrast), **looks}
    table = pd.DataFrame(
        [{"verdict": "", **line} for line in lines], columns=list(_SUMMARY_COLUMNS)
    )
    return table.astype(dict.fromkeys(_CONTRAST_COLUMNS, float))


def _block_lines(
    block: pd.DataFrame, metric: str | None
) -> list[tuple[dict[str, Any], Contrast | None]]:
    """Summarise one data set and amount: (line, contrast with its baseline), in the arms' order."""
    cells_of = dict(list(block.groupby(["variant", "arm"], sort=False)))
    lines = []
    for variant in sorted(block["variant"].unique(), key=lambda name: name != ""):
        for arm in [a for a in ARMS if (variant, a) in cells_of]:
            cells, against = cells_of[variant, arm], baseline_of(arm, block)
            values, baseline = cells.set_index("seed")["score"], cells_of.get(("", against))
            contrast = None if baseline is None else contrast_of(cells, baseline)
            mean, low, high = mean_interval(values.tolist())
            line = {
                "measure": metric or next(iter(block["measure"].dropna()), "accuracy"),
                "preset": next(iter(block["preset"].dropna()), ""),
                "generator": variant,
                "arm": arm,
                "closed_set": not cells["closed_set"].eq(False).any(),
                "n": int(values.notna().sum()),
                "of": len(values),
                "mean": mean,
                "sd": values.std(ddof=1),
                "mean_low": low,
                "mean_high": high,
                "against": against if contrast else "",
                "chosen": _choices(cells),
            }
            lines.append((line, contrast))
    return lines


def _contrast_columns(contrast: Contrast) -> dict[str, Any]:
    """Return a contrast as columns of the summary."""
    return {
        "pairs": contrast.n,
        "difference": contrast.mean,
        "sd_difference": contrast.sd,
        **unit_columns(contrast),
        "low": contrast.low,
        "high": contrast.high,
        "p": contrast.p,
        "p_holm": contrast.p_holm,
        "p_sign_flip": contrast.p_sign_flip,
        "verdict": contrast.verdict,
        **dict(zip(_BCA_COLUMNS, contrast.bca or (), strict=False)),
    }


def variant_names(results: pd.DataFrame) -> list[str]:
    """Name each row's generator with the settings that this table varies; empty without one.

    Settings that were chosen on validation are no variants: they can differ from trial to trial.
    """
    fixed = results["candidates"].isna()
    results = results.assign(
        **{c: results[c].where(fixed) for c in VARIANT_SETTINGS if c != "preset"}
    )
    with_images = results[results["generator"].notna()]
    varied = [
        c
        for c in VARIANT_SETTINGS
        if with_images.dropna(subset=[c]).groupby("generator")[c].nunique().gt(1).any()
    ]
    names = []
    for line in results.to_dict("records"):
        parts = [line["generator"]] if isinstance(line["generator"], str) else []
        parts += ["selected"] if pd.notna(line["candidates"]) else []
        names.append(" ".join([*parts, *settings_text(line, varied)]))
    return names


def _choices(cells: pd.DataFrame) -> str:
    """Count what was chosen on validation: `share=0 (2), ratio=5 share=0.5 (1)`."""
    if cells["candidates"].isna().all():
        return ""
    chosen = [
        " ".join(settings_text(line, ["share"] if line["share"] == 0 else VARIANT_SETTINGS[1:]))
        for line in cells[cells["status"] == "ok"].to_dict("records")
    ]
    return ", ".join(f"{settings} ({n})" for settings, n in Counter(chosen).most_common())


def _classic_choices(block: pd.DataFrame) -> str:
    """Count the classic transforms that were chosen on validation: `document (2), natural (1)`."""
    with_classic = block["arm"].map(lambda arm: ARMS[arm].classic)
    rows = block[with_classic & block[CLASSIC_AMONG].notna()].drop_duplicates("seed")
    return ", ".join(f"{kind} ({n})" for kind, n in Counter(rows["classic"]).most_common())


def table_blocks(summary: pd.DataFrame) -> list[tuple[str, list[list[str]]]]:
    """Return (title, lines of text cells under TABLE_HEAD) for each data set and amount."""
    keys = ["dataset", "n_labelled", "asked", "measure"]
    return [
        (
            f"{dataset}, {n} labelled images ({asked})"
            + (f"; {measure}" if measure != "accuracy" else ""),
            [_text_cells(line, summary) for line in block.to_dict("records")],
        )
        for (dataset, n, asked, measure), block in summary.groupby(keys, sort=False)
    ]


def _text_cells(line: dict[str, Any], summary: pd.DataFrame) -> list[str]:
    """Write one line of the summary as text cells."""
    interval = interval_text(line["low"], line["high"])
    if np.isfinite(line["bca_low"]):
        interval += f" (BCa {interval_text(line['bca_low'], line['bca_high'])})"
    sd = f" ± {percent(line['sd'])}" if line["n"] > 1 else ""
    fewer = f" ({line['pairs']:.0f} trials)" if line["pairs"] < line["of"] else ""
    return [
        line["generator"],
        line["arm"] + arm_mark(line),
        percent(line["mean"]) + sd,
        (percent(line["difference"], True) + fewer).strip(),
        interval,
        verdict_words(line, summary),
        str(line["n"]) if line["n"] == line["of"] else f"{line['n']}/{line['of']}",
        line["against"],
        probability(line["p_holm"]),
    ]


def markdown(summary: pd.DataFrame) -> str:
    """Write the summary as Markdown: tables, verdicts, and what the columns mean."""
    parts = []
    for title, lines in table_blocks(summary):
        parts += [f"**{escape(title)}**", "", *markdown_table(table_head(summary), lines), ""]
    parts += [f"- {escape(sentence)}" for sentence in verdict_sentences(summary)]
    parts += [f"\n{note}" for note in [*legend(summary), table_foot(summary)]]
    return "\n".join([*parts, ""])
