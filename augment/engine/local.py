"""Cells on this machine: one process, or several."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from augment.engine.cell_runner import News, guarded
from augment.engine.processes import run_in_processes
from augment.experiment.cells import Cell
from augment.experiment.context import Bench
from augment.experiment.recipe import Recipe
from augment.runtime.device import pick_device

if TYPE_CHECKING:
    from augment.experiment.context import Shelf


SMALL_SIDE = 32  # up to here several processes of one thread beat one process of all threads


MOST_JOBS = 8  # unless asked: each takes about a gigabyte


Shape = tuple[int, int, int]


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


def choose_jobs(asked: int | None, device: torch.device, shapes: list[Shape], cells: int) -> int:
    """As asked; else one process a core for small pictures on a CPU, one for anything else."""
    if asked:
        return asked
    small = device.type == "cpu" and max(max(shape[1:]) for shape in shapes) <= SMALL_SIDE
    return min(os.cpu_count() or 1, cells, MOST_JOBS) if small else 1


def threads_for(jobs: int) -> int:
    """Of each of so many processes."""
    return torch.get_num_threads() if jobs == 1 else max(1, (os.cpu_count() or 1) // jobs)
