"""How much of each difference could be the luck of which images were tested."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open

from augment.data.subset import linked_units
from augment.experiment.arms import ARMS
from augment.metrics.classification import BALANCED
from augment.metrics.paired import image_error
from augment.report.table import variants
from augment.storage.artifacts import Store
from augment.storage.tables import read_csv


def with_image_error(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The results with `se_test_images`, from the stored predictions of each arm and its baseline.

    It is of an arm, not of a trial: equal in all of its finished rows. Empty in baselines, and
    where fewer than two pairs are finished.
    """
    units, errors = units_tested(folder), pd.Series(np.nan, index=table.index)
    done = table.assign(variant=variants(table))[table["status"] == "ok"]
    for (dataset, _), trial in done.groupby(["dataset", "asked"], sort=False):
        of_arm = dict(list(trial.groupby(["variant", "arm"], sort=False)))
        for (_, arm), own in of_arm.items():
            base = of_arm.get(("", ARMS[arm].against))
            if base is not None:
                errors[own.index] = error_between((folder, own), (folder, base), units[dataset])
    return table.assign(se_test_images=errors)


def error_between(
    arm: tuple[Path, pd.DataFrame], base: tuple[Path, pd.DataFrame], units: np.ndarray
) -> float:
    """`image_error` of two arms, each a run folder and its finished cells on the same data.

    Paired over seeds; NaN where they share fewer than two.
    """
    cells = [own.set_index("seed")["signature"] for _, own in (arm, base)]
    seeds = cells[0].index.intersection(cells[1].index)
    if len(seeds) < 2:
        return math.nan
    balanced = arm[1]["measure"].iloc[0] == BALANCED
    scores = [
        np.stack([unit_scores(Store(folder).path("score", own[s]), units, balanced) for s in seeds])
        for (folder, _), own in zip((arm, base), cells, strict=True)
    ]
    return image_error(scores[0] - scores[1])


def units_tested(folder: Path) -> dict[str, np.ndarray]:
    """Of each data set, the number of the unit that each test image belongs to.

    A unit is what is drawn together: a group (a patient), or pictures that are equal.
    """
    lines = read_csv(folder / "manifest.csv", ("dataset", "group", "sha256", "split"))
    columns = ["dataset", "group", "sha256"]  # folders of before the manifest had groups lack them
    tested = lines[lines["split"] == "test"].reindex(columns=columns).astype(object).fillna("")
    return {
        name: pd.factorize(np.array(linked_units(own["group"].tolist(), own["sha256"])))[0]
        for name, own in tested.groupby("dataset", sort=False)
    }


def unit_scores(score: Path, units: np.ndarray, balanced: bool) -> np.ndarray:
    """What each unit adds to the score of a cell, scaled so that the mean is the score: [units].

    The score is the accuracy, or the balanced one: the mean recall of the classes tested.
    """
    with safe_open(score / "predictions.safetensors", "numpy") as file:
        labels, predicted = file.get_tensor("labels"), file.get_tensor("predicted")
    weights = np.full(len(labels), 1 / len(labels))
    if balanced:
        counts = np.bincount(labels)
        weights = 1 / (counts[labels] * np.count_nonzero(counts))
    n_units = units.max() + 1
    return n_units * np.bincount(units, weights * (labels == predicted), n_units)
