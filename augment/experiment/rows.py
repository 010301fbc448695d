"""The rows of results.csv: the one owner of its columns."""

from __future__ import annotations

import json
from typing import Any

from augment import __version__
from augment.data.split import Dataset
from augment.experiment.arms import ARMS
from augment.experiment.cells import Cell
from augment.experiment.context import Made
from augment.metrics.classification import BALANCED


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
