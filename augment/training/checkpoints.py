"""Checkpoints: their files, and the training loop that takes them and goes on from them.

A file is the 32 bytes of its SHA-256, then safetensors. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from augment.errors import AugmentError
from augment.storage.atomic import write_atomic
from augment.storage.tables import write_csv
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


def save_checkpoint(folder: Path, tensors: dict[str, Any], record: dict[str, Any]) -> None:
    """Save the state of an unfinished stage; the older one goes only when this one is durable."""
    from safetensors.torch import save

    # safetensors' metadata holds text only, so the record is one string of JSON
    body = save(tensors, {"about": json.dumps(record)})
    digest = hashlib.sha256(body).digest()
    write_atomic(folder / "checkpoint.safetensors", digest + body)


def load_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Load the state and its record, or None where there is none; AugmentError if damaged."""
    from safetensors.torch import load

    file = folder / "checkpoint.safetensors"
    if not file.is_file():
        return None
    body = file.read_bytes()
    if hashlib.sha256(body[32:]).digest() != body[:32]:
        raise AugmentError(f"{file} is damaged: delete it to train this stage from its start")
    # `load` drops the metadata, so the header is parsed here
    size = int.from_bytes(body[32:40], "little")
    header = json.loads(body[40 : 40 + size])
    return load(body[32:]), json.loads(header["__metadata__"]["about"])
