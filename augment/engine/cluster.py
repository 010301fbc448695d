"""`--executor ray`: one Ray task per cell on a cluster (extra `ray`); imported only on demand."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import socket
import threading
from typing import Any

import ray  # pyright: ignore[reportMissingImports]
import torch
from ray.exceptions import RayError, RayTaskError  # pyright: ignore[reportMissingImports]

from augment import __version__
from augment.data.images import ImageShape
from augment.engine.cell_runner import CellEvents, ResultRow, failed_row, run_cell_catching
from augment.engine.scheduling import Schedule
from augment.errors import MachineError, UsageError
from augment.experiment.cells import Cell
from augment.experiment.context import RunContext
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.progress import Progress
from augment.experiment.recipe import Recipe
from augment.runtime.device import pick_device
from augment.storage.artifacts import Store

# documented by Ray: tasks that ask for no GPU get an empty list of visible ones
RAY_HIDES_GPUS = "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"
RETRIES = 3  # of a cell whose node or process was lost; a cell that raises is not tried again


class Cluster:
    """A Ray cluster, connected inside `with`; each cell gets `cpus` cores and `gpus` GPUs."""

    def __init__(
        self, device: str, address: str | None = None, cpus: int = 1, gpus: float | None = None
    ) -> None:
        if device not in ("auto", "cpu", "cuda") or (device == "cpu" and gpus):
            raise UsageError(f"--device {device} with --executor ray: say --gpus, or --device cpu")
        self.requested, self.cpus, self.gpus = device, cpus, gpus
        self.address = address or os.environ.get("RAY_ADDRESS") or "auto"

    def __enter__(self) -> Cluster:
        """Connect; MachineError if there is no cluster, or no node with room for a cell."""
        handler = signal.getsignal(signal.SIGTERM)
        options: dict[str, Any] = {"include_dashboard": False} if self.address == "local" else {}
        try:
            host, _, port = self.address.rpartition(":")
            if host:  # Ray itself waits for more than ten minutes where nobody answers
                socket.create_connection((host, int(port)), timeout=10).close()
            ray.init(self.address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (OSError, RuntimeError, ValueError, RayError) as error:
            raise MachineError(
                f"--address {self.address}: no Ray cluster can be reached "
                f"({_first_sentence(error)}): give the address of one (and its RAY_AUTH_TOKEN), "
                "or --address local to start one"
            ) from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)  # Ray installs a handler
        try:
            self.choose_device([node["Resources"] for node in ray.nodes() if node["Alive"]])
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()

    def choose_device(self, nodes: list[dict[str, float]]) -> None:
        """Choose the device; MachineError if no node has room for a cell."""
        sizes = [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes]
        if self.gpus is None:
            wanted = self.requested == "cuda" or (
                self.requested == "auto" and max(sizes, key=max)[1] > 0
            )
            self.gpus = float(wanted)
        self.device, self.nodes = torch.device("cuda" if self.gpus else "cpu"), len(nodes)
        if not any(cpus >= self.cpus and gpus >= self.gpus for cpus, gpus in sizes):
            available = ", ".join(sorted({f"{cpus:g} and {gpus:g}" for cpus, gpus in sizes}))
            raise MachineError(
                f"--cpus {self.cpus} --gpus {self.gpus:g}: no node of the cluster has so many "
                f"cores and GPUs for a cell (they have {available}): ask for less"
            )

    def resolved(self, recipe: Recipe) -> Recipe:
        """Replace each `auto` that nodes of different hardware would resolve differently."""
        recipe = recipe.resolved(self.device.type)
        precision = "fp32" if recipe.precision == "auto" else recipe.precision
        return recipe.model_copy(update={"precision": precision})

    def plan_workers(self, shapes: list[ImageShape], cells: int) -> dict[str, Any]:
        """Describe the workers for environment.json."""
        return {"executor": "ray", "nodes": self.nodes, "threads": self.cpus, "gpus": self.gpus}

    def run(self, cells: list[Cell], data: DatasetCache, context: RunContext) -> CellEvents:
        """Run one task per cell, submitted once no running task makes an artefact that it needs."""
        folder = context.store.root.resolve()  # tasks have another current folder
        context = dataclasses.replace(context, store=Store(folder))
        task = ray.remote(_run_on_node).options(
            **task_resources(self.cpus, self.gpus or 0.0), max_retries=RETRIES, name="augment"
        )
        common = ray.put(data), context, self.cpus, __version__
        running, schedule = {}, Schedule(cells)
        while schedule.waiting or running:
            for number in schedule.begin(list(running.values())):
                running[task.remote(cells[number], *common)] = number
            yield from ((n, Progress("on Ray", cells[n].name, 0, 1)) for n in running.values())
            done, _ = ray.wait(list(running), timeout=0.5)
            for ref in done:
                number = running.pop(ref)
                row, warnings = _task_outcome(ref, cells[number])
                schedule.end(number, ok=row["status"] == "ok")
                yield from ((number, event) for event in (*warnings, row))


def task_resources(cpus: int, gpus: float) -> dict[str, Any]:
    """Return the options of a Ray task with so many cores and GPUs, and no GPU beyond these.

    In Ray 2.60 a task that asks for none sees all GPUs of its node, unless its environment says
    otherwise; before, it saw none.
    """
    hidden = {RAY_HIDES_GPUS: "1"}
    return {"num_cpus": cpus, "num_gpus": gpus, "runtime_env": {"env_vars": hidden}}


def _run_on_node(
    cell: Cell, data: DatasetCache, context: RunContext, threads: int, version: str
) -> tuple[ResultRow, list[Progress]]:
    """Run a cell on a node; return its row and its warnings."""
    node, folder = ray.util.get_node_ip_address(), context.store.root
    if version != __version__:
        raise MachineError(f"node {node} has augment {__version__}, not {version}: make them equal")
    if not (folder / "settings.json").is_file():
        raise MachineError(f"node {node} does not see {folder}: choose an --out that all nodes see")
    pick_device(str(context.device))
    torch.set_num_threads(threads)
    warnings = []
    for event in run_cell_catching(cell, data, context):
        if not isinstance(event, Progress):
            return event, warnings
        if event.warning:
            warnings.append(event)
    raise AssertionError(f"{cell.name} ended without a row")


def _task_outcome(ref: Any, cell: Cell) -> tuple[ResultRow, list[Progress]]:
    """Return the row and warnings of a task; one that was lost too often gives a failed row."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        raise error.cause from None  # the same fault waits for every cell: stop with its sentence
    except RayError as error:
        why = f"its node or process was lost ({_first_sentence(error)}): run again to go on"
        return failed_row(cell, why), []


def _first_sentence(error: Exception) -> str:
    """Shorten a message of Ray, which is long, to its first sentence."""
    return str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".: ")
