"""Where cells are run: here, or on a cluster; one cell's fault does not stop the others."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from augment.cells import Cell
from augment.errors import AugmentError, Diverged, MachineError, UsageError, unknown
from augment.experiment import identity, run_cell
from augment.judge import baseline
from augment.learn import out_of_memory
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
NO_MEMORY = (
    "out of memory: give --jobs 1, a smaller --size, or a smaller network or batch, e.g. "
    "--set generator.width=16 --set classifier.batch=16"
)

Shape = tuple[int, int, int]
Row = dict[str, Any]
News = Iterator[tuple[int, Progress | Row]]  # of a cell by its number: progress, in the end its row


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
            yield from run_in_processes(cells, data, bench, folder, self.jobs or 1)
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


def guarded(cell: Cell, data: Shelf, bench: Bench, folder: Path) -> Iterator[Progress | Row]:
    """One cell, its row last; a fault of its own makes a row that says so, and the others go on."""
    try:
        yield (yield from run_cell(cell, data.of(cell), bench))
    except Diverged as error:
        yield {**identity(cell), "status": "diverged", "error": str(error)}
    except AugmentError:
        raise  # the same fault waits for every cell: stop with its sentence
    except Exception as error:
        with (folder / "errors.log").open("a") as log:
            log.write(f"{cell.name}\n{traceback.format_exc()}\n")
        said = NO_MEMORY if out_of_memory(error) else f"{type(error).__name__}: {error}"
        yield failed(cell, said)


def failed(cell: Cell, why: str) -> Row:
    """The row of a cell that could not be run."""
    return {**identity(cell), "status": "failed", "error": why}


def run_in_processes(cells: list[Cell], data: Shelf, bench: Bench, folder: Path, jobs: int) -> News:
    """Cells in `jobs` processes of one share of the threads each; shared stages are made once."""
    surroundings = [gpu_slot(number, bench.device) for number in range(jobs)]
    workers = [Worker(own, bench, folder, data, threads_for(jobs)) for own in surroundings]
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


def ready(cells: list[Cell], waiting: list[int], running: list[int], made: set[str]) -> list[int]:
    """Cells that can begin, most urgent first: nobody else is making what they need."""
    busy = {key for number in running for key in stage_keys(cells[number])}
    found = []
    for number in sorted(waiting, key=lambda n: urgency(cells[n], made)):
        if not busy & (stage_keys(cells[number]) - made):
            found.append(number)
            busy |= stage_keys(cells[number])
    return found


def urgency(cell: Cell, made: set[str]) -> int:
    """Cells that train a generator first: begun last, it would leave the other processes idle."""
    if cell.generator is None:
        return 2
    return int(made.issuperset(generator_keys(cell)))


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
            process.terminate()
        self.pool.shutdown(wait=True, cancel_futures=True)


def stage_keys(cell: Cell) -> set[str]:
    """Names of the shared stages that a cell makes or needs."""
    judge = repr((cell.trial, cell.size, cell.classic, baseline(cell).arm))
    if cell.generator is None:
        return {judge} if cell == baseline(cell) else set()
    own = {judge, *generator_keys(cell)}
    for candidate in cell.candidates:  # the arms of a trial choose with the same generators
        own |= {*generator_keys(candidate), f"folds of {generator_keys(candidate)[0]}"}
    return own


def generator_keys(cell: Cell) -> tuple[str, str]:
    """Names of a cell's generator and of its synthetic set."""
    model = repr((cell.trial, cell.size, cell.generator, cell.classic))
    return model, model + repr((cell.ratio, cell.generator_settings))


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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
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
