"""Plots of a run: gains, accuracy by arm, loss curves, confusion matrices."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from safetensors.numpy import load_file

from augment.experiment.arms import ARMS, DECISIVE
from augment.experiment.hyperparameters import split_variant
from augment.experiment.records import ScoreResult
from augment.experiment.results_table import main_score
from augment.generators import GENERATORS
from augment.metrics.classification import confusion
from augment.metrics.intervals import mean_interval
from augment.report.baselines import alpha_of, baseline_of, units_of
from augment.report.figures import COLOURS, make_panels, save_figure
from augment.report.gain_plot import gain_intervals
from augment.report.measured import the_measure
from augment.report.table import variant_names
from augment.storage.artifacts import Store
from augment.storage.tables import read_csv

_NAMED_CLASSES = 25  # confusion matrices carry class names up to here
_CLASSES_WITH_FIGURES = 12  # and percentages up to here
_ALONG = {
    "n_labelled": "labelled images",
    "ratio": "synthetic images a labelled one",
    "guidance": "guidance",
    "strength": "strength",
    "share": "synthetic share of a batch",
}


def draw_all(folder: Path, done: pd.DataFrame, summary: pd.DataFrame) -> None:
    """Draw every plot of a run into `plots/`."""
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    if gains := gain_intervals(summary):
        save_figure(gains, plots / "gain.png")
    if curves := gain_curves(done):
        save_figure(curves, plots / "gain-curves.png")
    save_figure(accuracy_by_arm(done), plots / "accuracy.png")
    log = read_csv(folder / "history.csv", ("dataset", "asked", "generator", "arm", "metric"))
    log = log[log["stage"] == "generator"]
    for entry, losses in log.groupby(log["generator"].map(lambda name: split_variant(name)[0])):
        save_figure(loss_curves(str(entry), losses), plots / f"loss-{entry}.png")
    confusing = done[[the_measure([measure]).confuses for measure in done["measure"]]]
    for (dataset, asked), block in confusing.groupby(["dataset", "asked"], sort=False):
        stem = "".join(c if c.isalnum() else "_" for c in f"{dataset}-{asked}").strip("_")[-150:]
        save_figure(confusions(folder, block), plots / f"confusion-{stem}.png")


def accuracy_by_arm(done: pd.DataFrame) -> Figure:
    """Draw a panel for each data set and amount: mean, 95 % interval, single trials as points."""
    done = done.assign(variant=variant_names(done), score=main_score(done))
    blocks = list(done.groupby(["dataset", "asked"], sort=False))
    height = max(b.groupby(["variant", "arm"]).ngroups for _, b in blocks) * 0.28 + 1.2
    figure, axes = make_panels(len(blocks), 6.2, height)
    for axis, ((dataset, asked), block) in zip(axes, blocks, strict=True):
        lines = [
            (variant, arm, block[(block["variant"] == variant) & (block["arm"] == arm)])
            for variant in sorted(block["variant"].unique(), key=lambda v: v != "")
            for arm in ARMS
        ]
        lines = [(v, a, cells) for v, a, cells in lines if len(cells)]
        names = list(dict.fromkeys(v for v, _, _ in lines))
        for row, (variant, _arm, cells) in enumerate(lines):
            colour = COLOURS[names.index(variant) % len(COLOURS)]
            values = 100 * cells["score"]
            mean, low, high = mean_interval(values.tolist())
            axis.plot(values, np.full(len(values), row), "o", color=colour, alpha=0.35, ms=4)
            axis.plot([mean], [row], "|", color=colour, ms=14, mew=2)
            if np.isfinite(low):
                axis.plot([low, high], [row, row], "-", color=colour, lw=1.6)
        axis.set_yticks(range(len(lines)), [f"{a}  {v}".strip() for v, a, _ in lines], fontsize=8)
        axis.set_ylim(len(lines) - 0.5, -0.5)  # the first line on top
        left, right = axis.get_xlim()  # with two or three trials an interval can leave 0 … 100
        axis.set_xlim(max(0, left), min(100.5, right))
        axis.grid(axis="x", alpha=0.3)
        measure = next(iter(block["measure"].dropna()), "accuracy")
        axis.set_xlabel(f"test {measure}, %")
        axis.set_title(f"{Path(str(dataset)).name}, {asked}", fontsize=10)
    figure.tight_layout()
    return figure


def gain_curves(done: pd.DataFrame) -> Figure | None:
    """Draw the decisive gain along each setting that takes three values or more; None if none.

    Mean and 95 % interval as in the table, percentage points, a panel a data set.
    """
    trials = _decisive_gains(done)
    found = [
        (along, str(dataset), part.dropna(subset=[along]))  # a control has no guidance
        for along in _ALONG
        for dataset, part in trials.groupby("dataset", sort=False)
        if part[along].nunique() >= 3
    ]
    if not found:
        return None
    figure, axes = make_panels(len(found), 5.0, 3.4)
    for axis, (along, dataset, part) in zip(axes, found, strict=True):
        _draw_curves(axis, along, part)
        axis.set_title(Path(dataset).name, fontsize=10, parse_math=False)
    figure.tight_layout()
    return figure


def _decisive_gains(done: pd.DataFrame) -> pd.DataFrame:
    """Return the finished cells of the decisive arm with their `gain`, in percentage points."""
    keys = ["dataset", "asked", "seed"]
    done = done.assign(score=main_score(done))
    blocks = [block for _, block in done.groupby(["dataset", "asked"], sort=False)]
    baseline = pd.concat([b[b["arm"] == baseline_of(DECISIVE, b)] for b in blocks])
    done = done[done["candidates"].isna()]  # chosen settings differ for other reasons
    trials = done[done["arm"] == DECISIVE].merge(
        baseline[[*keys, "score"]], on=keys, suffixes=("", "_base")
    )
    return trials.assign(gain=100 * (trials["score"] - trials["score_base"]))


def _draw_curves(axis: Any, along: str, part: pd.DataFrame) -> None:
    """Draw a curve for each generator and combination of the other settings."""
    others = [c for c in _ALONG if c != along and part.groupby("generator")[c].nunique().max() > 1]
    for names, curve in part.groupby(["generator", *others], sort=False, dropna=False):
        points = []
        for value, cells in curve.groupby(along):
            units, level = units_of(cells), 1 - alpha_of(cells)
            in_points = units and units.scaled(100)
            points.append((value, *mean_interval(cells["gain"].tolist(), level, in_points)))
        x, mean, low, high = np.array(points, float).T
        label = " ".join(
            f"{v:.4g}" if isinstance(v, float) else str(v) for v in names if pd.notna(v)
        )
        bars = np.nan_to_num([mean - low, high - mean])
        axis.errorbar(x, mean, bars, fmt="o-", ms=4, capsize=3, label=label)
    axis.axhline(0, color="black", lw=0.8)
    if along in ("n_labelled", "ratio"):
        axis.set_xscale("log")
        axis.set_xticks(ticks := sorted(part[along].unique()), [f"{v:g}" for v in ticks])
        axis.minorticks_off()
    axis.set_xlabel(_ALONG[along])
    axis.set_ylabel(f"{DECISIVE} − its baseline, points", fontsize=8)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)


def loss_curves(entry: str, curves: pd.DataFrame) -> Figure:
    """Draw the losses of a generator: a column a metric, a row a variant, a line a trial.

    Titles are the generator's `curves`; a dotted line is where its `start` says a loss begins.
    """
    model = GENERATORS.get(entry)
    titles, starts = getattr(model, "curves", {}), getattr(model, "start", {})
    metrics, names = list(curves["metric"].unique()), list(curves["generator"].unique())
    size = (4.2 * len(metrics), 3.2 * len(names))
    figure, axes = plt.subplots(len(names), len(metrics), figsize=size, squeeze=False)
    for (name, metric), axis in zip(itertools.product(names, metrics), axes.flat, strict=True):
        losses = curves[(curves["metric"] == metric) & (curves["generator"] == name)]
        for (dataset, seed, _), line in losses.groupby(["dataset", "seed", "artefact"], sort=False):
            axis.plot(
                line["step"], line["value"], lw=1, alpha=0.8, label=f"{Path(dataset).name} {seed}"
            )
        if metric in starts:
            axis.axhline(starts[metric], color="black", lw=0.8, ls=":")
        axis.set_title(f"{name}: {titles.get(metric, metric)}", fontsize=10)
        axis.set_xlabel("steps")
        axis.grid(alpha=0.3)
    if len(axes[0][0].lines) <= 12:
        axes[0][0].legend(fontsize=7, title="data, seed", title_fontsize=7)
    figure.tight_layout()
    return figure


def confusions(folder: Path, block: pd.DataFrame) -> Figure:
    """Draw a confusion matrix an arm of one data set and amount, summed over trials, by row."""
    store = Store(folder)
    block = block.assign(variant=variant_names(block))
    groups = sorted(
        block.groupby(["variant", "arm"], sort=False),
        key=lambda g: (g[0][0] != "", list(ARMS).index(g[0][1])),
    )
    figure, axes = make_panels(len(groups), 3.6, 3.5)
    for axis, ((variant, arm), cells) in zip(axes, groups, strict=True):
        counts, classes = 0, []
        for sig in cells["signature"]:
            score = store.path("score", sig)
            classes = ScoreResult.read(score).classes
            tensors = load_file(score / "predictions.safetensors")
            counts = counts + confusion(tensors["labels"], tensors["predicted"], len(classes))
        share = np.asarray(counts, float) / np.maximum(1, np.asarray(counts).sum(1, keepdims=True))
        axis.imshow(share, vmin=0, vmax=1, cmap="Blues")
        axis.set_title(f"{arm} {variant}".strip(), fontsize=9)
        if len(classes) <= _NAMED_CLASSES:
            ticks = [c[:10].replace("$", r"\$") for c in classes]
            axis.set_xticks(range(len(classes)), ticks, rotation=90, fontsize=7)
            axis.set_yticks(range(len(classes)), ticks, fontsize=7)
            if len(classes) <= _CLASSES_WITH_FIGURES:
                for i, j in np.argwhere(share >= 0.005):
                    text, ink = f"{100 * share[i, j]:.0f}", "wk"[int(share[i, j] <= 0.5)]
                    axis.text(j, i, text, ha="center", va="center", size=6, color=ink)
        axis.set_xlabel("predicted", fontsize=8)
        axis.set_ylabel("true", fontsize=8)
    figure.tight_layout()
    return figure
