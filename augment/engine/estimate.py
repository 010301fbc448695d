"""`--dry-run`: the cells of a recipe, and the time and disk space of a run. Writes nothing."""

from __future__ import annotations

import dataclasses
import heapq
import os
import time
from pathlib import Path
from typing import Any

from augment.engine.local import choose_jobs, threads_for
from augment.engine.run import check_data
from augment.engine.scheduling import generator_keys
from augment.engine.shards import Shard, shard_of
from augment.engine.stage_timing import (
    Cost,
    Measure,
    arm_without_images,
    time_generator,
    time_judge,
    time_pictures,
    time_sampling,
    time_score,
    time_stages,
)
from augment.experiment.arms import ARMS
from augment.experiment.cells import Cell, expand
from augment.experiment.context import RunContext, Trial
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.recipe import Recipe
from augment.experiment.selection import candidates_of
from augment.experiment.setting_types import AUTO, SELECT
from augment.experiment.synthetic_use import USE_COLUMNS
from augment.experiment.task_choice import with_task
from augment.experiment.tasks import TASKS
from augment.runtime.device import pick_device
from augment.runtime.units import duration
from augment.storage.artifacts import Store
from augment.transforms.geometric import CLASSIC

BUSY = 1.25  # wall over processor time from which other work is told of


def plan(
    recipe: Recipe,
    *,
    data_dir: Path | None,
    device: str,
    jobs: int | None,
    shard: Shard | None = None,
) -> dict[str, Any]:
    """Return splits, notes on the data, cells, seconds, megabytes; time each kind of stage.

    On a CPU the estimate is of the processor's time, so that other work on the machine does not
    change it; `busy` says what that work adds now. It includes start-up, which is as much as this
    process has taken so far.
    """
    where = pick_device(device)
    datasets = DatasetCache(data_dir)
    recipe = with_task(recipe.resolved(where.type), datasets)
    cells = shard_of(expand(recipe), shard)
    check_data(cells, datasets)
    context = RunContext(Store(Path(os.devnull)), where, recipe.precision, first_seed=-1)
    jobs = choose_jobs(jobs, where, [datasets.of(cell).pool.shape for cell in cells], len(cells))
    startup = time.process_time()  # of imports and of reading the data
    stages = [_cost_stages(cell) for cell in cells]
    kinds: dict[str, tuple[Measure, Trial]] = {}
    splits: dict[str, str] = {}
    for cell, of_cell in zip(cells, stages, strict=True):
        trial = Trial.prepare(cell, datasets.of(cell), context)
        splits[f"{cell.dataset}, {cell.amount}:"] = split_of(trial)
        for name, _, measure, variant in of_cell:
            kinds.setdefault(name, (measure, trial.of(variant)))
    costs = time_stages(kinds, jobs, threads_for(jobs))
    tasks, number, mb = tasks_of(cells, stages, costs)
    now = startup + makespan([(key, makes, cost.wall) for key, makes, cost in tasks], jobs)
    idle = startup + makespan([(key, makes, cost.processor) for key, makes, cost in tasks], jobs)
    # threads of one process, and a GPU, are waited for: that costs the processor nothing
    by_processor = where.type == "cpu" and threads_for(jobs) == 1
    busy = by_processor and now > BUSY * idle
    return {
        "splits": splits,
        "notes": datasets.notes(),
        "preset": recipe.preset,
        "device": str(where),
        "processes": jobs,
        "stages": number,
        "estimated_seconds": round(idle if by_processor else now),
        **(
            {"busy": f"beside the other work on this machine about {duration(now)}"} if busy else {}
        ),
        "disk_mb": round(mb),
        "cells": cell_names(cells),
    }


def cell_names(cells: list[Cell]) -> list[str]:
    """Name cells, with the settings by which some cells use synthetic images unlike others."""
    values = {name: {getattr(cell.use, name) for cell in cells} - {None} for name in USE_COLUMNS}
    names = []
    for cell in cells:
        used = {name: getattr(cell.use, name) for name in USE_COLUMNS if len(values[name]) > 1}
        told = [f"{name} {value}" for name, value in used.items() if value is not None]
        names.append(", ".join([cell.name, *told]))
    return names


def split_of(trial: Trial) -> str:
    """Describe the split of a trial: how many images, classes and pixels."""
    pool, test = trial.data.pool, trial.data.test
    return (
        f"{len(trial.indices)} labelled of a pool of {len(pool)}, {len(test)} test, "
        f"{len(pool.classes)} classes, {'×'.join(map(str, pool.shape))} (channels, height, width)"
    )


def tasks_of(
    cells: list[Cell], stages: list[list[TimedStage]], costs: dict[str, Cost]
) -> tuple[list[tuple[Any, bool, Cost]], int, float]:
    """Add up the costs of each cell's stages that no earlier cell shares.

    Returns (synthetic set, whether the cell makes it, cost) of each cell, the number of stages and
    their megabytes.
    """
    finished: set[str] = set()  # unique keys
    tasks: list[tuple[Any, bool, Cost]] = []
    for cell, of_cell in zip(cells, stages, strict=True):
        new = [stage for stage in of_cell if stage[1] not in finished]
        finished |= {key for _, key, _, _ in new}
        cost = sum((costs[name] for name, *_ in new), Cost(0.0, 0.0))
        makes_images = any(m in (time_generator, time_sampling) for _, _, m, _ in new)
        tasks.append((generator_keys(cell) if cell.generator else None, makes_images, cost))
    return tasks, len(finished), sum(cost.mb for *_, cost in tasks)


TimedCell = tuple[Any, bool, float]  # synthetic set, whether the cell makes it, seconds of the cell


def makespan(tasks: list[TimedCell], jobs: int) -> float:
    """Simulate the schedule of `jobs` processes: cells that make images first; return seconds."""
    free, image_times = [0.0] * jobs, {}  # when each process is idle, when each set is ready
    for images, makes_images, seconds in tasks:
        if makes_images:
            image_times[images] = heapq.heappop(free) + seconds
            heapq.heappush(free, image_times[images])
    others = sorted(
        (image_times.get(images, 0.0), seconds)
        for images, makes_images, seconds in tasks
        if not makes_images
    )
    for start, seconds in others:
        heapq.heappush(free, max(heapq.heappop(free), start) + seconds)
    return max(free)


TimedStage = tuple[str, str, Measure, Cell]  # key of equal cost, unique key, what times it, cell


def _cost_stages(cell: Cell) -> list[TimedStage]:
    """List the stages of a cell.

    A cell with a generator also needs the real+classic classifier, which judges its images; a cell
    that selects needs its baseline and all of its candidates in each fold, then one of them. So
    does a trial that chooses its classic transforms.
    """
    if cell.classic == SELECT:
        given = dataclasses.replace(
            cell,
            classic=AUTO,
            candidates=tuple(dataclasses.replace(c, classic=AUTO) for c in cell.candidates),
        )
        of_kinds = [
            (name, f"{key} {kind} fold {fold}", measure, variant)
            for kind in CLASSIC
            for fold in range(cell.folds)
            for name, key, measure, variant in _cost_stages(given.baseline)
        ]
        return [*of_kinds, *_cost_stages(given)]
    if cell.candidates:
        among = candidates_of(cell)
        in_one_fold = [stage for variant in among for stage in _cost_stages(variant)]
        in_folds = [
            (name, f"{key} fold {fold}", measure, variant)
            for fold in range(cell.folds)
            for name, key, measure, variant in in_one_fold
        ]
        return [*in_folds, *_cost_stages(cell.candidates[0])]
    amount = (cell.dataset, cell.amount, cell.size)
    judge = TASKS[cell.task].object_cell(cell).baseline
    kind, of_judge = (
        repr(("score", *amount, each.classifier, arm_without_images(each.arm)))
        for each in (cell, judge)
    )
    stages_of_cell: list[TimedStage] = [(kind, repr(cell), time_score, cell)]
    if TASKS[cell.task].timed_pictures and ARMS[cell.arm].composed:
        stages_of_cell.append(_pictures_stage(cell))
    if cell.generator:
        model, images = generator_keys(cell)
        settings = (cell.generator, cell.generator_settings, *amount)
        stages_of_cell += [
            (of_judge, repr(judge), time_judge, cell),
            # two judges beside, each of half the images and steps
            (of_judge, f"{judge!r} by halves", time_judge, cell),
            (repr(("generator", settings)), model, time_generator, cell),
            (repr(("synthetic", settings, cell.use.ratio)), images, time_sampling, cell),
        ]
    return stages_of_cell


def _pictures_stage(cell: Cell) -> TimedStage:
    """Return the composition of the pictures of a cell; arms that add the same ones share it."""
    use, pasted = cell.use, ARMS[cell.arm].pasted
    made_by = generator_keys(cell) if cell.generator else None
    kind = (cell.dataset, cell.amount, cell.size, use.ratio, pasted, bool(made_by), use.placing)
    unique = (cell.trial, made_by, use.filter, use.placing, pasted, pasted and use.share)
    return repr(("pictures", kind)), repr(("pictures", unique)), time_pictures, cell
