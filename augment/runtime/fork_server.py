"""A server that imports once what worker processes need, and forks them: they start in no time.

Only where forking is safe: on Linux, and not for a GPU, whose driver does not outlive a fork.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

NVIDIA = "/proc/driver/nvidia"  # is there with the driver of a GPU
PRELOADED = ["augment.engine.preloaded"]


def process_context(device: torch.device) -> BaseContext:
    """Return the way to start worker processes for a device: by the server, or each anew."""
    return multiprocessing.get_context("forkserver" if start_server(device.type) else "spawn")


def start_server(device: str) -> bool:
    """Start the server unless it is running; it imports while this process goes on.

    Returns whether workers for the device (auto, cpu or cuda) are forked here.
    """
    without_allocator_thread()
    gpu = device.startswith("cuda") or (device == "auto" and os.path.exists(NVIDIA))
    if gpu or sys.platform != "linux":
        return False
    from multiprocessing import resource_tracker
    from multiprocessing.forkserver import ensure_running

    multiprocessing.set_forkserver_preload(PRELOADED)
    resource_tracker.ensure_running()  # else the server starts it, which unblocks the signals again
    with signals_held():  # it and all that it forks inherit which signals are blocked
        ensure_running()
    return True


def without_allocator_thread() -> None:
    """Keep pyarrow, if it is loaded later in this process, from starting a thread.

    pandas loads it where it is installed, and the thread of its allocator holds locks on which a
    fork may hang: of workers, and of readers of images (findings/pandas-starts-a-thread.sh).
    """
    os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the block ends; block them in processes started inside.

    Nobody would end a process that is only half started, and in a terminal Ctrl-C reaches all
    processes: the parent decides.
    """
    stops, received = (signal.SIGINT, signal.SIGTERM), []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    # a signal that another thread receives still calls its handler in the main thread
    main = threading.current_thread() is threading.main_thread()
    held = {n: signal.signal(n, lambda n, _: received.append(n)) for n in stops} if main else {}
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in received[:1]:
            handler = held[number]
            if callable(handler):  # not sent again: the watcher of the signals has read this one
                handler(number, None)
            else:
                signal.raise_signal(number)
