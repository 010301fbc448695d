"""Run the cells of a recipe, each stage once, resumable, on this machine or on a cluster.

`run` is `augment.run`; the command line iterates over `execute`, which yields progress.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from augment.data.datasets import DATASETS
from augment.data.images import LabelledImages
from augment.data.pictures.framing import AFFORDED_SIDE
from augment.engine.cell_runner import ResultRow
from augment.engine.executors import Executor, make_executor
from augment.engine.finish import finish_run
from augment.engine.shards import Shard, parse_shard, shard_of
from augment.engine.status import BEGUN, CELL, Status
from augment.errors import UsageError
from augment.experiment.arms import ARMS, nothing_unlabelled
from augment.experiment.cells import Cell, expand
from augment.experiment.context import RunContext
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.progress import Progress
from augment.experiment.recipe import Recipe
from augment.experiment.records import ScoreResult
from augment.experiment.results_table import write_results
from augment.experiment.sampling import load_synthetic
from augment.experiment.task_choice import with_task
from augment.experiment.validation import make_recipe
from augment.experiment.weights import check_weights
from augment.generators import GENERATORS, latents_of, saw_labelled_alone
from augment.generators.autoencoder import lost_by
from augment.report.manifest import write_start
from augment.runtime.machine import environment
from augment.runtime.steps import run_to_end
from augment.storage.artifacts import Store
from augment.storage.atomic import write_atomic, writing
from augment.storage.run_folder import AFFORDS, STATUS_FILE, fresh_folder, kept_side, open_run

RUNS = Path("results/runs")  # parent of the run folder without --out
WRITE_SECONDS = 5.0  # results.csv is written whole, which takes long when there are many rows


@dataclass(frozen=True)
class Result:
    """Result of a run: the table of its cells, its synthetic images, and its folder."""

    table: pd.DataFrame  # results.csv
    path: Path
    failed: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def synthetic(self) -> LabelledImages:
        """Synthetic images of the first finished cell that has some; LookupError if none has."""
        with_images = self.table[(self.table["n_synth"] > 0) & (self.table["status"] == "ok")]
        if with_images.empty:
            raise LookupError(f"{self.path} has no synthetic images")
        store = Store(self.path)
        score = store.path("score", str(with_images.iloc[0]["signature"]))
        result = ScoreResult.read(score)
        return load_synthetic(store.path("synthetic", str(result.synthetic)), tuple(result.classes))

    @property
    def summary(self) -> pd.DataFrame:
        """One row per arm: mean, paired difference, interval, p, verdict."""
        from augment.report.table import summarise

        return summarise(self.table)


def run(
    *,
    out: Path | str | None = None,
    data_dir: Path | str | None = None,
    device: str = "auto",
    jobs: int | None = None,
    shard: str | None = None,
    executor: str = "local",
    address: str | None = None,
    cpus: int | None = None,
    gpus: float | None = None,
    **settings: Any,
) -> Result:
    """Run an experiment in silence and return its result; settings are those of a recipe.

    `shard="1/4"` runs the first quarter of the trials; `augment.engine.shards.merge` joins
    the folders. `executor="ray"` runs on the Ray cluster at `address`, each cell with `cpus` cores
    and `gpus` GPUs. Raises an AugmentError, in one sentence, for faults of the settings, the data,
    the machine or the run folder.
    """
    steps = execute(
        make_recipe(**settings),
        out=Path(out) if out else None,
        data_dir=Path(data_dir) if data_dir else None,
        shard=parse_shard(shard),
        executor=make_executor(executor, device, jobs=jobs, address=address, cpus=cpus, gpus=gpus),
    )
    return run_to_end(steps)


def execute(
    recipe: Recipe,
    *,
    out: Path | None,
    data_dir: Path | None,
    executor: Executor,
    shard: Shard | None = None,
    until: float | None = None,
) -> Generator[Progress, None, Result]:
    """Run the cells of a recipe that its folder lacks; yields progress, returns a Result.

    `until` is half the width of the interval, in points, up to which its trials are added.
    """
    with executor:
        data = DatasetCache(data_dir, kept_side(out, AFFORDED_SIDE))
        recipe = with_task(executor.resolved(recipe), data)
        cells = shard_of(expand(recipe), shard)
        check_data(cells, data)
        shas = {key[0]: dataset.sha for key, dataset in data.loaded.items()}
        settings = {**recipe_settings(recipe, data), "data": shas}
        if shard:
            settings["shard"] = list(shard)
        workers = executor.plan_workers([d.pool.shape for d in data.loaded.values()], len(cells))
        refuse_inside_data((out or RUNS).resolve(), recipe.dataset)
        folder = out or _unused_folder(recipe, settings)
        lock = open_run(folder, settings)
        try:
            with writing(folder):
                begun = "\n".join([*data.notes(), f"{len(cells)} cells into {folder}"])
                yield Progress(BEGUN, "", 0, len(cells), note=begun)
                machine = {**environment(executor.device), **workers}
                write_atomic(folder / "environment.json", json.dumps(machine, indent=1))
                write_start(folder, recipe, cells, data.of)
                context = RunContext(
                    Store(folder), executor.device, recipe.precision, recipe.seeds[0]
                )
                table = yield from run_cells(cells, data, context, executor)
                table = finish_run(folder, table, until)
        finally:
            lock.release()
    failed = table[table["status"] != "ok"]
    return Result(table, folder, len(failed), failed["error"].dropna().unique().tolist())


def recipe_settings(recipe: Recipe, data: DatasetCache) -> dict[str, Any]:
    """Return a recipe for settings.json, with the side up to which one was chosen."""
    settings = recipe.model_dump(mode="json")
    if data.affords is None:  # a run of 0.3, which knew no such setting
        return {key: value for key, value in settings.items() if key != "fit" or value}
    chosen = recipe.size is None and any(name not in DATASETS for name in recipe.dataset)
    return settings | ({AFFORDS: data.affords} if chosen else {})


def check_data(cells: list[Cell], data: DatasetCache) -> None:
    """Draw every labelled subset and load all pretrained weights, so that errors show at once."""
    opened: set[Any] = set()
    labelled: dict[Any, torch.Tensor] = {}
    for cell in cells:
        dataset = data.of(cell)
        pool = dataset.pool
        subset = (cell.dataset, cell.size, cell.frac, cell.per_class, cell.seed)
        if subset not in labelled:
            labelled[subset] = cell.labelled_indices(dataset)
        if len(labelled[subset]) == len(pool) and ARMS[cell.arm].unlabelled:
            raise nothing_unlabelled(cell.arm)
        weights = (cell.weights, cell.dataset, cell.size)
        if cell.weights and weights not in opened:
            opened.add(weights)
            check_weights(cell, pool.select(labelled[subset]))
        inputs = (cell.dataset, cell.size, repr(cell.generator_settings))
        if cell.generator and inputs not in opened:
            opened.add(inputs)
            generator = GENERATORS[cell.entry](**cell.generator_settings)
            if not saw_labelled_alone(generator):
                learnt = pool.select(labelled[subset])
                generator.prepare(learnt, seed=0, device=torch.device("cpu"))
                if latents := latents_of(generator):
                    lost_by(latents, learnt, cell.generator_settings["autoencoder"])


def refuse_inside_data(target: Path, datasets: list[str]) -> None:
    """Raise UsageError if the run folder would lie inside a folder of images that runs read."""
    for name in filter(os.path.isdir, datasets):
        if target.is_relative_to(Path(name).resolve()):
            raise UsageError(
                f"--out {target} lies in the data folder {name}, where its plots would be taken "
                "for pictures: name a folder outside"
            )


def _unused_folder(recipe: Recipe, settings: dict[str, Any]) -> Path:
    """Name results/runs/DATASET-GENERATOR(-2 …): new, or unfinished with the same settings."""

    def resumable(folder: Path) -> bool:
        settings_file = folder / "settings.json"
        # table.md is written last: a folder that has it is finished
        if (folder / "table.md").exists() or not settings_file.exists():
            return False
        return json.loads(settings_file.read_text()) == settings

    names = "+".join(Path(d).resolve().name for d in recipe.dataset)
    names += "-" + "+".join(recipe.generator)
    if "shard" in settings:
        names += "-{}-of-{}".format(*settings["shard"])
    return fresh_folder(RUNS, names, resumable)


def run_cells(
    cells: list[Cell], data: DatasetCache, context: RunContext, executor: Executor
) -> Generator[Progress, None, pd.DataFrame]:
    """Run all cells, keep results.csv and status.json current; yields progress, returns a table."""
    folder = context.store.root
    rows: dict[int, ResultRow] = {}
    status, written = Status(len(cells)), float("-inf")  # time of the last write
    try:
        yield Progress(CELL, "", 0, len(cells))
        for number, event in executor.run(cells, data, context):
            if isinstance(event, Progress):
                step = dataclasses.replace(event, number=number)
            else:
                rows[number] = event
                bad = {"failed": float(event["status"] != "ok")}
                step = Progress(CELL, cells[number].name, len(rows), len(cells), bad, number=number)
            status.take(step)
            if time.monotonic() - written > WRITE_SECONDS:
                write_results(folder, cells, rows)
                write_atomic(folder / STATUS_FILE, status.record(going=True))
                written = time.monotonic()
            yield step
    finally:  # after an interrupt too: the finished cells are kept
        table = write_results(folder, cells, rows)
        write_atomic(folder / STATUS_FILE, status.record(going=False))
    return table
