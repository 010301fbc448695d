"""Worker processes fork from a server that has imported what they need.

It begins to while the main process imports the same on another core, so that workers start without
a wait. Nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing import forkserver
from typing import Any

# torch._dynamo comes with the first optimiser, the schedulers with the first ddpm
NEEDED = ["augment.processes", "torch._dynamo", "diffusers.schedulers"]


def fork_server() -> Any:
    """The context in which worker processes start: forked from the server; anew on Windows."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(NEEDED)
    return context


def begin_early(jobs: int | None) -> None:
    """Let the server import now, where a second core would idle meanwhile."""
    if jobs != 1 and (os.cpu_count() or 1) > 1 and fork_server().get_start_method() != "spawn":
        with signals_held():
            forkserver.ensure_running()


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM come when it is over, and never to a process begun meanwhile.

    A half-begun one would be ended by nobody, and in a terminal Ctrl-C reaches all: the parent
    decides.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
