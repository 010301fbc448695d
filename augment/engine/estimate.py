"""`--dry-run`: the cells of a recipe, and the time and disk they would take. Writes nothing."""

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
from augment.engine.run import checked
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

STEPS, WARMUP = 6, 2  # measured, and thrown away before


def plan(
    recipe: Recipe,
    *,
    data_dir: Path | None,
    device: str,
    jobs: int | None,
    shard: Shard | None = None,
) -> dict[str, Any]:
    """Splits, cells, seconds and megabytes; each distinct stage is measured for a few steps.

    To the stages comes the start: what this process took to get here is what the run itself will
    take, and each of its worker processes beside the others.
    """
    where = pick_device(device)
    recipe = recipe.resolved(where.type)
    cells, datasets = shard_of(expand(recipe), shard), DatasetCache(data_dir)
    checked(cells, datasets)
    context = RunContext(Store(Path(os.devnull)), where, recipe.precision, first_seed=-1)
    jobs = choose_jobs(jobs, where, [datasets.of(cell).pool.shape for cell in cells], len(cells))
    begun = time.process_time() * (2 if jobs > 1 else 1)
    measured: dict[str, tuple[float, float]] = {}  # stage → seconds, MB
    made: set[str] = set()
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
        spent, leads = 0.0, False
        for name, key, measure, own in stages(cell):
            if key in made:
                continue
            made.add(key)
            if name not in measured:
                with threads(threads_for(jobs)):
                    measured[name] = measure(trial.of(own))
            spent, disk = spent + measured[name][0], disk + measured[name][1]
            leads = leads or measure is not measure_score
        tasks.append((generator_keys(cell) if cell.generator else None, leads, spent))
    return {
        "splits": splits,
        "preset": recipe.preset,
        "device": str(where),
        "processes": jobs,
        "stages": len(made),
        "estimated_seconds": round(begun + makespan(tasks, jobs)),
        "disk_mb": round(disk),
        "cells": [c.name for c in cells],
    }


Task = tuple[Any, bool, float]  # the images of a cell, whether it makes them, its seconds


def makespan(tasks: list[Task], jobs: int) -> float:
    """Seconds in so many processes: who makes images begins first, who needs them comes after."""
    free, made = [0.0] * jobs, {}
    for images, leads, spent in tasks:
        if leads:
            made[images] = heapq.heappop(free) + spent
            heapq.heappush(free, made[images])
    others = sorted((made.get(images, 0.0), spent) for images, leads, spent in tasks if not leads)
    for start, spent in others:
        heapq.heappush(free, max(heapq.heappop(free), start) + spent)
    return max(free)


def stages(cell: Cell) -> list[tuple[str, str, Any, Cell]]:
    """(what makes its cost, what makes it unique, how to measure it, for which cell) of each stage.

    A generator's cells need the classifier of real+classic too, which judges its images; a cell
    that chooses needs all of its candidates in each fold, then one of them.
    """
    if cell.candidates:
        once = [stage for own in cell.candidates for stage in stages(own)]
        in_folds = [
            (name, f"{key} fold {fold}", measure, own)
            for fold in range(cell.folds)
            for name, key, measure, own in once
        ]
        return [*in_folds, *stages(cell.candidates[0])]
    amount = (cell.dataset, cell.amount, cell.size)
    found = []
    for own in (cell, cell.baseline) if cell.generator else (cell,):
        kind = repr(("score", *amount, without_images(own.arm)))
        found.append((kind, repr(own), measure_score, own))
    if cell.generator:
        model, images = generator_keys(cell)
        settings = (cell.generator, cell.generator_settings, *amount)
        found += [
            (repr(("generator", settings)), model, measure_generator, cell),
            (repr(("synthetic", settings, cell.use.ratio)), images, measure_sampling, cell),
        ]
    return found


def without_images(arm: str) -> str:
    """An arm of equal cost that needs no synthetic images: the one it is measured against."""
    return str(ARMS[arm].against) if ARMS[arm].synthetic else arm


def seconds_for(learner: Any, data: TrainingSet, device: torch.device) -> float:
    """Seconds for all steps, from a few of them."""
    if not learner.steps:
        return 0.0
    steps, learner.steps = learner.steps, min(learner.steps, WARMUP + STEPS)
    ends = [time.perf_counter()]
    for _, metrics in train(learner, data, seed=0, device=device):
        float(next(iter(metrics.values())))  # wait for the device
        ends.append(time.perf_counter())
    laps = sorted(b - a for a, b in zip(ends[WARMUP:], ends[WARMUP + 1 :], strict=False))
    learner.steps = steps
    return laps[len(laps) // 2] * steps


def prepared(trial: Trial, learner: Any, images: LabelledImages) -> Any:
    """Prepare a learner in the precision that a run asked for this one takes."""
    context = trial.context
    safe, _ = safe_precision(learner, images, context.precision, context.device)
    learner.prepare(images, seed=0, device=context.device, precision=safe)
    return learner


def megabytes(learner: Learner) -> float:
    """Of the weights that are kept."""
    return sum(t.numel() * t.element_size() for t in kept_state(learner).values()) / 1e6


def measure_generator(trial: Trial) -> tuple[float, float]:
    """Time the training of a generator."""
    learner = GENERATORS[trial.cell.entry](**trial.cell.generator_settings)
    data = generator_set(trial.labelled, trial.transform, learner.transformed)
    prepared(trial, learner, data.parts[0])
    files = 1 + len(snapshot_steps(learner))
    return seconds_for(learner, data, trial.context.device), megabytes(learner) * files


def measure_sampling(trial: Trial) -> tuple[float, float]:
    """Time the sampling of a synthetic set."""
    cell, labelled = trial.cell, trial.labelled
    learner = prepared(trial, GENERATORS[cell.entry](**cell.generator_settings), labelled)
    n = round(float(cell.use.ratio or 0) * len(labelled))
    few = min(n, 128)  # whole network calls, as in `images_per_call`
    labels, seeds = torch.zeros(few, dtype=torch.int64), torch.arange(few)
    learner.sample(labels[:2], seeds=seeds[:2])
    start = time.perf_counter()
    learner.sample(labels, seeds=seeds)
    return (time.perf_counter() - start) * n / few, n * labelled.images[0].numel() / 1e6


def measure_score(trial: Trial) -> tuple[float, float]:
    """Time the training of a classifier and its prediction of the test set."""
    cell, labelled, n_test = trial.cell, trial.labelled, len(trial.data.test)
    learner = prepared(trial, CLASSIFIERS[cell.classifier](**cell.classifier_settings), labelled)
    arm = without_images(cell.arm)
    data = training_set(arm, labelled, None, trial.transform, 0.0, hide_labels(labelled))
    seconds = seconds_for(learner, data, trial.context.device)
    few = labelled.images[:128]
    list(learner.predict(few))
    start = time.perf_counter()
    list(learner.predict(few))
    predicting = (time.perf_counter() - start) * n_test / len(few)
    predictions = n_test * (len(labelled.classes) * 2 + 16) / 1e6
    return seconds + predicting, megabytes(learner) + predictions
