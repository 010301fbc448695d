"""EXECUTORS: where the cells of a run are computed, on this machine or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import torch

from augment.data.images import ImageShape
from augment.engine.cell_runner import CellEvents
from augment.engine.local import Local
from augment.errors import MachineError, UsageError, unknown
from augment.experiment.cells import Cell
from augment.experiment.context import RunContext
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.recipe import Recipe


class Executor(Protocol):
    """Interface of an executor; entered with `with` for the length of a run."""

    device: torch.device  # once it is entered

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def resolved(self, recipe: Recipe) -> Recipe:
        """Replace `auto` by its value on that hardware."""
        ...

    def plan_workers(self, shapes: list[ImageShape], cells: int) -> dict[str, Any]:
        """Decide how cells are spread over workers; return the entries of environment.json."""
        ...

    def run(self, cells: list[Cell], data: DatasetCache, context: RunContext) -> CellEvents:
        """Yield the events of all cells, as they come."""
        ...


def _on_ray(device: str, **options: Any) -> Executor:
    """Make a Ray executor; MachineError if the extra is not installed."""
    try:
        from augment.engine.cluster import Cluster
    except ImportError:
        raise MachineError(
            "--executor ray needs the extra: pip install 'augment-compare[ray]'"
        ) from None
    return Cluster(device, **options)


EXECUTORS: dict[str, Callable[..., Executor]] = {"local": Local, "ray": _on_ray}
FLAGS = {"local": ("jobs",), "ray": ("address", "cpus", "gpus")}  # options of each executor


def make_executor(executor: str, device: str, **options: Any) -> Executor:
    """Make an executor by name; UsageError for an unknown one, or a flag of the other executor."""
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    given = {flag: value for flag, value in options.items() if value is not None}
    for flag in given.keys() - FLAGS[executor]:
        owner = next(name for name, flags in FLAGS.items() if flag in flags)
        raise UsageError(f"--{flag} is for --executor {owner}: leave one of them out")
    return EXECUTORS[executor](device, **given)
