"""The method: one cell of the table, from a data set to its scores. Read `run_cell` first."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

from augment import __version__
from augment.arms import ARMS, training_set
from augment.cells import Cell
from augment.data.datasets import Dataset
from augment.data.images import LabelledImages
from augment.data.subset import labelled_subset, unlabelled_rest
from augment.judge import judged
from augment.stages import (
    Bench,
    Progress,
    fit_generator,
    load_images,
    synthesise,
    train_and_score,
)  # fmt: skip


def run_cell(cell: Cell, data: Dataset, bench: Bench) -> Generator[Progress, None, dict[str, Any]]:
    """One cell; yields progress, returns its row of results.csv."""
    # subset
    places = labelled_subset(data.pool, frac=cell.frac, per_class=cell.per_class, seed=cell.seed)
    labelled = data.pool.select(places)
    policy = data.classic if cell.classic == "auto" else cell.classic
    # generate
    synthetic, origin, quality = None, None, None
    if cell.generator:
        model = yield from fit_generator(cell, labelled, policy, bench, bench.precision_for(data))
        origin = yield from synthesise(cell, model, labelled, policy, bench)
        synthetic = load_images(origin, labelled.classes)
        quality = yield from judged(cell, synthetic, origin, labelled, places, data, policy, bench)
    # classify
    unlabelled = unlabelled_rest(data.pool, places) if ARMS[cell.arm].unlabelled else None
    learnt = training_set(cell.arm, labelled, synthetic, policy, cell.share or 0.0, unlabelled)
    score = yield from train_and_score(cell, learnt, labelled, data.test, origin, quality, bench,
                                       bench.precision_for(data))  # fmt: skip
    # tabulate
    return row(cell, data, labelled, synthetic, policy, score, origin, quality)


def row(
    cell: Cell, data: Dataset, labelled: LabelledImages, synthetic: LabelledImages | None,
    policy: str, score: Path, origin: Path | None, quality: Path | None,
) -> dict[str, Any]:  # fmt: skip
    """The cell's row of results.csv, read from its artefacts."""
    about = json.loads((score / "about.json").read_text())
    made = json.loads((origin / "about.json").read_text()) if origin else {}
    seen = json.loads((quality / "about.json").read_text()) if quality else {}
    space = next(iter(seen.get("spaces", {}).values()), {})  # the classifier's
    arm = ARMS[cell.arm]
    return {
        **identity(cell),
        "data_sha": data.sha,
        "frac": len(labelled) / len(data.pool),
        "n_labelled": len(labelled),
        "closed_set": False if arm.pretrained else made.get("closed_set"),
        "filter": "none" if made else None,
        "classic": policy if arm.classic else "none",
        "steps": about["steps"],
        "n_real": len(labelled) if arm.real else 0,
        "n_synth": len(synthetic) if synthetic else 0,
        "kept_fraction": 1.0 if made else None,
        **{k: about[k] for k in ("accuracy", "balanced_accuracy", "macro_precision",
                                 "macro_recall", "macro_f1")},
        "copy_rate": made.get("copy_rate"),
        "agreement": seen.get("agreement"),
        "closer_to_train": seen.get("closer_to_train"),
        **{k: space.get(k) for k in ("kid", "fd", "precision", "recall", "density", "coverage")},
        "generator_seconds": made.get("generator_seconds"),
        "sample_seconds": made.get("sample_seconds"),
        "classifier_seconds": about["seconds"],
        "peak_memory_mb": max(about["peak_memory_mb"], made.get("generator_memory_mb", 0)),
        "device": about["device"],
        "precision_mode": about["precision"],
        "status": "ok",
        "signature": score.name,
    }  # fmt: skip


def identity(cell: Cell) -> dict[str, Any]:
    """The columns of a row that are known before it is run."""
    return {
        "dataset": cell.dataset,
        "asked": cell.amount,
        "seed": cell.seed,
        "generator": cell.generator,
        "preset": cell.preset,
        "guidance": cell.guidance,
        "ratio": cell.ratio,
        "share": cell.share,
        "arm": cell.arm,
        "classifier": cell.classifier,
        "version": __version__,
    }
