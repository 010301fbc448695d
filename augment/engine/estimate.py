"""`--dry-run`: the cells of a recipe, and the time and disk space of a run. Writes nothing."""

from __future__ import annotations

import heapq
import os
import time
from pathlib import Path
from typing import Any

import torch

from augment.classifiers import CLASSIFIERS
from augment.data.images import LabelledImages
from augment.data.subset import hide_labels
from augment.engine.local import choose_jobs, threads_for
from augment.engine.run import check_data
from augment.engine.scheduling import generator_keys
from augment.engine.shards import Shard, shard_of
from augment.experiment.arms import ARMS, generator_set, training_set
from augment.experiment.cells import Cell, expand
from augment.experiment.context import RunContext, Trial
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.recipe import Recipe
from augment.experiment.stages import snapshot_steps
from augment.generators import GENERATORS
from augment.runtime.device import pick_device, threads
from augment.storage.artifacts import Store
from augment.training.bf16_guard import safe_precision
from augment.training.learner import Learner
from augment.training.loop import train
from augment.training.serialization import kept_state
from augment.training.training_set import TrainingSet

STEPS, WARMUP = 6, 2  # timed steps, and untimed ones before them


def plan(
    recipe: Recipe,
    *,
    data_dir: Path | None,
    device: str,
    jobs: int | None,
    shard: Shard | None = None,
) -> dict[str, Any]:
    """Return splits, cells, seconds and megabytes; time each distinct stage for a few steps.

    The estimate includes start-up: the CPU time of this process so far, counted again where there
    are worker processes, which start up side by side.
    """
    where = pick_device(device)
    recipe = recipe.resolved(where.type)
    cells, datasets = shard_of(expand(recipe), shard), DatasetCache(data_dir)
    check_data(cells, datasets)
    context = RunContext(Store(Path(os.devnull)), where, recipe.precision, first_seed=-1)
    jobs = choose_jobs(jobs, where, [datasets.of(cell).pool.shape for cell in cells], len(cells))
    # of imports and of reading the data
    startup = time.process_time() * (2 if jobs > 1 else 1)
    measured: dict[str, tuple[float, float]] = {}  # key of equal cost → seconds, MB
    finished: set[str] = set()  # unique keys
    tasks: list[Task] = []
    disk = 0.0
    splits: dict[str, str] = {}
    for cell in cells:
        data = datasets.of(cell)
        trial = Trial.prepare(cell, data, context)
        splits[f"{cell.dataset}, {cell.amount}:"] = (
            f"{len(trial.indices)} labelled of a pool of {len(data.pool)}, {len(data.test)} test, "
            f"{len(data.pool.classes)} classes, {'×'.join(map(str, data.pool.shape))}"
        )
        seconds, makes_images = 0.0, False
        for name, key, measure, variant in _cost_stages(cell):
            if key in finished:  # shared with an earlier cell
                continue
            finished.add(key)
            if name not in measured:
                with threads(threads_for(jobs)):
                    measured[name] = measure(trial.of(variant))
            seconds, disk = seconds + measured[name][0], disk + measured[name][1]
            makes_images = makes_images or measure is not _measure_score
        tasks.append((generator_keys(cell) if cell.generator else None, makes_images, seconds))
    return {
        "splits": splits,
        "preset": recipe.preset,
        "device": str(where),
        "processes": jobs,
        "stages": len(finished),
        "estimated_seconds": round(startup + makespan(tasks, jobs)),
        "disk_mb": round(disk),
        "cells": [c.name for c in cells],
    }


Task = tuple[Any, bool, float]  # synthetic set, whether the cell makes it, seconds of the cell


def makespan(tasks: list[Task], jobs: int) -> float:
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


def _cost_stages(cell: Cell) -> list[tuple[str, str, Any, Cell]]:
    """List the stages of a cell: (key of equal cost, unique key, function that measures, cell).

    A cell with a generator also needs the real+classic classifier, which judges its images; a cell
    that selects needs all of its candidates in each fold, then one of them.
    """
    if cell.candidates:
        in_one_fold = [stage for variant in cell.candidates for stage in _cost_stages(variant)]
        in_folds = [
            (name, f"{key} fold {fold}", measure, variant)
            for fold in range(cell.folds)
            for name, key, measure, variant in in_one_fold
        ]
        return [*in_folds, *_cost_stages(cell.candidates[0])]
    amount = (cell.dataset, cell.amount, cell.size)
    stages_of_cell = []
    for variant in (cell, cell.baseline) if cell.generator else (cell,):
        kind = repr(("score", *amount, _arm_without_images(variant.arm)))
        stages_of_cell.append((kind, repr(variant), _measure_score, variant))
    if cell.generator:
        model, images = generator_keys(cell)
        settings = (cell.generator, cell.generator_settings, *amount)
        stages_of_cell += [
            (repr(("generator", settings)), model, _measure_generator, cell),
            (repr(("synthetic", settings, cell.use.ratio)), images, _measure_sampling, cell),
        ]
    return stages_of_cell


def _arm_without_images(arm: str) -> str:
    """Return an arm of equal cost without synthetic images: the one it is measured against."""
    return str(ARMS[arm].against) if ARMS[arm].synthetic else arm


def _training_seconds(learner: Any, data: TrainingSet, device: torch.device) -> float:
    """Extrapolate the seconds of a whole training from the median of a few steps."""
    if not learner.steps:
        return 0.0
    steps, learner.steps = learner.steps, min(learner.steps, WARMUP + STEPS)
    ends = [time.perf_counter()]
    for _, metrics in train(learner, data, seed=0, device=device):
        float(next(iter(metrics.values())))  # wait for the device
        ends.append(time.perf_counter())
    # the median: a single slow step would distort the mean of so few
    laps = sorted(b - a for a, b in zip(ends[WARMUP:], ends[WARMUP + 1 :], strict=False))
    learner.steps = steps
    return laps[len(laps) // 2] * steps


def _prepare_as_in_run(trial: Trial, learner: Any, images: LabelledImages) -> Any:
    """Prepare a learner in the precision that it would have in the run."""
    context = trial.context
    safe, _ = safe_precision(learner, images, context.precision, context.device)
    learner.prepare(images, seed=0, device=context.device, precision=safe)
    return learner


def _weights_mb(learner: Learner) -> float:
    """Return the size of the saved weights in megabytes."""
    return sum(t.numel() * t.element_size() for t in kept_state(learner).values()) / 1e6


def _measure_generator(trial: Trial) -> tuple[float, float]:
    """Time the training of a generator."""
    learner = GENERATORS[trial.cell.entry](**trial.cell.generator_settings)
    data = generator_set(trial.labelled, trial.transform, learner.transformed)
    _prepare_as_in_run(trial, learner, data.parts[0])
    files = 1 + len(snapshot_steps(learner))
    return _training_seconds(learner, data, trial.context.device), _weights_mb(learner) * files


def _measure_sampling(trial: Trial) -> tuple[float, float]:
    """Time the sampling of a synthetic set."""
    cell, labelled = trial.cell, trial.labelled
    learner = _prepare_as_in_run(trial, GENERATORS[cell.entry](**cell.generator_settings), labelled)
    n = round(float(cell.use.ratio or 0) * len(labelled))
    few = min(n, 128)  # whole network calls, as in `images_per_call`
    labels, seeds = torch.zeros(few, dtype=torch.int64), torch.arange(few)
    learner.sample(labels[:2], seeds=seeds[:2])  # warm-up
    start = time.perf_counter()
    learner.sample(labels, seeds=seeds)
    return (time.perf_counter() - start) * n / few, n * labelled.images[0].numel() / 1e6


def _measure_score(trial: Trial) -> tuple[float, float]:
    """Time the training of a classifier and its prediction of the test set."""
    cell, labelled, n_test = trial.cell, trial.labelled, len(trial.data.test)
    learner = _prepare_as_in_run(
        trial, CLASSIFIERS[cell.classifier](**cell.classifier_settings), labelled
    )
    arm = _arm_without_images(cell.arm)
    data = training_set(arm, labelled, None, trial.transform, 0.0, hide_labels(labelled))
    seconds = _training_seconds(learner, data, trial.context.device)
    few = labelled.images[:128]
    list(learner.predict(few))  # warm-up
    start = time.perf_counter()
    list(learner.predict(few))
    predicting = (time.perf_counter() - start) * n_test / len(few)
    # MB: half floats of each class, two int64 of label and prediction
    predictions = n_test * (len(labelled.classes) * 2 + 16) / 1e6
    return seconds + predicting, _weights_mb(learner) + predictions
