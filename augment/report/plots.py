"""Plots of a run: accuracy by arm, gain along a setting, loss curves, confusion matrices."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from safetensors.numpy import load_file

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from augment.experiment.arms import ARMS, DECISIVE
from augment.experiment.hyperparameters import split_variant
from augment.experiment.records import ScoreResult
from augment.generators import GENERATORS
from augment.metrics.classification import confusion
from augment.metrics.paired import mean_interval
from augment.report.table import leading, variants
from augment.storage.artifacts import Store
from augment.storage.atomic import write_atomic
from augment.storage.tables import read_csv

SHOWN_CLASSES = 25  # confusion matrices carry names up to here
COLUMNS = 3  # panels side by side
ALONG = {
    "n_labelled": "labelled images",
    "ratio": "synthetic images a labelled one",
    "guidance": "guidance",
    "strength": "strength",
    "share": "synthetic share of a batch",
}
COLOURS = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]


def draw_all(folder: Path, done: pd.DataFrame) -> None:
    """Every plot of a run into `plots/`."""
    place = folder / "plots"
    place.mkdir(exist_ok=True)
    save(accuracy_by_arm(done), place / "accuracy.png")
    if gains := gain_curves(done):
        save(gains, place / "gain.png")
    log = read_csv(folder / "history.csv", ("dataset", "asked", "generator", "arm", "metric"))
    log = log[log["stage"] == "generator"]
    for entry, curves in log.groupby(log["generator"].map(lambda name: split_variant(name)[0])):
        save(loss_curves(str(entry), curves), place / f"loss-{entry}.png")
    for (dataset, asked), trial in done.groupby(["dataset", "asked"], sort=False):
        stem = "".join(c if c.isalnum() else "_" for c in f"{dataset}-{asked}").strip("_")[-150:]
        save(confusions(folder, trial), place / f"confusion-{stem}.png")


def save(figure: Figure, path: Path) -> None:
    """A figure as PNG, atomically."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    write_atomic(path, buffer.getvalue())


def accuracy_by_arm(done: pd.DataFrame) -> Figure:
    """A panel a data set and amount: mean and 95 % interval, the single trials as points."""
    done = done.assign(variant=variants(done), score=leading(done))
    trials = list(done.groupby(["dataset", "asked"], sort=False))
    height = max(t.groupby(["variant", "arm"]).ngroups for _, t in trials) * 0.28 + 1.2
    figure, axes = panels(len(trials), 6.2, height)
    for axis, ((dataset, asked), trial) in zip(axes, trials, strict=True):
        lines = [
            (variant, arm, trial[(trial["variant"] == variant) & (trial["arm"] == arm)])
            for variant in sorted(trial["variant"].unique(), key=lambda v: v != "")
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
        measure = next(iter(trial["measure"].dropna()), "accuracy")
        axis.set_xlabel(f"test {measure}, %")
        axis.set_title(f"{Path(str(dataset)).name}, {asked}", fontsize=10)
    figure.tight_layout()
    return figure


def panels(n: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    """A figure of n axes, three a row, sides in inches an axis."""
    rows = -(-n // COLUMNS)
    columns = min(COLUMNS, n)
    figure, axes = plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), squeeze=False
    )
    for axis in axes.flat[n:]:
        axis.axis("off")
    return figure, list(axes.flat[:n])


def gain_curves(done: pd.DataFrame) -> Figure | None:
    """The decisive difference along each setting that takes three values or more; None if none.

    Mean and 95 % interval as in the table, percentage points, a panel a data set.
    """

    def luck(cells: pd.DataFrame) -> float:
        """Of the test images, in points; 0 where it is not known."""
        return 100 * float(np.nan_to_num(cells["se_test_images"].astype(float).max()))

    keys = ["dataset", "asked", "seed"]
    done = done.assign(score=leading(done))
    baseline = done[done["arm"] == ARMS[DECISIVE].against]
    done = done[done["candidates"].isna()]  # chosen settings differ for other reasons
    pairs = done[done["arm"] == DECISIVE].merge(
        baseline[[*keys, "score"]], on=keys, suffixes=("", "_base")
    )
    pairs["gain"] = 100 * (pairs["score"] - pairs["score_base"])
    found = [
        (along, str(dataset), part.dropna(subset=[along]))  # a control has no guidance
        for along in ALONG
        for dataset, part in pairs.groupby("dataset", sort=False)
        if part[along].nunique() >= 3
    ]
    if not found:
        return None
    figure, axes = panels(len(found), 5.0, 3.4)
    for axis, (along, dataset, part) in zip(axes, found, strict=True):
        others = [
            c for c in ALONG if c != along and part.groupby("generator")[c].nunique().max() > 1
        ]
        for name, line in part.groupby(["generator", *others], sort=False, dropna=False):
            points = [
                (value, *mean_interval(own["gain"].tolist(), se_images=luck(own)))
                for value, own in line.groupby(along)
            ]
            x, mean, low, high = np.array(points, float).T
            label = " ".join(
                f"{v:.4g}" if isinstance(v, float) else str(v) for v in name if pd.notna(v)
            )
            axis.errorbar(
                x,
                mean,
                np.nan_to_num([mean - low, high - mean]),
                fmt="o-",
                ms=4,
                capsize=3,
                label=label,
            )
        axis.axhline(0, color="black", lw=0.8)
        if along in ("n_labelled", "ratio"):
            axis.set_xscale("log")
            axis.set_xticks(x := sorted(part[along].unique()), [f"{v:g}" for v in x])
            axis.minorticks_off()
        axis.set_xlabel(ALONG[along])
        axis.set_ylabel(f"{DECISIVE} − {ARMS[DECISIVE].against}, points", fontsize=8)
        axis.set_title(Path(dataset).name, fontsize=10)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.tight_layout()
    return figure


def loss_curves(entry: str, curves: pd.DataFrame) -> Figure:
    """A panel a metric of a generator's training, a row a variant of its settings, a line a trial.

    Titles are the generator's `curves`; a dotted line is where its `start` says a loss begins.
    """
    model = GENERATORS.get(entry)
    titles, starts = getattr(model, "curves", {}), getattr(model, "start", {})
    metrics, names = list(curves["metric"].unique()), list(curves["generator"].unique())
    size = (4.2 * len(metrics), 3.2 * len(names))
    figure, axes = plt.subplots(len(names), len(metrics), figsize=size, squeeze=False)
    for (name, metric), axis in zip(itertools.product(names, metrics), axes.flat, strict=True):
        own = curves[(curves["metric"] == metric) & (curves["generator"] == name)]
        for (dataset, seed, _), line in own.groupby(["dataset", "seed", "artefact"], sort=False):
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


def confusions(folder: Path, trial: pd.DataFrame) -> Figure:
    """A matrix an arm, rows normalised, summed over the seeds of a trial."""
    store = Store(folder)
    trial = trial.assign(variant=variants(trial))
    groups = sorted(
        trial.groupby(["variant", "arm"], sort=False),
        key=lambda g: (g[0][0] != "", list(ARMS).index(g[0][1])),
    )
    figure, axes = panels(len(groups), 3.6, 3.5)
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
        if len(classes) <= SHOWN_CLASSES:
            ticks = [c[:10].replace("$", r"\$") for c in classes]
            axis.set_xticks(range(len(classes)), ticks, rotation=90, fontsize=7)
            axis.set_yticks(range(len(classes)), ticks, fontsize=7)
            if len(classes) <= 12:
                for i, j in np.argwhere(share >= 0.005):
                    said, ink = f"{100 * share[i, j]:.0f}", "wk"[int(share[i, j] <= 0.5)]
                    axis.text(j, i, said, ha="center", va="center", size=6, color=ink)
        axis.set_xlabel("predicted", fontsize=8)
        axis.set_ylabel("true", fontsize=8)
    figure.tight_layout()
    return figure
