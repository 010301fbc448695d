"""Runs the cells of a recipe, each stage once, resumable, here or on a cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from augment.arms import ARMS, nothing_unlabelled
from augment.cells import Cell, expand
from augment.data.datasets import Dataset, load_dataset
from augment.data.images import LabelledImages
from augment.data.subset import labelled_subset
from augment.errors import UsageError
from augment.executors import Local, place, run_cells
from augment.generators import GENERATORS
from augment.recipe import Recipe, make_recipe
from augment.report.manifest import write_start
from augment.report.outputs import write_outputs, write_results_table
from augment.report.tested import with_test_set_error
from augment.run_folder import fresh_folder, open_run
from augment.runtime import environment
from augment.shards import Shard, parse_shard, shard_of
from augment.stages import Bench, Progress, load_images
from augment.store import Store, room_for, write_atomic
from augment.weights import read_weights

if TYPE_CHECKING:
    from augment.cluster import Cluster


RUNS = Path("results/runs")  # where a run goes that is given no --out


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
        about = json.loads((score / "about.json").read_text())
        return load_images(store.path("synthetic", about["synthetic"]), tuple(about["classes"]))

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
        where=place(executor, device, jobs=jobs, address=address, cpus=cpus, gpus=gpus),
    )
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def execute(
    recipe: Recipe,
    *,
    out: Path | None,
    data_dir: Path | None,
    where: Local | Cluster,
    shard: Shard | None = None,
    announce: Callable[[Path, int, list[str]], None] | None = None,
) -> Generator[Progress, None, Result]:
    """Run what is missing of a recipe in its folder; yields progress, returns a Result."""
    with where:
        recipe = where.resolved(recipe)
        cells = shard_of(expand(recipe), shard)
        data = Shelf(data_dir)
        checked(cells, data)
        shas = {key[0]: dataset.sha for key, dataset in data.loaded.items()}
        settings = {**recipe.model_dump(mode="json"), "data": shas}
        if shard:
            settings["shard"] = list(shard)
        shares = where.settle([d.pool.shape for d in data.loaded.values()], len(cells))
        refuse_inside((out or RUNS).resolve(), recipe.dataset)
        folder = out or unused_folder(recipe, settings)
        lock = open_run(folder, settings)
        try:
            with room_for(folder):
                if announce:
                    notes = [f"{d.name}: {note}" for d in data.loaded.values() for note in d.notes]
                    announce(folder, len(cells), notes)
                about = {**environment(where.device), **shares}
                write_atomic(folder / "environment.json", json.dumps(about, indent=1))
                write_start(folder, recipe, cells, data.of)
                bench = Bench(Store(folder), where.device, recipe.precision, recipe.seeds[0])
                table = yield from run_cells(cells, data, bench, folder, where)
                table = with_test_set_error(folder, table)
                write_results_table(folder, table)
                write_outputs(folder, table)
        finally:
            lock.release()
    failed = table[table["status"] != "ok"]
    return Result(table, folder, len(failed), failed["error"].dropna().unique().tolist())


def checked(cells: list[Cell], data: Shelf) -> None:
    """Draw every subset once: faults in the data, and in what came pretrained, show at once."""
    seen: set[Any] = set()
    labelled: dict[Any, torch.Tensor] = {}
    for cell in cells:
        pool = data.of(cell).pool
        asked = (cell.dataset, cell.size, cell.frac, cell.per_class, cell.seed)
        if asked not in labelled:
            labelled[asked] = labelled_subset(
                pool, frac=cell.frac, per_class=cell.per_class, seed=cell.seed
            )
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


class Shelf:
    """The data sets of a run, each loaded once."""

    def __init__(self, data_dir: Path | None) -> None:
        self.data_dir = data_dir
        self.loaded: dict[tuple[Any, ...], Dataset] = {}

    def of(self, cell: Cell) -> Dataset:
        """The cell's data set."""
        key = (cell.dataset, cell.size, cell.skip_bad, cell.drop_small_classes)
        if key not in self.loaded:
            self.loaded[key] = load_dataset(
                cell.dataset,
                size=cell.size,
                data_dir=self.data_dir,
                skip_bad=cell.skip_bad,
                drop_small_classes=cell.drop_small_classes,
            )
        return self.loaded[key]
