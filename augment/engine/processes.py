"""Cells in worker processes: which can begin, what they tell, and that a fault costs one cell."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

import torch

from augment.experiment.cells import Cell
from augment.experiment.context import Bench, Progress

if TYPE_CHECKING:
    from augment.experiment.context import Shelf
from augment.engine.cell_runner import News, Row, failed, guarded
from augment.engine.scheduling import ready, stage_keys


def run_in_processes(
    cells: list[Cell], data: Shelf, bench: Bench, folder: Path, jobs: int, threads: int
) -> News:
    """Cells in `jobs` processes of so many threads each; shared stages are made once."""
    surroundings = [gpu_slot(number, bench.device) for number in range(jobs)]
    workers = [Worker(own, bench, folder, data, threads) for own in surroundings]
    idle = list(workers)
    waiting, running = list(range(len(cells))), {}
    made: set[str] = set()
    try:
        while waiting or running:
            now = ready(cells, waiting, [number for number, _ in running.values()], made)
            for number in now[: len(idle)]:
                worker = idle.pop()
                running[worker.start(number, cells[number])] = number, worker
                waiting.remove(number)
            done, _ = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
            for worker in workers:
                yield from worker.told()
            for future in done:
                number, worker = running.pop(future)
                row = outcome(future, cells[number])
                if row["status"] == "ok":  # else the next one that shares it makes it
                    made |= stage_keys(cells[number])
                idle.append(worker)
                yield number, row
    finally:
        for worker in workers:
            worker.end()


def gpu_slot(number: int, device: torch.device) -> dict[str, str]:
    """What a worker's environment says of GPUs: one of those seen here, each in its turn."""
    if device.type != "cuda" or device.index is not None:
        return {}
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else [str(n) for n in range(torch.cuda.device_count())]
    return {"CUDA_VISIBLE_DEVICES": names[number % len(names)]}


class Worker:
    """A pool of one process: one that the system kills takes down its own cell and no other."""

    def __init__(self, *task: Any) -> None:
        self.task = task
        self.open()

    def open(self) -> None:
        """A new pool with a queue of its own: a killed process can leave its queue locked."""
        context = multiprocessing.get_context("spawn")
        self.talk = context.Queue()
        task: Any = (self.talk, *self.task)
        self.pool = ProcessPoolExecutor(1, mp_context=context, initializer=enter, initargs=task)

    def start(self, number: int, cell: Cell) -> Future[Row]:
        """Give the process a cell; after a kill there is a new process."""
        with signals_held():
            try:
                return self.pool.submit(work, number, cell)
            except BrokenProcessPool:
                self.end()
                self.open()
                return self.pool.submit(work, number, cell)

    def told(self) -> News:
        """The progress that has come in."""
        with contextlib.suppress(Empty):
            while True:
                yield self.talk.get_nowait()

    def end(self) -> None:
        """Stop the process, whatever it is doing."""
        for process in list((self.pool._processes or {}).values()):
            process.kill()
        self.pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM come when it is over, and never to a process begun meanwhile.

    A half-begun one would be ended by nobody, and in a terminal Ctrl-C reaches all: the parent
    decides.
    """
    stops, heard = (signal.SIGINT, signal.SIGTERM), []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    # where another thread takes the signal, its handler is called in the main one all the same
    main = threading.current_thread() is threading.main_thread()
    held = {n: signal.signal(n, lambda n, _: heard.append(n)) for n in stops} if main else {}
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in heard[:1]:
            handler = held[number]
            if callable(handler):  # not sent again: who watches the signals has read this one
                handler(number, None)
            else:
                signal.raise_signal(number)


def outcome(future: Future[Row], cell: Cell) -> Row:
    """A worker's row; one that was killed leaves a failed cell and is not tried again."""
    try:
        return future.result()
    except BrokenProcessPool:
        said = "its process was killed (out of memory?): run again to go on, with --jobs 1"
        return failed(cell, said)


WORKER: dict[str, Any] = {}  # of this worker process


def enter(
    talk: Any, surroundings: dict[str, str], bench: Bench, folder: Path, data: Shelf, threads: int
) -> None:
    """First thing in a worker process; the pictures come in shared memory, read once for all."""
    os.environ.update(surroundings)  # CUDA reads it at its first call, which comes later
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    WORKER.update(talk=talk, bench=bench, folder=folder, data=data)


def end_with_parent() -> None:
    """An orphan would write into artefacts that the next run is making: die with the parent."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def work(number: int, cell: Cell) -> Row:
    """One cell in a worker process; tells its progress a few times a second."""
    told = float("-inf")
    for news in guarded(cell, WORKER["data"], WORKER["bench"], WORKER["folder"]):
        if not isinstance(news, Progress):
            return news
        if news.warning or time.monotonic() - told > 0.2:
            WORKER["talk"].put((number, news))
            told = time.monotonic()
    raise AssertionError(f"{cell.name} ended without a row")
