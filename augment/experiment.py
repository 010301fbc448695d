"""The method: one cell of the table, from a data set to its scores. Read `run_cell` first."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from augment import __version__
from augment.arms import ARMS, training_set
from augment.cells import Cell
from augment.data.datasets import Dataset
from augment.data.subset import labelled_subset, unlabelled_rest
from augment.filters import kept
from augment.judge import evidence, judged
from augment.metrics.classification import BALANCED
from augment.mixing import MIXINGS
from augment.select import choose
from augment.stages import Bench, Progress, fit_generator, load_images, synthesise, train_and_score


def run_cell(cell: Cell, data: Dataset, bench: Bench) -> Generator[Progress, None, dict[str, Any]]:
    """One cell; yields progress, returns its row of results.csv."""
    # subset
    places = labelled_subset(data.pool, frac=cell.frac, per_class=cell.per_class, seed=cell.seed)
    # choose
    chosen, choice = cell, None
    if cell.candidates:
        chosen, choice = yield from choose(cell, data, places, bench, learn_and_score)
    # learn
    made = yield from learn_and_score(chosen, data, places, bench)
    # tabulate
    return row(cell, chosen, data, len(places), made, choice)


def learn_and_score(
    cell: Cell, data: Dataset, places: Tensor, bench: Bench
) -> Generator[Progress, None, Made]:
    """The stages of a cell whose settings stand, from the labelled images to the score."""
    labelled = data.pool.select(places)
    policy = data.classic if cell.classic == "auto" else cell.classic
    synthetic, origin, quality, chances, n_drawn = None, None, None, None, 0
    # generate
    if cell.generator:
        model = yield from fit_generator(cell, labelled, policy, bench)
        origin = yield from synthesise(cell, model, labelled, policy, bench)
        drawn = load_images(origin, labelled.classes)
        # check
        quality = yield from judged(cell, drawn, origin, labelled, places, data, policy, bench)
        seen = evidence(quality, origin)
        keep = kept(str(cell.filter), seen)
        chances = seen.chances[keep]
        synthetic = drawn if bool(keep.all()) else drawn.select(keep)
        n_drawn = len(drawn)
    # classify
    unlabelled = unlabelled_rest(data.pool, places) if ARMS[cell.arm].unlabelled else None
    learnt = training_set(cell.arm, labelled, synthetic, policy, cell.share or 0.0, unlabelled)
    if cell.mixing and chances is not None:
        learnt = MIXINGS[cell.mixing](learnt, chances)
    score = yield from train_and_score(cell, learnt, labelled, data.test, origin, quality, bench)
    return Made(score, origin, quality, policy, n_drawn, len(synthetic) if synthetic else 0)


@dataclass(frozen=True)
class Made:
    """The artefacts of a cell."""

    score: Path
    origin: Path | None  # of its synthetic images
    quality: Path | None
    policy: str  # the classic transforms
    n_drawn: int
    n_synth: int  # that passed the filter


def row(
    cell: Cell,
    chosen: Cell,
    data: Dataset,
    n_labelled: int,
    made: Made,
    choice: dict[str, Any] | None,
) -> dict[str, Any]:
    """The cell's row of results.csv, read from its artefacts."""
    about = json.loads((made.score / "about.json").read_text())
    drawn = json.loads((made.origin / "about.json").read_text()) if made.origin else {}
    seen = json.loads((made.quality / "about.json").read_text()) if made.quality else {}
    space = next(iter(seen.get("spaces", {}).values()), {})  # the classifier's
    arm = ARMS[cell.arm]
    return {
        **identity(cell),
        **{k: getattr(chosen, k) for k in SETTINGS},
        **(choice or {}),
        "data_sha": data.sha,
        "frac": n_labelled / len(data.pool),
        "n_labelled": n_labelled,
        "closed_set": drawn.get("closed_set") if arm.closed_set else False,
        "classic": made.policy if arm.classic else "none",
        "steps": about["steps"],
        "n_real": n_labelled if arm.real else 0,
        "n_synth": made.n_synth,
        "measure": BALANCED if data.skewed else "accuracy",
        "kept_fraction": made.n_synth / made.n_drawn if made.n_drawn else None,
        **{
            k: about[k]
            for k in (
                "accuracy",
                "balanced_accuracy",
                "macro_precision",
                "macro_recall",
                "macro_f1",
            )
        },
        "copy_rate": drawn.get("copy_rate"),
        "agreement": seen.get("agreement"),
        "closer_to_train": seen.get("closer_to_train"),
        **{k: space.get(k) for k in ("kid", "fd", "precision", "recall", "density", "coverage")},
        "generator_seconds": drawn.get("generator_seconds"),
        "sample_seconds": drawn.get("sample_seconds"),
        "classifier_seconds": about["seconds"],
        "peak_memory_mb": max(about["peak_memory_mb"], drawn.get("generator_memory_mb", 0)),
        "device": about["device"],
        "precision_mode": about["precision"],
        "status": "ok",
        "signature": made.score.name,
    }


SETTINGS = ("guidance", "strength", "ratio", "share", "mixing", "filter")  # of synthesis and mixing


def identity(cell: Cell) -> dict[str, Any]:
    """The columns of a row that are known before it is run."""
    return {
        "dataset": cell.dataset,
        "asked": cell.amount,
        "seed": cell.seed,
        "generator": cell.generator,
        "preset": cell.preset,
        **{k: getattr(cell, k) for k in SETTINGS},
        "candidates": len(cell.candidates) + 1 if cell.candidates else None,
        "arm": cell.arm,
        "classifier": cell.classifier,
        "version": __version__,
    }
