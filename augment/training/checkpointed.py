"""The training loop with a log and checkpoints: it goes on where an earlier try was stopped."""

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
from augment.training.serialization import good_state, load_full_state
from augment.training.training_set import TrainingSet

CHECKPOINT_SECONDS = 20.0  # what a kill can cost at most, and the steps to the next log point
LOG_POINTS = 50  # values of each metric kept in history.csv
LOG_STEPS = (5, 100)  # between two, at least and at most; what a loss that is no number can cost


@dataclass(frozen=True)
class TrainingState:
    """Where a training is."""

    step: int
    steps: int
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0  # so far, earlier tries counted in
    changed: dict[str, Any] = field(default_factory=dict)  # by a fault: retried, micro_batch
    warning: str = ""


def train_with_checkpoints(
    learner: Learner, data: TrainingSet, *, seed: int, device: torch.device, folder: Path
) -> Iterator[TrainingState]:
    """Train to the end and write history.csv; yields the state at the start and after each step.

    A log point whose numbers are all finite is what recovery goes back to. Checkpoints are taken
    there alone, so that a training that was stopped goes back to the same one.
    """
    saved = load_checkpoint(folder)
    if saved:
        good, about = saved
        load_full_state(learner, good)
    else:
        good, about = good_state(learner, 0), {"step": 0, "seconds": 0.0, "log": []}
        about["changed"] = {"retried": None, "micro_batch": learner.batch}
    changed = about["changed"]
    if changed["retried"] is not None:
        halve_rate(learner)
    every = min(max(learner.steps // LOG_POINTS, LOG_STEPS[0]), LOG_STEPS[1])
    numbers: dict[str, float] = {}
    spent, begun, warning = about["seconds"], time.perf_counter(), ""
    last = begun
    while True:
        start, micro_batch = about["step"], changed["micro_batch"]
        yield TrainingState(start, learner.steps, numbers, about["seconds"], changed, warning)
        steps = train(learner, data, seed=seed, device=device, start=start, micro_batch=micro_batch)
        try:
            for step, metrics in steps:
                seconds = spent + time.perf_counter() - begun
                if step == 1 or step % every == 0 or step == learner.steps:
                    numbers = finite_floats(step, metrics)
                    good = good_state(learner, step)
                    about |= {"step": step, "seconds": seconds}
                    about["log"] += [[step, name, value] for name, value in numbers.items()]
                    if time.perf_counter() - last > CHECKPOINT_SECONDS:
                        save_checkpoint(folder, good, about)
                        last = time.perf_counter()
                yield TrainingState(step, learner.steps, numbers, seconds, changed)
            break
        except Exception as error:
            warning = recover(learner, changed, error, about["step"])
        load_full_state(learner, good)
        save_checkpoint(folder, good, about)
    log = pd.DataFrame(about["log"], columns=["step", "metric", "value"])
    write_csv(folder / "history.csv", log)
