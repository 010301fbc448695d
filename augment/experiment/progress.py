"""Progress, which the stages of a cell yield after every step. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Progress:
    """Position in a stage of a cell, with metrics and warnings."""

    stage: str  # "generator", "synthetic", "quality", "score"; "cell" when a cell has ended
    cell: str
    step: int
    steps: int
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0  # of training in this stage so far, interrupted runs included
    changed: dict[str, Any] = field(default_factory=dict)  # by recovery: retried, micro_batch
    warning: str = ""  # for the user, at once
    note: str = ""  # the same, and nothing to worry about
    number: int | None = None  # of the cell in the run
