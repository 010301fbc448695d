"""Progress of a run: counted while it runs, saved in status.json, read without a lock."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augment.errors import UsageError
from augment.experiment.progress import Progress
from augment.runtime.units import duration, speed
from augment.storage.run_folder import STATUS_FILE

BEGUN = "begun"  # the stage of the progress that says what is run, and where
CELL = "cell"  # the stage of the progress that says that a cell has ended


@dataclass
class Status:
    """The cells of a run, counted from its progress."""

    cells: int = 0
    failed: int = 0
    found: int = 0  # cells finished by an earlier run and only read
    begun: float | None = None  # time of the first step of a cell that was not found
    ended: set[int] = field(default_factory=set)
    running: dict[int, Progress] = field(default_factory=dict)  # by cell number

    def take(self, step: Progress) -> None:
        """Count one step; progress of a cell may arrive after its end and is ignored."""
        if step.stage == CELL:
            self.cells = step.steps
            if step.number is None:  # a run begins: --until makes several, one after the other
                self.failed = self.found = 0
                self.ended.clear()
                self.running.clear()
            else:
                self.ended.add(step.number)
                self.failed += bool(step.metrics["failed"])
                self.found += self.running.pop(step.number, None) is None
        elif step.number is not None and step.number not in self.ended:
            self.begun = self.begun or time.time()
            self.running[step.number] = step

    @property
    def per_second(self) -> float | None:
        """Cells per second without those found; None before the first."""
        finished = len(self.ended) - self.found
        # over wall time, since several processes work at once
        return finished / max(time.time() - self.begun, 1e-3) if finished and self.begun else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the present rate; None before the first cell."""
        rate = self.per_second
        return (self.cells - len(self.ended)) / rate if rate else None

    def record(self, *, going: bool) -> str:
        """Return the text of status.json."""
        status = {
            "cells": self.cells,
            "done": len(self.ended) - self.failed,
            "failed": self.failed,
            "found": self.found,
            "per_second": self.per_second,
            "seconds_left": self.seconds_left,
            "time": time.time(),
            "machine": platform.node(),
            "process": os.getpid() if going else None,
            "stages": [
                {k: getattr(step, k) for k in ("cell", "stage", "step", "steps", "seconds")}
                for step in self.running.values()
            ],
        }
        return json.dumps(status, indent=1)


def read_status(run: Path) -> dict[str, Any]:
    """Read status.json and add state and counts; UsageError if there is none."""
    if not (run / "settings.json").is_file():
        raise UsageError(f"{run} is no run folder: it has no settings.json")
    if not (run / STATUS_FILE).is_file():
        raise UsageError(f"{run} has no {STATUS_FILE} yet: go on with augment resume {run}")
    status = json.loads((run / STATUS_FILE).read_text(encoding="utf-8"))
    ended = status["done"] + status["failed"]
    going = status["process"] and not (
        status["machine"] == platform.node() and _has_ended(status["process"])
    )
    state = "running" if going else "finished" if ended == status["cells"] else "stopped"
    # a run that was killed leaves stages that nobody works on
    running = len(status["stages"]) if going else 0
    return {
        "state": state,
        **status,
        "seconds_left": status["seconds_left"] if going else None,
        "running": running,
        "left": status["cells"] - ended - running,
    }


def _has_ended(process: int) -> bool:
    """Tell whether a process of this machine has ended."""
    try:
        os.kill(process, 0)  # signal 0 only checks that the process exists
    except ProcessLookupError:
        return True
    except PermissionError:  # exists, of another user
        return False
    return False


def status_lines(status: dict[str, Any]) -> list[list[str]]:
    """Format a status as rows of label and text."""
    ago = duration(time.time() - status["time"])
    going = status["state"] == "running"
    where = f" (process {status['process']} on {status['machine']})" if going else ""
    earlier = f" ({status['found']} by earlier tries)" if status["found"] else ""
    lines = [
        ["state", f"{status['state']}{where}, last sign {ago} ago"],
        [
            "cells",
            f"{status['done']} of {status['cells']} done{earlier}, {status['failed']} failed, "
            f"{status['running']} running, {status['left']} left",
        ],
    ]
    if status["per_second"]:
        lines.append(["rate", speed(status["per_second"])])
    if status["seconds_left"] is not None:
        lines.append(["time left", duration(status["seconds_left"])])
    return lines + [[s["stage"], f"{s['step']}/{s['steps']} {s['cell']}"] for s in status["stages"]]
