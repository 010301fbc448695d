"""EXECUTORS: where cells are run, on this machine or on a Ray cluster."""

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
    """Where cells are run; entered for the length of a run."""

    device: torch.device  # once it is entered

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def resolved(self, recipe: Recipe) -> Recipe:
        """Replace `auto` by what it stands for there."""
        ...

    def plan_workers(self, shapes: list[ImageShape], cells: int) -> dict[str, Any]:
        """Settle how cells are spread; returns what environment.json says of it."""
        ...

    def run(self, cells: list[Cell], data: DatasetCache, context: RunContext) -> CellEvents:
        """Yield the events of all cells, as they come."""
        ...


def _on_ray(device: str, **asked: Any) -> Executor:
    """A Ray cluster; MachineError if the extra is not installed."""
    try:
        from augment.engine.cluster import Cluster
    except ImportError:
        raise MachineError(
            "--executor ray needs the extra: pip install 'augment-compare[ray]'"
        ) from None
    return Cluster(device, **asked)


EXECUTORS: dict[str, Callable[..., Executor]] = {"local": Local, "ray": _on_ray}
FLAGS = {"local": ("jobs",), "ray": ("address", "cpus", "gpus")}  # what each one can be asked


def make_executor(executor: str, device: str, **asked: Any) -> Executor:
    """The executor of a name; UsageError for an unknown one, or a flag of the other executor."""
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    given = {flag: value for flag, value in asked.items() if value is not None}
    for flag in given.keys() - FLAGS[executor]:
        own = next(name for name, flags in FLAGS.items() if flag in flags)
        raise UsageError(f"--{flag} is for --executor {own}: leave one of them out")
    return EXECUTORS[executor](device, **given)
