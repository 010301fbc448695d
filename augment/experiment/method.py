"""The method: one cell of the table, from data set to scores. Read `run_cell` first."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from augment.data.split import Dataset
from augment.experiment.cells import Cell
from augment.experiment.classic_choice import with_chosen_classic
from augment.experiment.context import CellArtifacts, RunContext, Trial
from augment.experiment.evidence import synthetic_set
from augment.experiment.progress import Progress
from augment.experiment.quality import assess
from augment.experiment.results_table import result_row
from augment.experiment.sampling import synthesise
from augment.experiment.selection import Choice, choose
from augment.experiment.setting_types import SELECT
from augment.experiment.stages import fit_generator, train_and_score
from augment.experiment.tasks import TASKS


def run_cell(
    cell: Cell, data: Dataset, context: RunContext
) -> Generator[Progress, None, dict[str, Any]]:
    """Run one cell; yields progress, returns its row of results.csv."""
    # subset
    trial = Trial.prepare(cell, data, context)
    # choose
    if cell.classic == SELECT:
        trial = yield from with_chosen_classic(trial, learn_and_score)
        cell = trial.cell
    choice = Choice(cell, {})
    if cell.candidates:
        choice = yield from choose(trial, learn_and_score)
    # learn
    artifacts = yield from learn_and_score(trial.of(choice.cell))
    # tabulate
    return result_row(trial, choice, artifacts)


def learn_and_score(trial: Trial) -> Generator[Progress, None, CellArtifacts]:
    """Run the stages of a cell whose settings are decided, from labelled images to the score."""
    task, synthetic = TASKS[trial.cell.task], None
    if trial.cell.generator:
        # generate
        objects = task.objects(trial)
        model = yield from fit_generator(objects)
        sampled = yield from synthesise(objects, model)
        # check
        quality = yield from assess(objects, sampled)
        synthetic = synthetic_set(objects, sampled, quality)
    # compose
    pictures = yield from task.compose(trial, synthetic)
    # classify, or detect
    score = yield from train_and_score(trial, synthetic, pictures)
    return CellArtifacts(score, synthetic)
