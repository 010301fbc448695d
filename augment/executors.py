"""Where cells are run, here or on a cluster, and the record that is kept of it."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from augment.cells import Cell
from augment.errors import MachineError, UsageError, unknown
from augment.processes import News, Row, guarded, run_in_processes
from augment.recipe import Recipe
from augment.report.outputs import write_results
from augment.runtime import pick_device
from augment.stages import Bench, Progress
from augment.status import CELL, FILE, Status
from augment.store import write_atomic

if TYPE_CHECKING:
    from augment.cluster import Cluster
    from augment.engine import Shelf

SMALL_SIDE = 32  # up to here several processes of one thread beat one process of all threads
MOST_JOBS = 8  # unless asked: each takes about a gigabyte
WRITE_SECONDS = 5.0  # results.csv is written whole, which takes long when there are many rows
Shape = tuple[int, int, int]


def run_cells(
    cells: list[Cell], data: Shelf, bench: Bench, folder: Path, where: Local | Cluster
) -> Generator[Progress, None, pd.DataFrame]:
    """All cells; results.csv and status.json follow. Yields progress, returns the table."""
    rows: dict[int, Row] = {}
    status, written = Status(len(cells)), float("-inf")
    try:
        yield Progress(CELL, "", 0, len(cells))
        for number, news in where.run(cells, data, bench, folder):
            if isinstance(news, Progress):
                step = dataclasses.replace(news, number=number)
            else:
                rows[number] = news
                bad = {"failed": float(news["status"] != "ok")}
                step = Progress(CELL, cells[number].name, len(rows), len(cells), bad, number=number)
            status.take(step)
            if time.monotonic() - written > WRITE_SECONDS:
                write_results(folder, cells, rows)
                write_atomic(folder / FILE, status.record(going=True))
                written = time.monotonic()
            yield step
    finally:
        table = write_results(folder, cells, rows)
        write_atomic(folder / FILE, status.record(going=False))
    return table


class Local:
    """This machine: one process, or several."""

    def __init__(self, device: str, jobs: int | None = None) -> None:
        self.asked, self.jobs = device, jobs

    def __enter__(self) -> Local:
        self.device = pick_device(self.asked)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was taken that has to be given back."""

    def resolved(self, recipe: Recipe) -> Recipe:
        """With what `auto` stands for here."""
        return recipe.resolved(self.device.type)

    def settle(self, shapes: list[Shape], cells: int) -> dict[str, Any]:
        """Settle the processes; returns what environment.json says of them."""
        self.jobs = choose_jobs(self.jobs, self.device, shapes, cells)
        return {"processes": self.jobs, "threads": threads_for(self.jobs)}

    def run(self, cells: list[Cell], data: Shelf, bench: Bench, folder: Path) -> News:
        """The news of all cells, as they come."""
        if self.jobs != 1:
            jobs = self.jobs or 1
            yield from run_in_processes(cells, data, bench, folder, jobs, threads_for(jobs))
            return
        for number, cell in enumerate(cells):
            yield from ((number, news) for news in guarded(cell, data, bench, folder))


def on_ray(device: str, **asked: Any) -> Cluster:
    """A Ray cluster; MachineError if the extra is not installed."""
    try:
        from augment.cluster import Cluster
    except ImportError:
        raise MachineError(
            "--executor ray needs the extra: pip install 'augment-compare[ray]'"
        ) from None
    return Cluster(device, **asked)


EXECUTORS: dict[str, Callable[..., Local | Cluster]] = {"local": Local, "ray": on_ray}
FLAGS = {"local": ("jobs",), "ray": ("address", "cpus", "gpus")}  # what each one can be asked


def place(executor: str, device: str, **asked: Any) -> Local | Cluster:
    """Where cells are to run; UsageError for an unknown name, or a flag of the other executor."""
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    given = {flag: value for flag, value in asked.items() if value is not None}
    for flag in given.keys() - FLAGS[executor]:
        own = next(name for name, flags in FLAGS.items() if flag in flags)
        raise UsageError(f"--{flag} is for --executor {own}: leave one of them out")
    return EXECUTORS[executor](device, **given)


def choose_jobs(asked: int | None, device: torch.device, shapes: list[Shape], cells: int) -> int:
    """As asked; else one process a core for small pictures on a CPU, one for anything else."""
    if asked:
        return asked
    small = device.type == "cpu" and max(max(shape[1:]) for shape in shapes) <= SMALL_SIDE
    return min(os.cpu_count() or 1, cells, MOST_JOBS) if small else 1


def threads_for(jobs: int) -> int:
    """Of each of so many processes."""
    return torch.get_num_threads() if jobs == 1 else max(1, (os.cpu_count() or 1) // jobs)
