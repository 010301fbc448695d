"""Map a function over many files in processes: what Python does of a decoder's work runs at once.

The processes are forks, so that they need no start of their own and inherit the function. They
call decoders alone, no threaded mathematics, and end with their parent: who writes to a pipe that
nobody reads is ended by the system.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NoReturn

from augment.data.threads import FILES_PER_CHUNK, map_in_threads
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
        pipes = [started.enter_context(_fork(function, chunks[k::n])) for k in range(n)]
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
    process = os.fork()
    if not process:
        _write_results(function, chunks, writes)
    os.close(writes)
    try:
        with open(reads, "rb") as pipe:
            yield pipe
    finally:
        os.kill(process, signal.SIGKILL)  # still ours, if ended: it has not been waited for
        os.waitpid(process, 0)


def _write_results(
    function: Callable[[Any], Any], chunks: Sequence[Sequence[Any]], pipe: int
) -> NoReturn:
    """Do the work of a forked process, and end it without what its parent does at its end."""
    import fcntl

    try:
        gc.freeze()  # what the parent holds is no garbage, and to look at it would copy it
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends it
        for number in (signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        with open(pipe, "wb") as file:
            for chunk in chunks:
                try:
                    results: Any = list(map(function, chunk))
                except Exception as error:
                    results = error
                pickle.dump(results, file, pickle.HIGHEST_PROTOCOL)
                file.flush()
    finally:
        os._exit(0)
