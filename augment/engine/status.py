"""Where a run is: counted while it goes, kept in status.json, read without touching the run."""

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

CELL = "cell"  # the stage of the progress that says that a cell has ended


@dataclass
class Status:
    """The cells of a run, counted from its progress."""

    cells: int = 0
    failed: int = 0
    found: int = 0  # finished by an earlier try, only read
    begun: float | None = None  # when the first cell that was not found took its first step
    ended: set[int] = field(default_factory=set)
    running: dict[int, Progress] = field(default_factory=dict)  # by cell number

    def take(self, step: Progress) -> None:
        """Count one step; the news of a cell that has ended may come late."""
        if step.stage == CELL:
            self.cells = step.steps
            if step.number is not None:
                self.ended.add(step.number)
                self.failed += bool(step.metrics["failed"])
                self.found += self.running.pop(step.number, None) is None
        elif step.number is not None and step.number not in self.ended:
            self.begun = self.begun or time.time()
            self.running[step.number] = step

    @property
    def per_second(self) -> float | None:
        """Cells made in a second, those found not counted; None before the first."""
        made = len(self.ended) - self.found
        return made / max(time.time() - self.begun, 1e-3) if made and self.begun else None

    @property
    def seconds_left(self) -> float | None:
        """At that rate."""
        rate = self.per_second
        return (self.cells - len(self.ended)) / rate if rate else None

    def record(self, *, going: bool) -> str:
        """The text of status.json."""
        about = {
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
        return json.dumps(about, indent=1)


def read_status(run: Path) -> dict[str, Any]:
    """What status.json says, with what follows from it; UsageError if there is none."""
    if not (run / "settings.json").is_file():
        raise UsageError(f"{run} is no run folder: it has no settings.json")
    if not (run / STATUS_FILE).is_file():
        raise UsageError(f"{run} has no {STATUS_FILE} yet: go on with augment resume {run}")
    about = json.loads((run / STATUS_FILE).read_text(encoding="utf-8"))
    ended = about["done"] + about["failed"]
    going = about["process"] and not (
        about["machine"] == platform.node() and gone(about["process"])
    )
    state = "running" if going else "finished" if ended == about["cells"] else "stopped"
    running = len(about["stages"]) if going else 0
    return {
        "state": state,
        **about,
        "seconds_left": about["seconds_left"] if going else None,
        "running": running,
        "left": about["cells"] - ended - running,
    }


def gone(process: int) -> bool:
    """Whether there is no such process on this machine any more."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another person's
        return False
    return False


def status_lines(about: dict[str, Any]) -> list[list[str]]:
    """The same for people."""
    ago = duration(time.time() - about["time"])
    going = about["state"] == "running"
    where = f" (process {about['process']} on {about['machine']})" if going else ""
    found = f" ({about['found']} by earlier tries)" if about["found"] else ""
    lines = [
        ["state", f"{about['state']}{where}, last sign {ago} ago"],
        [
            "cells",
            f"{about['done']} of {about['cells']} done{found}, {about['failed']} failed, "
            f"{about['running']} running, {about['left']} left",
        ],
    ]
    if about["per_second"]:
        lines.append(["rate", speed(about["per_second"])])
    if about["seconds_left"] is not None:
        lines.append(["time left", duration(about["seconds_left"])])
    return lines + [[s["stage"], f"{s['step']}/{s['steps']} {s['cell']}"] for s in about["stages"]]
