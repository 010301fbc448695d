"""Ctrl-C and SIGTERM: how a command ends from wherever it is, and can be gone on with."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from augment.cli.console import talk

if TYPE_CHECKING:
    from augment.engine import Result
    from augment.stages import Progress

SIGNALLED: list[int] = []  # exit codes of the signals that came
GRACE = 3.0  # seconds that a command has to end by itself after a signal
INTERRUPTED = "interrupted; run the same command, or augment resume RUN, to go on"


def end_soon() -> None:
    """After a signal: what is left of the process, too, ends within GRACE and undisturbed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    last = threading.Timer(GRACE, os._exit, [SIGNALLED[0]])
    last.daemon = True
    last.start()


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the command with 130 and 143 from wherever it is."""
    stops, ended = (signal.SIGINT, signal.SIGTERM), threading.Event()
    heard, hear = os.pipe()
    os.set_blocking(hear, False)

    def stop(number: int, _: object) -> None:
        SIGNALLED.append(128 + number)
        for each in stops:  # a second one would break into the clearing up, which GRACE bounds
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    def end_anyway() -> None:
        # `stop` waits for the end of a call into C, and what it raises can be swallowed. What is
        # sealed stays and the rest is made again, as after a kill.
        with open(heard, "rb", buffering=0) as numbers:
            while (said := numbers.read(1)) and said[0] not in stops:
                pass
        if said and not ended.wait(GRACE):
            talk(INTERRUPTED)
            os._exit(128 + said[0])

    threading.Thread(target=end_anyway, daemon=True).start()
    before = signal.set_wakeup_fd(hear, warn_on_full_buffer=False)
    previous = {number: signal.signal(number, stop) for number in stops}
    try:
        yield
    finally:
        ended.set()
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        os.close(hear)


def until_signalled(steps: Generator[Progress, None, Result]) -> Generator[Progress, None, Result]:
    """The steps of a run, none more after a signal: what it raised can have been swallowed.

    A bare `except:` around an import, or a finaliser, takes any exception that comes just then.
    """
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        if SIGNALLED:
            steps.close()
            raise SystemExit(SIGNALLED[0])
        yield step
