"""What each kind of stage takes on this machine: a few steps of it, timed as a run takes them."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from threading import Barrier
from typing import Any

import torch

from augment.data.boxed_images import AnyImages
from augment.errors import MachineError
from augment.experiment.arms import ARMS, generator_set
from augment.experiment.context import Trial
from augment.experiment.stages import new_learner, snapshot_steps
from augment.experiment.tasks import TASKS
from augment.generators import GENERATORS
from augment.generators.blocks import images_per_call
from augment.runtime.device import threads
from augment.runtime.fork_server import process_context, signals_held
from augment.training.bf16_guard import safe_precision
from augment.training.learner import Learner
from augment.training.loop import train
from augment.training.serialization import kept_state
from augment.training.training_set import TrainingSet

STEPS, WARMUP = 6, 2  # timed steps, and untimed ones before them
PATIENCE = 600.0  # seconds that the processes wait for each other at most


@dataclass(frozen=True)
class Cost:
    """What a stage takes: seconds of the clock and of the processor, megabytes on disk.

    On a machine without other work, a process of one thread takes as many of either.
    """

    wall: float
    processor: float
    mb: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.processor + other.processor, self.mb + other.mb)

    def times(self, factor: float) -> Cost:
        """Return the cost of so many."""
        return Cost(self.wall * factor, self.processor * factor, self.mb * factor)


Measure = Callable[[Trial], Cost]


def time_stages(
    kinds: dict[str, tuple[Measure, Trial]], jobs: int, threads_each: int
) -> dict[str, Cost]:
    """Time each kind of stage in as many processes at once as the run will have.

    They slow each other down by the memory that they share, as they will in the run.
    """
    if jobs == 1:
        with threads(threads_each):
            return {name: measure(trial) for name, (measure, trial) in kinds.items()}
    context = process_context(next(iter(kinds.values()))[1].context.device)
    start = context.Barrier(jobs)
    costs = {}
    with ProcessPoolExecutor(jobs, context, _initialise, (threads_each, start)) as pool:
        for name, task in kinds.items():
            with signals_held():
                waiting = [pool.submit(_time_together, *task) for _ in range(jobs)]
            try:
                costs[name] = mean_cost([future.result() for future in waiting])
            except BrokenProcessPool:
                raise MachineError(
                    "a process that timed the stages was killed, which happens where memory is "
                    "short: give --jobs 1 or a smaller --size"
                ) from None
    return costs


def mean_cost(costs: list[Cost]) -> Cost:
    """Average the costs of one stage in several processes."""
    return sum(costs[1:], costs[0]).times(1 / len(costs))


TIMING: dict[str, Any] = {}  # of this process


def _initialise(threads_each: int, start: Barrier) -> None:
    """Set up a process."""
    torch.set_num_threads(threads_each)
    TIMING["start"] = start


def _time_together(measure: Measure, trial: Trial) -> Cost:
    """Time a stage once all processes have come to it."""
    TIMING["start"].wait(PATIENCE)
    return measure(trial)


class Stopwatch:
    """Laps by both clocks."""

    def __init__(self) -> None:
        self.last, self.laps = (time.perf_counter(), time.process_time()), list[Cost]()

    def lap(self) -> Cost:
        """Return the cost since the last lap, or the start."""
        now = time.perf_counter(), time.process_time()
        self.laps.append(Cost(*(b - a for a, b in zip(self.last, now, strict=True))))
        self.last = now
        return self.laps[-1]


def training_cost(learner: Any, data: TrainingSet, device: torch.device) -> Cost:
    """Extrapolate the cost of a whole training from the median of a few steps."""
    if not learner.steps:
        return Cost(0.0, 0.0)
    steps, learner.steps = learner.steps, min(learner.steps, WARMUP + STEPS)
    watch = Stopwatch()
    for _, metrics in train(learner, data, seed=0, device=device):
        float(next(iter(metrics.values())))  # wait for the device
        watch.lap()
    learner.steps = steps
    # the median: a single slow step would distort the mean of so few
    laps = watch.laps[WARMUP:] or watch.laps
    clocks = ([lap.wall for lap in laps], [lap.processor for lap in laps])
    return Cost(*map(statistics.median, clocks)).times(steps)


def prepared_as_in_run(trial: Trial, learner: Any, images: AnyImages) -> Any:
    """Prepare a learner in the precision that it would have in the run."""
    context = trial.context
    safe, _ = safe_precision(learner, images, context.precision, context.device)
    learner.prepare(images, seed=0, device=context.device, precision=safe)
    return learner


def weights_mb(learner: Learner) -> float:
    """Return the size of the saved weights in megabytes."""
    return sum(t.numel() * t.element_size() for t in kept_state(learner).values()) / 1e6


def time_generator(trial: Trial) -> Cost:
    """Time the training of a generator."""
    trial = TASKS[trial.cell.task].objects(trial)
    learner = GENERATORS[trial.cell.entry](**trial.cell.generator_settings)
    data = generator_set(trial.labelled, trial.transform, learner.transformed)
    prepared_as_in_run(trial, learner, data.parts[0])
    files = 1 + len(snapshot_steps(learner))
    return training_cost(learner, data, trial.context.device) + Cost(
        0.0, 0.0, weights_mb(learner) * files
    )


def time_sampling(trial: Trial) -> Cost:
    """Time the sampling of a synthetic set."""
    trial = TASKS[trial.cell.task].objects(trial)
    cell, labelled = trial.cell, trial.labelled
    generator = GENERATORS[cell.entry](**cell.generator_settings)
    learner = prepared_as_in_run(trial, generator, labelled)
    n = round(float(cell.use.ratio or 0) * len(labelled))
    few = min(n, images_per_call(labelled.shape, trial.context.device))  # one network call
    labels, seeds = torch.zeros(few, dtype=torch.int64), torch.arange(few)
    learner.sample(labels[:2], seeds=seeds[:2])  # warm-up
    watch = Stopwatch()
    learner.sample(labels, seeds=seeds)
    return watch.lap().times(n / few) + Cost(0.0, 0.0, n * labelled.images[0].numel() / 1e6)


def time_score(trial: Trial) -> Cost:
    """Time the training of a classifier, or detector, and its prediction of the test set."""
    cell, labelled, n_test = trial.cell, trial.labelled, len(trial.data.test)
    learner = prepared_as_in_run(trial, new_learner(cell), labelled)
    plain = dataclasses.replace(cell, arm=arm_without_images(cell.arm))
    data = TASKS[cell.task].timed_set(trial.of(plain))
    training = training_cost(learner, data, trial.context.device)
    few = labelled.images[:128]
    list(learner.predict(few))  # warm-up
    watch = Stopwatch()
    list(learner.predict(few))
    predicting = watch.lap().times(n_test / len(few))
    # MB: half floats of each class, two int64 of label and prediction
    predictions = n_test * (len(labelled.classes) * 2 + 16) / 1e6
    return training + predicting + Cost(0.0, 0.0, weights_mb(learner) + predictions)


def time_judge(trial: Trial) -> Cost:
    """Time the classifier that checks synthetic images: real+classic on what generators learn."""
    return time_score(TASKS[trial.cell.task].objects(trial).baseline)


def arm_without_images(arm: str) -> str:
    """Return an arm of equal cost without synthetic images: the one it is measured against."""
    return str(ARMS[arm].against) if ARMS[arm].synthetic else arm
