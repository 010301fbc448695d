"""Run cells on this machine, in one process or several."""

from __future__ import annotations

import os
from typing import Any

import torch

from augment.data.images import ImageShape
from augment.engine.cell_runner import CellEvents, run_cell_catching
from augment.engine.processes import run_in_processes
from augment.experiment.cells import Cell
from augment.experiment.context import RunContext
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.recipe import Recipe
from augment.runtime.device import pick_device

SMALL_SIDE = (
    32  # pixels; up to here several processes of one thread beat one process of all threads
)
MOST_JOBS = 8  # by default: each takes roughly a gigabyte
GPU_JOBS = 4  # by default, of one GPU: small networks leave most of it idle, one beside the other
GPU_MEMORY = 4e9  # bytes of a GPU for each process


class Local:
    """This machine: one process, or several."""

    def __init__(self, device: str, jobs: int | None = None) -> None:
        self.requested, self.jobs = device, jobs

    def __enter__(self) -> Local:
        self.device = pick_device(self.requested)
        return self

    def __exit__(self, *_: object) -> None:
        """Release nothing: no resource was acquired."""

    def resolved(self, recipe: Recipe) -> Recipe:
        """Replace `auto` by its value on this machine."""
        return recipe.resolved(self.device.type)

    def plan_workers(self, shapes: list[ImageShape], cells: int) -> dict[str, Any]:
        """Decide the number of processes; return the entries of environment.json."""
        self.jobs = choose_jobs(self.jobs, self.device, shapes, cells)
        return {"processes": self.jobs, "threads": threads_for(self.jobs)}

    def run(self, cells: list[Cell], data: DatasetCache, context: RunContext) -> CellEvents:
        """Yield the events of all cells, as they come."""
        if self.jobs != 1:
            jobs = self.jobs or 1
            yield from run_in_processes(cells, data, context, jobs, threads_for(jobs))
            return
        for number, cell in enumerate(cells):
            yield from ((number, event) for event in run_cell_catching(cell, data, context))


def choose_jobs(
    requested: int | None, device: torch.device, shapes: list[ImageShape], cells: int
) -> int:
    """Choose the number of processes: for small images one per core on a CPU, a few on a GPU.

    A number that the user gave is taken as it is.
    """
    if requested:
        return requested
    if max(max(shape[1:]) for shape in shapes) > SMALL_SIDE:
        return 1
    most = gpu_jobs(device) if device.type == "cuda" else MOST_JOBS
    return max(1, min(os.cpu_count() or 1, cells, most))


def gpu_jobs(device: torch.device) -> int:
    """Return how many processes the GPU has room for; without an index, all GPUs together."""
    gpus = range(torch.cuda.device_count()) if device.index is None else [device.index]
    memory = [torch.cuda.get_device_properties(gpu).total_memory for gpu in gpus]
    return sum(min(GPU_JOBS, int(total // GPU_MEMORY)) for total in memory)


def threads_for(jobs: int) -> int:
    """Divide the cores among `jobs` processes; return the threads of each."""
    return torch.get_num_threads() if jobs == 1 else max(1, (os.cpu_count() or 1) // jobs)
