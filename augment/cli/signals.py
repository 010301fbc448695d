"""Ctrl-C and SIGTERM: a command ends from wherever it is, and its run can be resumed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from augment.cli.console import talk
from augment.runtime.steps import Steps

if TYPE_CHECKING:
    from augment.engine.run import Result
    from augment.experiment.progress import Progress

SIGNALLED: list[int] = []  # exit codes of the signals received
GRACE = 3.0  # seconds that a command has after a signal to end by itself
INTERRUPTED = "interrupted; run the same command, or augment resume RUN, to continue"


def end_soon() -> None:
    """Ignore further signals and end the process within GRACE, whatever is left of it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    last = threading.Timer(GRACE, os._exit, [SIGNALLED[0]])
    last.daemon = True
    last.start()


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """End the command on Ctrl-C or SIGTERM, with 130 or 143, from wherever it is."""
    stops, ended = (signal.SIGINT, signal.SIGTERM), threading.Event()
    heard, hear = os.pipe()
    os.set_blocking(hear, False)

    def stop(number: int, _: object) -> None:
        SIGNALLED.append(128 + number)
        for each in stops:  # a second one would interrupt the clean-up, which GRACE bounds
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    def end_anyway() -> None:
        # `stop` runs only after a call into C has returned, and its exception can be swallowed.
        # Sealed artefacts stay and the rest is computed again, as after a kill.
        with open(heard, "rb", buffering=0) as numbers:
            while (number := numbers.read(1)) and number[0] not in stops:
                pass
        if number and not ended.wait(GRACE):
            talk(INTERRUPTED)
            os._exit(128 + number[0])

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


def until_signalled(run: Generator[Progress, None, Result]) -> Generator[Progress, None, Result]:
    """Yield the steps of a run and stop after a signal, even if its exception was swallowed.

    A bare `except:` around an import, or a finaliser, swallows any exception raised at that moment.
    """
    steps = Steps(run)
    for step in steps:
        if SIGNALLED:
            run.close()
            raise SystemExit(SIGNALLED[0])
        yield step
    return steps.value
