"""Where a cell is: what the stages yield after every step. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Progress:
    """Where a cell is."""

    stage: str  # "generator", "synthetic", "quality", "score"; "cell" when a cell has ended
    cell: str
    step: int
    steps: int
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0  # of training in this stage so far, earlier tries counted in
    changed: dict[str, Any] = field(default_factory=dict)  # by a fault: retried, micro_batch
    warning: str = ""  # something that a person should read now
    number: int | None = None  # of the cell in the run
