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
from augment.runtime.device import memory, pick_device, threads

MOST_JOBS = 8  # by default
BYTES_EACH = 2 * 2**30  # of memory for each process; 128 pixels a side took 1.3 GiB at `quick`
GPU_JOBS = 4  # by default, of one GPU: small networks leave most of it idle, one beside the other
GPU_SIDE = 32  # pixels; networks of larger images fill a GPU alone
GPU_BYTES_EACH = 4e9  # of a GPU's memory for each process


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
        jobs = self.jobs or 1
        if jobs > 1:
            yield from run_in_processes(cells, data, context, jobs, threads_for(jobs))
            return
        with threads(threads_for(jobs)):
            for number, cell in enumerate(cells):
                yield from ((number, event) for event in run_cell_catching(cell, data, context))


def choose_jobs(
    requested: int | None, device: torch.device, shapes: list[ImageShape], cells: int
) -> int:
    """Choose the number of processes: one per core on a CPU, a few on a GPU for small images.

    As far as memory allows. A number that the user gave is taken as it is.
    """
    if requested:
        return requested
    if device.type == "cpu":
        most = min(MOST_JOBS, memory() // BYTES_EACH)
    else:
        most = gpu_jobs(device) if max(max(shape[1:]) for shape in shapes) <= GPU_SIDE else 1
    return max(1, min(os.cpu_count() or 1, cells, most))


def gpu_jobs(device: torch.device) -> int:
    """Return how many processes the GPU has room for; without an index, all GPUs together."""
    gpus = range(torch.cuda.device_count()) if device.index is None else [device.index]
    sizes = [torch.cuda.get_device_properties(gpu).total_memory for gpu in gpus]
    return sum(min(GPU_JOBS, int(size // GPU_BYTES_EACH)) for size in sizes)


def threads_for(jobs: int) -> int:
    """Divide the cores among `jobs` processes, less one that is left to the rest of the machine.

    Threads of one process wait for each other at every operation, spinning. Beside one other busy
    process on two cores a step of a classifier (64×64 pixels) took 55 ms with one thread and 224 to
    990 with two: a core that is shared must be no thread's. Processes wait for nothing.
    """
    return min(torch.get_num_threads(), max(1, ((os.cpu_count() or 1) - 1) // jobs))
