"""`augment advise`: race ways inside the labelled images, measure the best on test images."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from augment.data.pictures.framing import AFFORDED_SIDE
from augment.engine.cell_runner import ResultRow
from augment.engine.executors import Executor
from augment.engine.finish import finish_run
from augment.engine.local import threads_for
from augment.engine.run import RUNS, Result, check_data, recipe_settings, refuse_inside_data
from augment.engine.stage_timing import time_generator, time_sampling, time_stages
from augment.engine.status import BEGUN
from augment.engine.timed_cells import TimedCells
from augment.experiment.cells import Cell
from augment.experiment.context import RunContext, Trial
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.progress import Progress
from augment.experiment.race import Heat, Outcome, Race, planned_cells, run_race
from augment.experiment.recipe import Recipe
from augment.experiment.results_table import write_results
from augment.experiment.task_choice import refuse_boxes
from augment.experiment.ways import (
    LEAST_TRIALS,
    MOST_TRIALS_MEASURED,
    REFERENCE,
    Way,
    free_ways,
    generated_ways,
)
from augment.report.advice import PAGE, Measured, write_advice
from augment.report.manifest import write_start
from augment.runtime.machine import environment
from augment.storage.artifacts import Store
from augment.storage.atomic import write_atomic, writing
from augment.storage.run_folder import fresh_folder, kept_side, open_run

CURVE = (0.5, 0.7)  # of the labelled images, beside all of them
_LEAST_OF_CURVE = 4  # labelled images of the smallest class


@dataclass(frozen=True)
class AdviceResult(Result):
    """Result of a run with the advice: what stands on the page."""

    advice: dict[str, Any] = dataclasses.field(default_factory=dict)


def execute_advice(
    recipe: Recipe, budget: int, *, out: Path | None, data_dir: Path | None, executor: Executor
) -> Generator[Progress, None, AdviceResult]:
    """Race, measure and write the page, within `budget` seconds where three trials fit in it.

    The race is run in the first seed of the recipe, the measurement in as many of the others as
    time allows, three at least. Yields progress.
    """
    with executor:
        recipe = executor.resolved(recipe)
        data = DatasetCache(data_dir, kept_side(out, AFFORDED_SIDE))
        refuse_boxes(recipe, data, "augment advise")
        usual, *_ = (way.cell for way in free_ways(recipe, unlabelled=False))
        trials = [dataclasses.replace(usual, seed=seed) for seed in recipe.seeds]
        check_data(trials, data)
        dataset = data.of(usual)
        settings = {**recipe_settings(recipe, data), "budget": budget}
        settings["data"] = {usual.dataset: dataset.sha}
        workers = executor.plan_workers([dataset.pool.shape], os.cpu_count() or 1)
        refuse_inside_data((out or RUNS).resolve(), recipe.dataset)
        folder = out or _unused_folder(usual.dataset, settings)
        lock = open_run(folder, settings)
        try:
            with writing(folder):
                begun = "\n".join([*data.notes(), f"race and measurement into {folder}"])
                yield Progress(BEGUN, "", 0, 0, note=begun)
                machine = {**environment(executor.device), **workers}
                write_atomic(folder / "environment.json", json.dumps(machine, indent=1))
                context = RunContext(
                    Store(folder), executor.device, recipe.precision, first_seed=recipe.seeds[1]
                )
                cells = TimedCells(executor, data, context)
                jobs = int(workers.get("processes", 1))
                outcome = yield from _race(recipe, cells, budget, jobs)
                measured = yield from _measure(outcome, recipe.seeds[1:], cells, budget)
                write_start(folder, recipe, measured.cells, data.of)
                table = write_results(folder, measured.cells, dict(enumerate(measured.rows)))
                table = finish_run(folder, table)
                advice = write_advice(folder, table, outcome, measured)
        finally:
            lock.release()
    failed = table[table["status"] != "ok"]
    errors = failed["error"].dropna().unique().tolist()
    return AdviceResult(table, folder, len(failed), errors, advice)


def _unused_folder(dataset: str, settings: dict[str, Any]) -> Path:
    """Name results/runs/DATASET-advice(-2 …): new, or unfinished with the same settings."""

    def resumable(folder: Path) -> bool:
        file = folder / "settings.json"
        if (folder / PAGE).exists() or not file.exists():
            return False
        return json.loads(file.read_text()) == settings

    return fresh_folder(RUNS, f"{Path(dataset).resolve().name}-advice", resumable)


def _race(
    recipe: Recipe, cells: TimedCells, budget: int, jobs: int
) -> Generator[Progress, None, Outcome]:
    """Run the race with the executor's processes."""

    def play(ways: list[Way], fold: int) -> Generator[Progress, None, dict[str, Heat | str]]:
        in_fold = [way.in_fold(fold, recipe.folds) for way in ways]
        rows = yield from cells.run(in_fold)
        return {
            way.name: _heat(cells, cell, row)
            for way, cell, row in zip(ways, in_fold, rows, strict=True)
        }

    race = Race(recipe.folds, play, lambda: budget - cells.used, jobs)
    usual, *_ = (way.cell for way in free_ways(recipe, unlabelled=False))
    data = cells.data.of(usual)
    unlabelled = len(usual.labelled_indices(data)) < len(data.pool)
    cells.planned = planned_cells(recipe, unlabelled=unlabelled)
    return (
        yield from run_race(race, recipe, lambda: _time_generators(recipe, cells, jobs), unlabelled)
    )


def _heat(cells: TimedCells, cell: Cell, row: ResultRow) -> Heat | str:
    """Read what a cell of the race predicted, or why it failed."""
    if row["status"] != "ok":
        return str(row["error"])
    score = cells.context.store.path("score", row["signature"])
    predicted = load_file(score / "predictions.safetensors")
    return Heat(predicted["probability"].float(), predicted["labels"], cells.seconds(cell))


def _time_generators(recipe: Recipe, cells: TimedCells, jobs: int) -> dict[str, float]:
    """Estimate the seconds of training and sampling each generator from a few steps of it."""
    if cells.generators is None:
        start = time.monotonic()
        kinds: dict[str, Any] = {}
        for name in recipe.generator:
            cell = generated_ways(recipe, name, [REFERENCE])[0].in_fold(1, recipe.folds)
            trial = Trial.prepare(cell, cells.data.of(cell), cells.context)
            kinds |= {f"{name} training": (time_generator, trial)}
            kinds |= {f"{name} sampling": (time_sampling, trial)}
        costs = time_stages(kinds, jobs, threads_for(jobs))
        cells.generators = {
            name: costs[f"{name} training"].wall + costs[f"{name} sampling"].wall
            for name in recipe.generator
        }
        cells.generators[""] = time.monotonic() - start
        cells.save()
    known = dict(cells.generators)
    cells.used += known.pop("")
    return known


def _measure(
    outcome: Outcome, seeds: list[int], cells: TimedCells, budget: int
) -> Generator[Progress, None, Measured]:
    """Score the best ways on the test images, in three trials and as many more as time allows."""
    ways = {way.name: way for way in _to_measure(outcome)}
    baseline = outcome.best_free
    if outcome.winner.name == baseline.name:  # no news beside itself
        baseline = next(way for way in ways.values() if way.name == REFERENCE)
    data = cells.data.of(baseline.cell)
    labelled = data.pool.select(baseline.cell.labelled_indices(data))
    smaller = _smaller(baseline.cell, labelled.counts())

    def of_trial(seed: int) -> list[Cell]:
        full = [way.in_trial(seed) for way in ways.values()]
        return [*full, *(dataclasses.replace(cell, seed=seed) for cell in smaller)]

    def run(trials: list[int]) -> Generator[Progress, None, list[ResultRow]]:
        batch = [cell for seed in trials for cell in of_trial(seed)]
        cells.planned = len(cells.status.ended) + len(batch)
        return (yield from cells.run(batch))

    before = cells.used
    rows = yield from run(seeds[:LEAST_TRIALS])
    per_trial = (cells.used - before) / LEAST_TRIALS
    more = max(0, int((budget - cells.used) / max(per_trial, 1e-3)))
    seeds = seeds[: min(LEAST_TRIALS + more, MOST_TRIALS_MEASURED)]
    rows += yield from run(seeds[LEAST_TRIALS:])
    in_all = [cell for seed in seeds for cell in of_trial(seed)]
    return Measured(in_all, rows, list(ways.values()), baseline, cells.used, budget)


def _to_measure(outcome: Outcome) -> list[Way]:
    """List the ways to measure: the winner, the runner-up, the usual and the best free way."""
    usual = next(each.way for each in outcome.standings if each.way.name == REFERENCE)
    return [way for way in (outcome.winner, outcome.runner_up, outcome.best_free, usual) if way]


def _smaller(cell: Cell, counts: Any) -> list[Cell]:
    """List the cell with fewer labelled images, for its learning curve; empty if there are few."""
    if int(counts.min()) < _LEAST_OF_CURVE:
        return []
    if cell.per_class:
        amounts = [round(share * cell.per_class) for share in CURVE]
        return [dataclasses.replace(cell, per_class=n) for n in amounts]
    return [dataclasses.replace(cell, frac=share * float(cell.frac or 1)) for share in CURVE]
