"""Progress of a run on stderr: bars with rate and time left on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import defaultdict, deque
from collections.abc import Generator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.table import Column
from rich.text import Text

from augment.engine.status import CELL, Status
from augment.runtime.steps import Steps, run_to_end
from augment.runtime.units import duration, speed

if TYPE_CHECKING:
    from augment.engine.run import Result
    from augment.experiment.progress import Progress as Step

    RunSteps = Generator[Step, None, Result]
    Marks = defaultdict[int | None, deque[tuple[Step, float]]]  # of each cell: steps, and when

LINE_SECONDS = 15.0  # between two lines where there is no terminal
MARK_SECONDS, MARKS = 5.0, 7  # a rate is that of the last half minute, as other work comes and goes
BAR_WIDTH, METRICS_WIDTH = 72, 110  # columns of a terminal from which bars, metrics are shown


def watch(steps: RunSteps, *, quiet: bool, verbose: int) -> Result:
    """Iterate a run to its end, show its progress and return its result."""
    screen = Console(stderr=True)
    if quiet:
        return run_to_end(steps)
    if sys.stderr.isatty() and not screen.is_dumb_terminal:
        return iter_with_bars(steps, screen)
    return iter_with_lines(steps, 1.0 if verbose else LINE_SECONDS)


def iter_with_bars(run: RunSteps, screen: Console) -> Result:
    """Show one bar for all cells, and below it one for each cell that is running."""
    steps = Steps(run)
    status, bars = Status(), dict[int | None, TaskID]()
    marks: Marks = defaultdict(lambda: deque(maxlen=MARKS))
    with Progress(*columns(screen.width), console=screen, transient=True) as shown:
        whole = shown.add_task("cells", total=None, rate="", note="")
        for step in steps:
            status.take(step)
            if step.note:
                screen.print(step.note, markup=False, highlight=False)
                continue
            if step.warning:
                screen.print(f"warning: {step.cell}: {step.warning}", markup=False, highlight=False)
            if step.stage == CELL:
                shown.update(whole, completed=step.step, total=step.steps, rate=overall(status))
                if step.number in bars:
                    shown.remove_task(bars.pop(step.number))
                continue
            if step.number in status.ended:  # a late message of its process
                continue
            if step.number not in bars:
                bars[step.number] = shown.add_task("", rate="", note="")
            shown.update(
                bars[step.number],
                description=f"{step.stage} · {step.cell}",
                total=step.steps,
                completed=step.step,
                rate=rate(step, marks),
                note=note(step),
            )
    return steps.value


class Name(ProgressColumn):
    """The description, cut to the room that there is."""

    def render(self, task: Task) -> Text:
        """Render one line."""
        return Text(task.description, no_wrap=True, overflow="ellipsis")


def columns(width: int) -> list[ProgressColumn]:
    """Choose the columns that the terminal has room for: name, bar, count, rate, metrics."""
    whole = Column(no_wrap=True)  # only the name is cut
    chosen: list[ProgressColumn] = [
        Name(table_column=Column(ratio=1)),
        MofNCompleteColumn(table_column=whole),
        TextColumn("{task.fields[rate]}", markup=False, table_column=whole),
    ]
    if width >= BAR_WIDTH:
        chosen.insert(1, BarColumn(16, table_column=whole))
    if width >= METRICS_WIDTH:
        chosen.append(TextColumn("{task.fields[note]}", markup=False, table_column=whole))
    return chosen


def iter_with_lines(run: RunSteps, every: float) -> Result:
    """Print a line of progress every few seconds, and each warning at once."""
    steps = Steps(run)
    status, printed = Status(), time.monotonic()
    marks: Marks = defaultdict(lambda: deque(maxlen=MARKS))
    for step in steps:
        status.take(step)
        if step.note:
            print(step.note, file=sys.stderr, flush=True)
            continue
        if step.warning:
            print(f"warning: {step.cell}: {step.warning}", file=sys.stderr, flush=True)
        parts = [f"{len(status.ended)}/{status.cells} cells {overall(status)}"]
        if step.stage != CELL:
            pace = rate(step, marks)
            parts.append(f"{step.cell}: {step.stage} {step.step}/{step.steps} {pace} {note(step)}")
        if time.monotonic() - printed >= every:
            printed = time.monotonic()
            print(" · ".join(part.rstrip() for part in parts), file=sys.stderr, flush=True)
    return steps.value


def overall(status: Status) -> str:
    """Format the rate of cells and the time left for all; empty before the first is computed."""
    if status.per_second is None or status.seconds_left is None:
        return ""
    return f"{speed(status.per_second)} {duration(status.seconds_left)} left"


def rate(step: Step, marks: Marks) -> str:
    """Format steps per second of late, and the time left for the stage; empty at first."""
    now, own = time.monotonic(), marks[step.number]
    before = own[-1][0] if own else step
    if (before.cell, before.stage) != (step.cell, step.stage) or step.step < before.step:
        own.clear()  # another stage, or the same of another fold
    if len(own) > 1 and own[-1][1] - own[-2][1] < MARK_SECONDS:
        own.pop()
    own.append((step, now))
    first, since = own[0]
    done, seconds = step.step - first.step, now - since
    if seconds < 0.5 or not done:
        return ""
    return f"{done / seconds:.1f}/s {duration(seconds / done * (step.steps - step.step))} left"


def note(step: Step) -> str:
    """Format the latest metrics."""
    return " ".join(f"{k} {v:.3g}" for k, v in step.metrics.items())
