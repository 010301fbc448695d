"""The training loop with a log and checkpoints: it resumes where an earlier process was stopped.

On one machine, a resumed training ends with the same weights, bit for bit, as an unbroken one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from augment.storage.tables import write_csv
from augment.storage.tensors import load_checkpoint, save_checkpoint
from augment.training.learner import Learner
from augment.training.loop import finite_floats, train
from augment.training.recovery import halve_rate, recover
from augment.training.serialization import finite_state, load_full_state
from augment.training.training_set import TrainingSet

CHECKPOINT_SECONDS = 20.0  # work that a kill can cost, besides the steps to the next log point
LOG_POINTS = 50  # values of each metric kept in history.csv
LOG_STEPS = (5, 100)  # least and most steps between two; those a non-finite loss can cost


@dataclass(frozen=True)
class TrainingState:
    """Progress of a training."""

    step: int
    steps: int
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0  # so far, in all processes together
    changed: dict[str, Any] = field(default_factory=dict)  # by `recover`: retried, micro_batch
    warning: str = ""  # what `recover` has just done


def train_with_checkpoints(
    learner: Learner, data: TrainingSet, *, seed: int, device: torch.device, folder: Path
) -> Iterator[TrainingState]:
    """Train to the end and write history.csv; yield the state at the start and after each step.

    Recovery goes back to the last log point, where all numbers were finite. Checkpoints are written
    at log points alone, so that a resumed training would go back to the same one.
    """
    saved = load_checkpoint(folder)
    if saved:
        tensors, record = saved
        load_full_state(learner, tensors)
    else:
        tensors, record = finite_state(learner, 0), {"step": 0, "seconds": 0.0, "log": []}
        record["changed"] = {"retried": None, "micro_batch": learner.batch}
    changed = record["changed"]
    if changed["retried"] is not None:
        halve_rate(learner)
    every = min(max(learner.steps // LOG_POINTS, LOG_STEPS[0]), LOG_STEPS[1])
    numbers: dict[str, float] = {}
    earlier, begun, warning = record["seconds"], time.perf_counter(), ""
    saved_at = begun
    while True:  # once, and again after each failure
        start, micro_batch = record["step"], changed["micro_batch"]
        yield TrainingState(start, learner.steps, numbers, record["seconds"], changed, warning)
        steps = train(learner, data, seed=seed, device=device, start=start, micro_batch=micro_batch)
        try:
            for step, metrics in steps:
                seconds = earlier + time.perf_counter() - begun
                if step == 1 or step % every == 0 or step == learner.steps:
                    numbers = finite_floats(step, metrics)
                    tensors = finite_state(learner, step)
                    record |= {"step": step, "seconds": seconds}
                    record["log"] += [[step, name, value] for name, value in numbers.items()]
                    if time.perf_counter() - saved_at > CHECKPOINT_SECONDS:
                        save_checkpoint(folder, tensors, record)
                        saved_at = time.perf_counter()
                yield TrainingState(step, learner.steps, numbers, seconds, changed)
            break
        except Exception as error:  # `recover` raises what it has no answer to
            warning = recover(learner, changed, error, record["step"])
        load_full_state(learner, tensors)
        save_checkpoint(folder, tensors, record)
    log = pd.DataFrame(record["log"], columns=["step", "metric", "value"])
    write_csv(folder / "history.csv", log)
