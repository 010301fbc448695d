"""How much of each difference could be due to the choice of test images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from augment.data.subset import linked_units
from augment.experiment.arms import DECISIVE
from augment.experiment.results_table import ERROR_COLUMNS, main_score
from augment.metrics.intervals import UnitVariance, unit_variance
from augment.report.baselines import baseline_of
from augment.report.measured import MeasureReader, the_measure
from augment.report.table import variant_names
from augment.storage.artifacts import Store
from augment.storage.tables import read_csv


def with_test_set_error(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Fill the columns of the test units from the stored predictions of each arm and its baseline.

    The error is that of an arm, not of a trial: equal in all of its finished rows. Empty in
    baselines, and where fewer than two trials finished both; of a single unit its number alone
    is known.
    """
    columns, units = list(ERROR_COLUMNS[:3]), units_of_test_set(folder)
    table = table.assign(**dict.fromkeys(columns, np.nan))
    done = table.assign(variant=variant_names(table), score=main_score(table))
    done = done[done["status"] == "ok"]
    for (dataset, _), block in done.groupby(["dataset", "asked"], sort=False):
        cells_of = dict(list(block.groupby(["variant", "arm"], sort=False)))
        # the decisive arm last: its baseline hangs on how sure the others are
        for (_, arm), cells in sorted(cells_of.items(), key=lambda cell: cell[0][1] == DECISIVE):
            known = block.assign(**table.loc[block.index, columns])
            base = cells_of.get(("", baseline_of(arm, known)))
            if base is None:
                continue
            if found := variance_between_arms((folder, cells), (folder, base), units[dataset]):
                se = math.nan if found.single else found.se
                values = se, found.sd_interaction, found.number
                table.loc[cells.index, columns] = [values] * len(cells)
    return table


def variance_between_arms(
    arm: tuple[Path, pd.DataFrame], base: tuple[Path, pd.DataFrame], units: np.ndarray
) -> UnitVariance | None:
    """Compute `unit_variance` of two arms, each a run folder and its finished cells.

    Paired over seeds; None where they share fewer than two. `units` is [test images].
    """
    signatures = [cells.set_index("seed")["signature"] for _, cells in (arm, base)]
    seeds = signatures[0].index.intersection(signatures[1].index)
    if len(seeds) < 2:
        return None
    measure = the_measure(arm[1]["measure"].dropna())
    scores = [
        np.stack(
            [unit_scores(Store(folder).path("score", of[seed]), units, measure) for seed in seeds]
        )  # [trials, units]
        for (folder, _), of in zip((arm, base), signatures, strict=True)
    ]
    return unit_variance(scores[0] - scores[1])


def units_of_test_set(folder: Path) -> dict[str, np.ndarray]:
    """Number the unit that each test image of a data set belongs to: [test images].

    A unit is what is sampled together: a group (a patient), or images that are equal.
    """
    lines = read_csv(folder / "manifest.csv", ("dataset", "group", "sha256", "split"))
    columns = ["dataset", "group", "sha256"]  # manifests of old run folders have no groups
    test = lines[lines["split"] == "test"].reindex(columns=columns).astype(object).fillna("")
    return {
        name: pd.factorize(np.array(linked_units(images["group"].tolist(), images["sha256"])))[0]
        for name, images in test.groupby("dataset", sort=False)
    }


def unit_scores(score: Path, units: np.ndarray, measure: MeasureReader) -> np.ndarray:
    """Compute what each unit adds to the score of a cell: [units], with the score as their mean."""
    n_units = units.max() + 1
    return n_units * np.bincount(units, measure.by_image(score), n_units)
