"""results.csv: its columns, the row of a cell, writing and reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from augment import __version__
from augment.errors import UsageError
from augment.experiment.arms import ARMS
from augment.experiment.box_scores import MAP
from augment.experiment.cells import Cell
from augment.experiment.context import CellArtifacts, Trial
from augment.experiment.records import JUDGE_FEATURES, QualityResult, ScoreResult, SyntheticResult
from augment.experiment.selection import Choice
from augment.experiment.synthetic_use import USE_COLUMNS, USE_OF_SCORE, USE_TEXTS
from augment.experiment.tasks import TASKS
from augment.metrics.classification import BALANCED
from augment.storage.tables import read_csv, write_csv

# columns of a choice by --select: the score of what was chosen, and that of the baseline
CHOICE = ("validation_accuracy", "validation_map", "validation_baseline")
CLASSIC_AMONG = "classic_candidates"  # kinds that `classic` was chosen among, by --classic select
SCORES = ("accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1")
BOX_SCORES = ("map", "ap50", "box_precision", "box_recall")  # of detectors
SCORE_COLUMNS = {"accuracy": "accuracy", BALANCED: "balanced_accuracy", MAP: "map"}  # its column
SPACE = ("kid", "fd", "precision", "recall", "density", "coverage")  # in the judge's features
# filled once all cells have ended: what the intervals of an arm are made of
LOOK_COLUMNS = ("looks", "until")  # at the growing trials; half the width that was asked for
ERROR_COLUMNS = ("se_test_images", "sd_interaction", "test_units", *LOOK_COLUMNS)
RESULTS_COLUMNS = [
    *("run", "dataset", "data_sha", "asked", "frac", "n_labelled", "seed"),
    *("generator", "closed_set", "preset", *USE_COLUMNS, "candidates", *CHOICE),
    *("arm", "classic", CLASSIC_AMONG, "classifier", "steps", "n_real", "n_synth", "kept_fraction"),
    *("measure", *SCORES, *BOX_SCORES, *ERROR_COLUMNS),
    *("copy_rate", "agreement", "trust", "closer_to_train", *SPACE),
    *("generator_seconds", "sample_seconds", "classifier_seconds", "peak_memory_mb"),
    *("device", "precision_mode", "status", "error", "signature", "version"),
]
TEXT_COLUMNS = [
    *("run", "dataset", "data_sha", "asked", "generator", "preset", *USE_TEXTS),
    *("arm", "classic", "classifier", "measure", "device", "precision_mode"),
    *("status", "error", "signature", "version"),
]
# empty in tables of older versions
NEWER_COLUMNS = (
    *ERROR_COLUMNS,
    *USE_COLUMNS,
    *BOX_SCORES,
    CLASSIC_AMONG,
    "validation_map",
    "trust",
)
# these distinguish the cells of one preset and classifier
KEY_COLUMNS = ("dataset", "asked", "seed", "generator", *USE_COLUMNS, "candidates", "arm")
# settings of an arm: the synthetic set is the same in all of them
ARM_COLUMNS = ("arm", *USE_OF_SCORE, "candidates")


def result_row(trial: Trial, choice: Choice, artifacts: CellArtifacts) -> dict[str, Any]:
    """Build the cell's row of results.csv from its artefacts."""
    cell, arm, synthetic = trial.cell, ARMS[trial.cell.arm], artifacts.synthetic
    score = ScoreResult.read(artifacts.score)
    sampled = vars(SyntheticResult.read(synthetic.path)) if synthetic else {}
    quality = vars(QualityResult.read(synthetic.quality)) if synthetic else {}
    space = quality.get("spaces", {}).get(JUDGE_FEATURES, {})
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
        CLASSIC_AMONG: trial.n_kinds,
        "steps": score.steps,
        "n_real": n_labelled if arm.real else 0,
        "n_synth": n_synth,
        "measure": TASKS[cell.task].measure(trial.data),
        "kept_fraction": n_synth / synthetic.n_sampled if synthetic else None,
        **{name: getattr(score, name) for name in (*SCORES, *BOX_SCORES)},
        "copy_rate": sampled.get("copy_rate"),
        "agreement": quality.get("agreement"),
        "trust": synthetic.evidence.trust if synthetic else None,
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


def main_score(results: pd.DataFrame) -> pd.Series:
    """Return the score that counts of each row: balanced accuracy where classes are very uneven.

    Of detectors COCO's average precision.
    """
    scores = results["accuracy"]
    for measure in results["measure"].dropna().unique():
        scores = scores.mask(results["measure"].eq(measure), results[SCORE_COLUMNS[measure]])
    return pd.to_numeric(scores, errors="coerce").astype(float)


def identity(cell: Cell) -> dict[str, Any]:
    """Build the columns of a row that are known before the cell runs."""
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


def write_results(folder: Path, cells: list[Cell], rows: dict[int, dict[str, Any]]) -> pd.DataFrame:
    """Write results.csv of the finished cells, in the order of the recipe.

    Returns the table.
    """
    lines = [{"run": folder.name, **rows[n]} for n in range(len(cells)) if n in rows]
    table = pd.DataFrame(lines, columns=RESULTS_COLUMNS)
    write_results_table(folder, table)
    return table


def write_results_table(folder: Path, table: pd.DataFrame) -> None:
    """Write results.csv: one row for each finished cell."""
    write_csv(folder / "results.csv", table)


def read_results(file: Path) -> pd.DataFrame:
    """Read a results.csv; UsageError if it is another table."""
    table = read_csv(file, TEXT_COLUMNS)
    missing = set(RESULTS_COLUMNS) - set(table.columns) - set(NEWER_COLUMNS)
    if missing:
        raise UsageError(f"{file} is no results table: it lacks {', '.join(sorted(missing))}")
    others = table.columns.difference(RESULTS_COLUMNS, sort=False)
    table = table.reindex(columns=[*RESULTS_COLUMNS, *others])
    _check_results(file, table)
    return table


def _check_results(file: Path, table: pd.DataFrame) -> None:
    """Raise UsageError for duplicate rows, unknown arms or impossible scores."""
    twice = table.duplicated([*KEY_COLUMNS, "preset", "classifier"])
    scores = main_score(table)
    impossible = table["status"].eq("ok") & ~scores.between(0, 1)
    unknown = ~table["arm"].isin(ARMS)
    for rows, fault in (
        (twice, "a second row of a cell"),
        (impossible, "a score outside 0…1"),
        (unknown, "an unknown arm"),
    ):
        if rows.any():
            raise UsageError(
                f"{file} line {int(rows.argmax()) + 2}: {fault}; augment resume writes it anew"
            )
