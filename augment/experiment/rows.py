"""The rows of results.csv: the one owner of its columns."""

from __future__ import annotations

from typing import Any

from augment import __version__
from augment.experiment.arms import ARMS
from augment.experiment.cells import Cell
from augment.experiment.context import CellArtifacts, Trial
from augment.experiment.records import QualityResult, ScoreResult, SyntheticResult
from augment.experiment.selection import Choice
from augment.experiment.synthetic_use import USE_COLUMNS, USE_OF_SCORE, USE_TEXTS
from augment.metrics.classification import BALANCED

CHOICE = ("validation_accuracy", "validation_baseline")  # what a row says of a choice
SCORES = ("accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1")
SPACE = ("kid", "fd", "precision", "recall", "density", "coverage")  # in the judge's features
RESULTS_COLUMNS = [
    *("run", "dataset", "data_sha", "asked", "frac", "n_labelled", "seed"),
    *("generator", "closed_set", "preset", *USE_COLUMNS, "candidates", *CHOICE),
    *("arm", "classic", "classifier", "steps", "n_real", "n_synth", "kept_fraction"),
    *("measure", *SCORES, "se_test_images"),
    *("copy_rate", "agreement", "closer_to_train", *SPACE),
    *("generator_seconds", "sample_seconds", "classifier_seconds", "peak_memory_mb"),
    *("device", "precision_mode", "status", "error", "signature", "version"),
]
TEXT_COLUMNS = [
    *("run", "dataset", "data_sha", "asked", "generator", "preset", *USE_TEXTS),
    *("arm", "classic", "classifier", "measure", "device", "precision_mode"),
    *("status", "error", "signature", "version"),
]
NEWER_COLUMNS = ("se_test_images", *USE_COLUMNS)  # empty in tables of before they were there
# what tells the cells of one preset and classifier apart
KEY_COLUMNS = ("dataset", "asked", "seed", "generator", *USE_COLUMNS, "candidates", "arm")
# settings of an arm: the synthetic set is the same in all of them
ARM_COLUMNS = ("arm", *USE_OF_SCORE, "candidates")


def result_row(trial: Trial, choice: Choice, artifacts: CellArtifacts) -> dict[str, Any]:
    """The cell's row of results.csv, read from its artefacts."""
    cell, arm, synthetic = trial.cell, ARMS[trial.cell.arm], artifacts.synthetic
    score = ScoreResult.read(artifacts.score)
    sampled = vars(SyntheticResult.read(synthetic.path)) if synthetic else {}
    quality = vars(QualityResult.read(synthetic.quality)) if synthetic else {}
    space = next(iter(quality.get("spaces", {}).values()), {})
    n_labelled, n_synth = len(trial.labelled), len(synthetic.images) if synthetic else 0
    return {
        **identity(cell),
        **choice.cell.use.columns(),
        **choice.columns,
        "data_sha": trial.data.sha,
        "frac": n_labelled / len(trial.data.pool),
        "n_labelled": n_labelled,
        "closed_set": sampled.get("closed_set") if arm.closed_set else False,
        "classic": trial.transform if arm.classic else "none",
        "steps": score.steps,
        "n_real": n_labelled if arm.real else 0,
        "n_synth": n_synth,
        "measure": BALANCED if trial.data.skewed else "accuracy",
        "kept_fraction": n_synth / synthetic.n_sampled if synthetic else None,
        **{name: getattr(score, name) for name in SCORES},
        "copy_rate": sampled.get("copy_rate"),
        "agreement": quality.get("agreement"),
        "closer_to_train": quality.get("closer_to_train"),
        **{name: space.get(name) for name in SPACE},
        "generator_seconds": sampled.get("generator_seconds"),
        "sample_seconds": sampled.get("sample_seconds"),
        "classifier_seconds": score.seconds,
        "peak_memory_mb": max(score.peak_memory_mb, sampled.get("generator_memory_mb", 0)),
        "device": score.device,
        "precision_mode": score.precision,
        "status": "ok",
        "signature": artifacts.score.name,
    }


def identity(cell: Cell) -> dict[str, Any]:
    """The columns of a row that are known before it is run."""
    return {
        "dataset": cell.dataset,
        "asked": cell.amount,
        "seed": cell.seed,
        "generator": cell.generator,
        "preset": cell.preset,
        **cell.use.columns(),
        "candidates": len(cell.candidates) + 1 if cell.candidates else None,
        "arm": cell.arm,
        "classifier": cell.classifier,
        "version": __version__,
    }
