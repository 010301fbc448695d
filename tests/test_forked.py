"""Mapping over files in forked processes: order, errors, and what a killed process leads to."""

import os
import select
import signal
import sys
import threading
from pathlib import Path

import pytest

from augment.data.pictures import forked
from augment.data.pictures.forked import map_files, map_in_forks
from augment.data.pictures.threads import FILES_PER_CHUNK
from augment.errors import MachineError

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux"),
    # the reader of images silences it
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]
PARENT = os.getpid()


@pytest.mark.parametrize("n", [0, 1, FILES_PER_CHUNK, 5 * FILES_PER_CHUNK + 7])
def test_results_are_in_order(n):
    assert map_in_forks(lambda a: (a, os.getpid() != PARENT), range(n), 3) == [
        (k, True) for k in range(n)
    ]


def test_an_error_is_passed_on():
    with pytest.raises(ZeroDivisionError):
        map_in_forks(lambda a: 1 // a, [2, 1, 0], 2)


def test_a_killed_process_is_told():
    with pytest.raises(MachineError, match="was killed"):
        map_in_forks(lambda a: os.kill(os.getpid(), signal.SIGKILL), [1, 2], 2)


def children():
    return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()


def test_no_process_is_left():
    before = children()
    map_in_forks(str, range(500), 3)
    assert children() == before


def test_many_files_are_read_in_processes(monkeypatch):
    monkeypatch.setattr(forked, "_processors", lambda: 2)
    pids = set(map_files(lambda _: os.getpid(), range(forked.MIN_FILES)))
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert map_files(lambda _: os.getpid(), range(9)) == [os.getpid()] * 9


def test_processes_end_with_a_parent_that_is_killed():
    reads, writes = os.pipe()  # all processes hold it open for writing until they end
    parent = os.fork()
    if not parent:
        first = os.getpid()

        def stop_parent(item):
            if item == 100:
                os.kill(first, signal.SIGKILL)
            return bytes(100_000)

        try:
            map_in_forks(stop_parent, range(1000), 3)
        finally:
            os._exit(0)
    os.close(writes)
    assert os.waitpid(parent, 0)[1] == signal.SIGKILL
    ready, _, _ = select.select([reads], [], [], 60)
    assert ready, "a process is left"
    assert os.read(reads, 1) == b""
    os.close(reads)


def test_a_process_that_cannot_be_started_is_told(monkeypatch):
    def refuse():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(MachineError, match="no process can be started"):
        map_in_forks(str, range(9), 2)


def test_a_pipe_that_may_not_be_large_is_small(monkeypatch):
    monkeypatch.setattr(forked, "PIPE_BYTES", 2**30)
    large = [bytes(10_000)] * 500
    assert map_in_forks(lambda a: a, large, 2) == large
