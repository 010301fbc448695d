"""Progress of a run on stderr: bars with a rate and a time left on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)  # fmt: skip

if TYPE_CHECKING:
    from augment.engine import Result
    from augment.stages import Progress as Step

LINE_SECONDS = 15.0  # between lines where there is no terminal


def watch(steps: Iterator[Step], *, quiet: bool, verbose: int) -> Result:
    """Iterate a run to its end, showing where it is; returns its result."""
    if quiet:
        show = iter_quietly(steps)
    elif sys.stderr.isatty():
        show = iter_with_bars(steps)
    else:
        show = iter_with_lines(steps, 1.0 if verbose else LINE_SECONDS)
    return show


def iter_quietly(steps: Iterator[Step]) -> Result:
    """To the end without a word."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def iter_with_bars(steps: Iterator[Step]) -> Result:
    """A bar for each stage that is running."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    bars: dict[tuple[str, str], tuple[TaskID, float, int]] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as screen:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                return stop.value
            if step.warning:
                screen.console.print(f"warning: {step.cell}: {step.warning}", markup=False)
            key = (step.cell, step.stage)
            if key not in bars:
                for old in [k for k in bars if k[0] == step.cell]:
                    screen.remove_task(bars.pop(old)[0])
                if len(bars) > 8:
                    screen.remove_task(bars.pop(next(iter(bars)))[0])
                name = f"{step.stage:9s} {step.cell}"
                task = screen.add_task(name, total=step.steps, rate="", note="")
                bars[key] = (task, time.monotonic(), step.step)
            task, begun, first = bars[key]
            screen.update(task, completed=step.step, rate=rate(step, begun, first), note=note(step))
            if step.step >= step.steps:
                screen.remove_task(bars.pop(key)[0])


def iter_with_lines(steps: Iterator[Step], every: float) -> Result:
    """A line every few seconds."""
    begun: dict[tuple[str, str], tuple[float, int]] = {}
    told = time.monotonic()
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        if step.warning:
            print(f"warning: {step.cell}: {step.warning}", file=sys.stderr, flush=True)
        since, first = begun.setdefault((step.cell, step.stage), (time.monotonic(), step.step))
        if time.monotonic() - told >= every:
            told = time.monotonic()
            left = time_left(step, since, first)
            print(
                f"{step.cell}: {step.stage} {step.step}/{step.steps} "
                f"{rate(step, since, first)} {left} {note(step)}".rstrip(),
                file=sys.stderr, flush=True,
            )  # fmt: skip


def rate(step: Step, begun: float, first: int) -> str:
    """Steps a second since the bar began."""
    seconds = time.monotonic() - begun
    return f"{(step.step - first) / seconds:.1f}/s" if seconds > 0.5 else ""


def time_left(step: Step, begun: float, first: int) -> str:
    """Of this stage, at its rate so far."""
    done, seconds = step.step - first, time.monotonic() - begun
    return f"{seconds / done * (step.steps - step.step):.0f} s left" if done else ""


def note(step: Step) -> str:
    """The latest metrics."""
    return " ".join(f"{k} {v:.3g}" for k, v in step.metrics.items())
