"""Runs the cells of a recipe, each stage once, resumable, in this process or in several."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

import pandas as pd
import torch

from augment import store as stores
from augment.data.datasets import Dataset, load_dataset
from augment.data.images import LabelledImages
from augment.data.subset import labelled_subset
from augment.errors import AugmentError, Diverged, MachineError
from augment.experiment import Bench, Progress, identity, load_images, run_cell
from augment.recipe import Cell, Recipe, expand, make_recipe
from augment.report.outputs import write_outputs, write_results, write_start
from augment.runtime import environment, pick_device
from augment.store import Store

SMALL_SIDE = 16  # up to here several processes of one thread beat one process of all threads


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
    **settings: Any,
) -> Result:
    """Run an experiment in silence and return its result; settings are those of a recipe.

    Raises an AugmentError in one sentence when something is wrong with the settings, the data, the
    machine or the run folder.
    """
    steps = execute(
        make_recipe(**settings), out=Path(out) if out else None,
        data_dir=Path(data_dir) if data_dir else None, device=device, jobs=jobs,
    )  # fmt: skip
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def execute(
    recipe: Recipe, *, out: Path | None, data_dir: Path | None, device: str = "auto",
    jobs: int | None = None, announce: Callable[[Path, int], None] | None = None,
) -> Iterator[Progress]:  # fmt: skip
    """Run what is missing of a recipe's cells in a run folder; yields progress, returns a Result."""
    where = pick_device(device)
    recipe = recipe.resolved(where.type)
    settings = recipe.model_dump(mode="json")
    cells = expand(recipe)
    data = Shelf(data_dir)
    for cell in cells:  # faults in the data show before any training
        labelled_subset(
            data.of(cell).pool, frac=cell.frac, per_class=cell.per_class, seed=cell.seed
        )
    folder = out or unused_folder(recipe, settings)
    lock = stores.open_run(folder, settings)
    try:
        if announce:
            announce(folder, len(cells))
        stores.write_atomic(folder / "environment.json", json.dumps(environment(where), indent=1))
        write_start(folder, recipe, cells, data.of)
        rows = yield from run_cells(cells, data, folder, where, recipe, jobs, data_dir)
        table = write_results(folder, cells, rows)
        write_outputs(folder, table)
    finally:
        lock.release()
    failed = table[table["status"] != "ok"]
    return Result(table, folder, len(failed), failed["error"].dropna().unique().tolist())


def unused_folder(recipe: Recipe, settings: dict[str, Any]) -> Path:
    """results/runs/DATASET-GENERATOR(-2 …): a new one, or one of these settings left unfinished."""

    def resumable(folder: Path) -> bool:
        made_by = folder / "settings.json"
        if (folder / "table.md").exists() or not made_by.exists():
            return False
        return json.loads(made_by.read_text()) == settings

    names = "+".join(Path(d).name for d in recipe.dataset) + "-" + "+".join(recipe.generator)
    return stores.fresh_folder(Path("results/runs"), names, resumable)


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
                cell.dataset, size=cell.size, data_dir=self.data_dir,
                skip_bad=cell.skip_bad, drop_small_classes=cell.drop_small_classes,
            )  # fmt: skip
        return self.loaded[key]


def run_cells(
    cells: list[Cell], data: Shelf, folder: Path, device: torch.device, recipe: Recipe,
    jobs: int | None, data_dir: Path | None,
) -> Iterator[Progress]:  # fmt: skip
    """All cells; results.csv grows by a row as each one ends. Returns the rows by cell number."""
    jobs = choose_jobs(jobs, device, [d.pool.shape for d in data.loaded.values()], len(cells))
    bench = Bench(Store(folder), device, recipe.precision, recipe.seeds[0])
    if jobs > 1:
        return (yield from run_in_processes(cells, bench, folder, jobs, data_dir))
    rows: dict[int, dict[str, Any]] = {}
    for number, cell in enumerate(cells):
        rows[number] = yield from guarded(cell, data, bench, folder)
        write_results(folder, cells, rows)
    return rows


def choose_jobs(
    asked: int | None, device: torch.device, shapes: list[tuple[int, int, int]], cells: int
) -> int:
    """As asked; else one process a core for small pictures on a CPU, one for anything else."""
    if asked:
        return asked
    small = device.type == "cpu" and max(max(shape[1:]) for shape in shapes) <= SMALL_SIDE
    return min(os.cpu_count() or 1, cells) if small else 1


def guarded(cell: Cell, data: Shelf, bench: Bench, folder: Path) -> Iterator[Progress]:
    """One cell; a fault of its own makes a row that says so, and the others go on."""
    try:
        return (yield from run_cell(cell, data.of(cell), bench))
    except Diverged as error:
        return {**identity(cell), "status": "diverged", "error": str(error)}
    except AugmentError:
        raise  # the same fault waits for every cell: stop with its sentence
    except Exception as error:
        with (folder / "errors.log").open("a") as log:
            log.write(f"{cell.name}\n{traceback.format_exc()}\n")
        return {**identity(cell), "status": "failed", "error": f"{type(error).__name__}: {error}"}


def run_in_processes(
    cells: list[Cell], bench: Bench, folder: Path, jobs: int, data_dir: Path | None
) -> Iterator[Progress]:
    """Cells in `jobs` processes of one share of the threads each; shared stages are made once."""
    context = multiprocessing.get_context("spawn")
    talk = context.Queue()
    threads = max(1, (os.cpu_count() or 1) // jobs)
    rows: dict[int, dict[str, Any]] = {}
    waiting, running = list(range(len(cells))), {}
    made: set[str] = set()
    arguments = (talk, bench, folder, data_dir, threads)
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=enter, initargs=arguments)
    try:
        while waiting or running:
            busy = {key for number in running.values() for key in stage_keys(cells[number])}
            for number in sorted(waiting, key=lambda n: cells[n].generator is None):
                if len(running) == jobs:
                    break
                if busy & (stage_keys(cells[number]) - made):
                    continue  # another process is making what this one needs
                running[pool.submit(work, cells[number])] = number
                waiting.remove(number)
                busy |= stage_keys(cells[number])
            done, _ = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
            with contextlib.suppress(Empty):
                while True:
                    yield talk.get_nowait()
            for future in done:
                number = running.pop(future)
                rows[number] = outcome(future)
                made |= stage_keys(cells[number])
                write_results(folder, cells, rows)
    finally:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
    return rows


def stage_keys(cell: Cell) -> set[str]:
    """Names of the shared stages that a cell makes or needs."""
    if cell.generator is None:
        return set()
    model = repr((cell.trial, cell.size, cell.generator, cell.classic))
    return {model, model + repr((cell.ratio, cell.generator_settings))}


def outcome(future: Future[dict[str, Any]]) -> dict[str, Any]:
    """A worker's row."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise MachineError(
            "a worker process was killed (out of memory?): run again to go on, with --jobs 1"
        ) from None


WORKER: dict[str, Any] = {}  # of this worker process


def enter(talk: Any, bench: Bench, folder: Path, data_dir: Path | None, threads: int) -> None:
    """First thing in a worker process."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    torch.set_num_threads(threads)
    WORKER.update(talk=talk, bench=bench, folder=folder, data=Shelf(data_dir))


def work(cell: Cell) -> dict[str, Any]:
    """One cell in a worker process; tells its progress a few times a second."""
    steps = guarded(cell, WORKER["data"], WORKER["bench"], WORKER["folder"])
    told = 0.0
    while True:
        try:
            progress = next(steps)
        except StopIteration as stop:
            return stop.value
        if time.monotonic() - told > 0.2:
            WORKER["talk"].put(progress)
            told = time.monotonic()
