"""Runs the cells of a recipe, each stage once, resumable, here or on a cluster."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from augment.data.images import LabelledImages
from augment.engine.cell_runner import ResultRow
from augment.engine.executors import Executor, make_executor
from augment.engine.finish import finish_run
from augment.engine.shards import Shard, parse_shard, shard_of
from augment.engine.status import CELL, Status
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
from augment.experiment.validation import make_recipe
from augment.experiment.weights import read_weights
from augment.generators import GENERATORS
from augment.report.manifest import write_start
from augment.runtime.machine import environment
from augment.runtime.steps import run_to_end
from augment.storage.artifacts import Store
from augment.storage.atomic import write_atomic, writing
from augment.storage.run_folder import STATUS_FILE, fresh_folder, open_run

RUNS = Path("results/runs")  # where a run goes that is given no --out
WRITE_SECONDS = 5.0  # results.csv is written whole, which takes long when there are many rows


@dataclass(frozen=True)
class Result:
    """What a run gave: the table of its cells, the synthetic images, and where all of it lies."""

    table: pd.DataFrame  # results.csv
    path: Path
    failed: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def synthetic(self) -> LabelledImages:
        """The synthetic images of the first finished cell that has some."""
        with_images = self.table[(self.table["n_synth"] > 0) & (self.table["status"] == "ok")]
        if with_images.empty:
            raise LookupError(f"{self.path} has no synthetic images")
        store = Store(self.path)
        score = store.path("score", str(with_images.iloc[0]["signature"]))
        result = ScoreResult.read(score)
        return load_synthetic(store.path("synthetic", str(result.synthetic)), tuple(result.classes))

    @property
    def summary(self) -> pd.DataFrame:
        """A row an arm: mean, paired difference, interval, p, verdict."""
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

    `shard="1/4"` runs the first quarter of the trials; `augment.shards.merge` joins the folders.
    `executor="ray"` runs on the Ray cluster at `address`, each cell with so many cpus and gpus.
    Raises an AugmentError in one sentence when something is wrong with the settings, the data, the
    machine or the run folder.
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
    announce: Callable[[Path, int, list[str]], None] | None = None,
) -> Generator[Progress, None, Result]:
    """Run what is missing of a recipe in its folder; yields progress, returns a Result."""
    with executor:
        recipe = executor.resolved(recipe)
        cells = shard_of(expand(recipe), shard)
        data = DatasetCache(data_dir)
        checked(cells, data)
        shas = {key[0]: dataset.sha for key, dataset in data.loaded.items()}
        settings = {**recipe.model_dump(mode="json"), "data": shas}
        if shard:
            settings["shard"] = list(shard)
        workers = executor.plan_workers([d.pool.shape for d in data.loaded.values()], len(cells))
        refuse_inside((out or RUNS).resolve(), recipe.dataset)
        folder = out or unused_folder(recipe, settings)
        lock = open_run(folder, settings)
        try:
            with writing(folder):
                if announce:
                    notes = [f"{d.name}: {note}" for d in data.loaded.values() for note in d.notes]
                    announce(folder, len(cells), notes)
                about = {**environment(executor.device), **workers}
                write_atomic(folder / "environment.json", json.dumps(about, indent=1))
                write_start(folder, recipe, cells, data.of)
                context = RunContext(
                    Store(folder), executor.device, recipe.precision, recipe.seeds[0]
                )
                table = yield from run_cells(cells, data, context, executor)
                table = finish_run(folder, table)
        finally:
            lock.release()
    failed = table[table["status"] != "ok"]
    return Result(table, folder, len(failed), failed["error"].dropna().unique().tolist())


def checked(cells: list[Cell], data: DatasetCache) -> None:
    """Draw every subset once: faults in the data, and in what came pretrained, show at once."""
    seen: set[Any] = set()
    labelled: dict[Any, torch.Tensor] = {}
    for cell in cells:
        pool = data.of(cell).pool
        asked = (cell.dataset, cell.size, cell.frac, cell.per_class, cell.seed)
        if asked not in labelled:
            labelled[asked] = cell.labelled_indices(pool)
        if len(labelled[asked]) == len(pool) and ARMS[cell.arm].unlabelled:
            raise nothing_unlabelled(cell.arm)
        if cell.weights and cell.weights not in seen:
            seen.add(cell.weights)
            read_weights(cell.weights)
        opened = (cell.dataset, cell.size, repr(cell.generator_settings))
        if cell.generator and not GENERATORS[cell.entry].closed_set and opened not in seen:
            seen.add(opened)
            generator = GENERATORS[cell.entry](**cell.generator_settings)
            generator.prepare(pool, seed=0, device=torch.device("cpu"))


def refuse_inside(place: Path, datasets: list[str]) -> None:
    """UsageError if a run would be written among the pictures that it, or a later one, reads."""
    for name in filter(os.path.isdir, datasets):
        if place.is_relative_to(Path(name).resolve()):
            raise UsageError(
                f"--out {place} lies in the data folder {name}, where its plots would be taken for "
                "pictures: name a folder outside"
            )


def unused_folder(recipe: Recipe, settings: dict[str, Any]) -> Path:
    """results/runs/DATASET-GENERATOR(-2 …): a new one, or one of these settings left unfinished."""

    def resumable(folder: Path) -> bool:
        made_by = folder / "settings.json"
        if (folder / "table.md").exists() or not made_by.exists():
            return False
        return json.loads(made_by.read_text()) == settings

    names = "+".join(Path(d).resolve().name for d in recipe.dataset)
    names += "-" + "+".join(recipe.generator)
    if "shard" in settings:
        names += "-{}-of-{}".format(*settings["shard"])
    return fresh_folder(RUNS, names, resumable)


def run_cells(
    cells: list[Cell], data: DatasetCache, context: RunContext, executor: Executor
) -> Generator[Progress, None, pd.DataFrame]:
    """All cells; results.csv and status.json follow. Yields progress, returns the table."""
    folder = context.store.root
    rows: dict[int, ResultRow] = {}
    status, written = Status(len(cells)), float("-inf")
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
    finally:
        table = write_results(folder, cells, rows)
        write_atomic(folder / STATUS_FILE, status.record(going=False))
    return table
