"""The method: one cell of the table, from a data set to its scores. Read `run_cell` first."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from torch import Tensor

from augment.data.split import Dataset
from augment.data.subset import labelled_subset, unlabelled_rest
from augment.experiment.arms import ARMS, training_set
from augment.experiment.cells import Cell
from augment.experiment.context import Bench, Made, Progress
from augment.experiment.filters import kept
from augment.experiment.mixing import MIXINGS
from augment.experiment.quality import evidence, judged
from augment.experiment.rows import row
from augment.experiment.selection import choose
from augment.experiment.stages import fit_generator, load_images, synthesise, train_and_score


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
        model = yield from fit_generator(cell, labelled, policy, bench, bench.precision_for(data))
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
    score = yield from train_and_score(
        cell, learnt, labelled, data.test, origin, quality, bench, bench.precision_for(data)
    )
    return Made(score, origin, quality, policy, n_drawn, len(synthetic) if synthetic else 0)
