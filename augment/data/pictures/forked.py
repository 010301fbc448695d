"""Map a function over many files in forked processes: decoders then do not wait for Python's lock.

A fork needs no time to start and inherits the function. It calls decoders alone, no threaded
mathematics, and ends with its parent: the system ends whoever writes to a pipe without reader.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, NoReturn

from augment.data.pictures.threads import FILES_PER_CHUNK, map_in_threads
from augment.errors import MachineError

MIN_FILES = 2000  # fewer are read in threads: there is no time to be saved
MAX_PROCESSES = 8
PIPE_BYTES = 2**20  # of results that a process may be ahead by


def map_files(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Call the function with each item; results are in their order.

    In threads where processes are not forked: few items, one processor, or no Linux. Raises
    MachineError if a process is killed.
    """
    n = min(MAX_PROCESSES, _processors())
    if sys.platform != "linux" or n < 2 or len(items) < MIN_FILES:
        return map_in_threads(function, items)
    return map_in_forks(function, items, n)


def _processors() -> int:
    """Count the processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def map_in_forks(function: Callable[[Any], Any], items: Sequence[Any], n: int) -> list[Any]:
    """Call the function with each item in `n` processes, which take chunks of items in turn."""
    chunks = [
        items[start : start + FILES_PER_CHUNK] for start in range(0, len(items), FILES_PER_CHUNK)
    ]
    found: list[Any] = []
    with contextlib.ExitStack() as started:
        try:
            pipes = [started.enter_context(_fork(function, chunks[k::n])) for k in range(n)]
        except OSError as error:
            raise MachineError(
                f"no process can be started to read images ({error.strerror}): end other programs"
            ) from None
        for k in range(len(chunks)):
            try:
                results = pickle.load(pipes[k % n])  # what our own fork wrote
            except (EOFError, pickle.UnpicklingError):
                raise MachineError(
                    "a process that read images was killed, which happens where memory is short: "
                    "end other programs or take a smaller --size"
                ) from None
            if isinstance(results, Exception):
                raise results
            found += results
    return found


@contextlib.contextmanager
def _fork(function: Callable[[Any], Any], chunks: Sequence[Sequence[Any]]) -> Iterator[BinaryIO]:
    """Start a process that writes the results of each chunk; kill it where it is not done."""
    reads, writes = os.pipe()
    with open(reads, "rb") as pipe, open(writes, "wb") as file:
        # until the process has handlers of its own, a signal would do in it what the parent's do
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            process = os.fork()
            if not process:
                pipe.close()  # or the pipe would have a reader after the parent's end
                _write_results(function, chunks, file, unblocked)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        file.close()
        try:
            yield pipe
        finally:
            os.kill(process, signal.SIGKILL)  # still ours, if ended: it has not been waited for
            os.waitpid(process, 0)


def _write_results(
    function: Callable[[Any], Any],
    chunks: Sequence[Sequence[Any]],
    pipe: BinaryIO,
    unblocked: Iterable[int],
) -> NoReturn:
    """Do the work of a forked process, and end it without what its parent does at its end."""
    import fcntl

    try:
        gc.freeze()  # what the parent holds is no garbage, and to look at it would copy it
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends it
        for number in (signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        with contextlib.suppress(OSError):  # more than a user may have: results wait more often
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        for chunk in chunks:
            try:
                results: Any = list(map(function, chunk))
            except Exception as error:
                results = error
            pickle.dump(results, pipe, pickle.HIGHEST_PROTOCOL)
            pipe.flush()
    finally:
        os._exit(0)
