"""Run cells in worker processes; a process that is killed loses no cell but the one it ran."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from queue import Empty
from typing import Any

import torch

from augment.engine.cell_runner import CellEvents, ResultRow, failed_row, run_cell_catching
from augment.engine.scheduling import Schedule
from augment.experiment.cells import Cell
from augment.experiment.context import RunContext
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.progress import Progress
from augment.runtime.fork_server import process_context, signals_held


def run_in_processes(
    cells: list[Cell], data: DatasetCache, context: RunContext, jobs: int, threads: int
) -> CellEvents:
    """Run cells in `jobs` processes of `threads` threads each; shared stages run once."""
    environments = [gpu_slot(number, context.device) for number in range(jobs)]
    workers = [Worker(environment, context, data, threads) for environment in environments]
    idle, running, schedule = list(workers), {}, Schedule(cells)
    try:
        while schedule.waiting or running:
            for number in schedule.begin([n for n, _ in running.values()], len(idle)):
                worker = idle.pop()
                running[worker.start(number, cells[number])] = number, worker
            done, _ = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
            for worker in workers:
                yield from worker.drain()
            for future in done:
                number, worker = running.pop(future)
                row = _outcome(future, cells[number])
                schedule.end(number, ok=row["status"] == "ok")
                idle.append(worker)
                yield number, row
    finally:
        for worker in workers:
            worker.end()


def gpu_slot(number: int, device: torch.device) -> dict[str, str]:
    """Return the environment variables that give worker `number` one GPU, in rotation."""
    if device.type != "cuda" or device.index is not None:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]
    return {"CUDA_VISIBLE_DEVICES": names[number % len(names)]}


class Worker:
    """A pool of one process: if the system kills it, no other cell is lost."""

    def __init__(
        self, environment: dict[str, str], context: RunContext, data: DatasetCache, threads: int
    ) -> None:
        self.processes = process_context(context.device)
        self.task = environment, context, data, threads
        self.open()

    def open(self) -> None:
        """Create a pool with a new queue: a killed process can leave its queue locked."""
        self.events = self.processes.Queue()
        task: Any = (self.events, *self.task)
        self.pool = ProcessPoolExecutor(
            1, mp_context=self.processes, initializer=_initialise, initargs=task
        )

    def start(self, number: int, cell: Cell) -> Future[ResultRow]:
        """Submit a cell to the process; if that was killed, to a new one."""
        with signals_held():
            try:
                return self.pool.submit(_run_in_worker, number, cell)
            except BrokenProcessPool:
                self.end()
                self.open()
                return self.pool.submit(_run_in_worker, number, cell)

    def drain(self) -> CellEvents:
        """Yield the events that have arrived."""
        with contextlib.suppress(Empty):
            while True:
                yield self.events.get_nowait()

    def end(self) -> None:
        """Stop the process, whatever it is doing."""
        for process in list((self.pool._processes or {}).values()):
            process.kill()
        self.pool.shutdown(wait=True, cancel_futures=True)


def _outcome(future: Future[ResultRow], cell: Cell) -> ResultRow:
    """Return the row of a worker; one that was killed gives a failed row, without a retry."""
    try:
        return future.result()
    except BrokenProcessPool:
        why = "its process was killed (out of memory?): run again to go on, with --jobs 1"
        return failed_row(cell, why)


WORKER: dict[str, Any] = {}  # of this worker process


def _initialise(
    events: Any, environment: dict[str, str], context: RunContext, data: DatasetCache, threads: int
) -> None:
    """Set up a worker process; the images arrive in shared memory, read once for all workers."""
    os.environ.update(environment)  # CUDA reads it at its first call, which comes later
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    WORKER.update(events=events, context=context, data=data)


def _end_with_parent() -> None:
    """Exit with the parent: an orphan would write into artefacts that the next run is making."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _run_in_worker(number: int, cell: Cell) -> ResultRow:
    """Run a cell in a worker process; send its progress a few times a second; return its row."""
    sent = float("-inf")
    for event in run_cell_catching(cell, WORKER["data"], WORKER["context"]):
        if not isinstance(event, Progress):
            return event
        if event.warning or time.monotonic() - sent > 0.2:
            WORKER["events"].put((number, event))
            sent = time.monotonic()
    raise AssertionError(f"{cell.name} ended without a row")
