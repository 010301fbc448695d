"""The training loop with a log and checkpoints."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import torch

from augment.experiment.cells import Cell
from augment.experiment.context import Progress, Steps
from augment.storage.tables import write_csv
from augment.storage.tensors import load_checkpoint, save_checkpoint
from augment.training.learner import Learner
from augment.training.loop import as_numbers, train
from augment.training.recovery import halve_rate, mend
from augment.training.serialization import good_state, load_full_state
from augment.training.training_set import TrainingSet

CHECKPOINT_SECONDS = 20.0  # what a kill can cost at most, and the steps to the next log point


LOG_POINTS = 50  # values of each metric kept in history.csv


LOG_STEPS = (5, 100)  # between two, at least and at most; what a loss that is no number can cost


def trained(
    learner: Learner,
    data: TrainingSet,
    seed: int,
    device: torch.device,
    folder: Path,
    stage: str,
    cell: Cell,
) -> Steps:
    """The loop with a log and checkpoints; goes on where an earlier try was stopped.

    A log point whose numbers are all finite is what `mend` goes back to. Checkpoints are taken
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
        step, seconds, micro = about["step"], about["seconds"], changed["micro_batch"]
        at = (stage, cell.name, step, learner.steps)
        yield Progress(*at, numbers, seconds, changed, warning)
        steps = train(learner, data, seed=seed, device=device, start=step, micro_batch=micro)
        try:
            for step, metrics in steps:
                seconds = spent + time.perf_counter() - begun
                if step == 1 or step % every == 0 or step == learner.steps:
                    numbers = as_numbers(step, metrics)
                    good = good_state(learner, step)
                    about |= {"step": step, "seconds": seconds}
                    about["log"] += [[step, name, value] for name, value in numbers.items()]
                    if time.perf_counter() - last > CHECKPOINT_SECONDS:
                        save_checkpoint(folder, good, about)
                        last = time.perf_counter()
                yield Progress(stage, cell.name, step, learner.steps, numbers, seconds, changed)
            break
        except Exception as error:
            warning = mend(learner, changed, error, about["step"])
        load_full_state(learner, good)
        save_checkpoint(folder, good, about)
    log = pd.DataFrame(about["log"], columns=["step", "metric", "value"])
    write_csv(folder / "history.csv", log)
