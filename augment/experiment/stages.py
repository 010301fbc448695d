"""The stages of a cell, each an artefact: generator, synthetic images, classifier, score."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from augment.classifiers.blocks import network_edition
from augment.data.grids import class_grid, save_png
from augment.experiment.arms import ARMS, generator_set
from augment.experiment.autoencoding import tell_loss
from augment.experiment.cells import Cell
from augment.experiment.context import Pictures, Stage, SyntheticSet, Trial
from augment.experiment.learners import LEARNERS
from augment.experiment.precision import resolve_precision
from augment.experiment.progress import Progress
from augment.experiment.records import (
    ClassifierRecord,
    ClassifierResult,
    GeneratorRecord,
    GeneratorResult,
    ScoreResult,
    artifact,
)
from augment.experiment.tasks import TASKS
from augment.experiment.weights import read_weights, weights_file
from augment.generators import GENERATORS, saw_labelled_alone
from augment.generators.autoencoder import OWN
from augment.generators.blocks import generator_edition
from augment.runtime.device import peak_memory_mb
from augment.runtime.seeds import seed_for
from augment.storage.artifacts import file_sha, folder_sha
from augment.training.checkpoints import TrainingState, train_with_checkpoints
from augment.training.learner import SNAPSHOTS, Learner
from augment.training.serialization import load_learner, save_learner, save_weights
from augment.training.training_set import TrainingSet


@dataclass(frozen=True)
class ClassifierPlan:
    """A classifier that is to be trained."""

    trial: Trial
    synthetic: SyntheticSet | None
    data: TrainingSet
    record: ClassifierRecord
    pictures: Pictures | None = None


def generator_record(trial: Trial, precision: str) -> GeneratorRecord:
    """Name all that the trial's generator depends on."""
    cell, settings = trial.cell, trial.cell.training_settings
    if "folder" in settings:  # signed by content, not by path
        settings["folder"] = folder_sha(Path(settings["folder"]))
    # left out where none is given, so that artefacts of before stay valid
    if folder := settings.pop("autoencoder", ""):
        settings["autoencoder"] = folder if folder == OWN else folder_sha(Path(folder))
    settings.pop("autoencoder_sha", None)
    return GeneratorRecord(
        labelled=trial.labelled.sha,
        seed=cell.seed,
        generator=cell.entry,
        settings=settings,
        classic=trial.transform,
        precision=precision,
        edition=generator_edition(trial.labelled.shape),
    )


def fit_generator(trial: Trial) -> Stage:
    """Train the cell's generator on the labelled images alone."""
    cell, context = trial.cell, trial.context
    learner = GENERATORS[cell.entry](**cell.generator_settings)
    data = generator_set(trial.labelled, trial.transform, learner.transformed)
    precision = yield from resolve_precision(trial, "generator", learner, data.parts[0])

    def build(folder: Path) -> Iterator[Progress]:
        seed = seed_for(cell.seed, "generator", cell.entry)
        begun = time.perf_counter()  # `prepare` may learn something of the images too
        learner.prepare(data.parts[0], seed=seed, device=context.device, precision=precision)
        prepared = time.perf_counter() - begun
        lost = yield from tell_loss(trial, learner)
        grids = grid_steps(learner) if cell.seed == context.first_seed else set()
        snapshots = snapshot_steps(learner)
        state = TrainingState(0, learner.steps)  # of a learner that takes no step
        for state in train_with_checkpoints(
            learner, data, seed=seed, device=context.device, folder=folder
        ):
            if state.step in grids:
                labels, seeds = grid_labels_and_seeds(len(trial.labelled.classes))
                grid = class_grid(learner.sample(labels, seeds=seeds), 8)
                save_png(grid, folder / f"step-{state.step}.png")
            if state.step in snapshots:
                save_weights(learner, folder, snapshots[state.step])
            yield trial.progress("generator", state)
        save_learner(learner, cell.entry, data.parts[0], folder, precision)
        GeneratorResult(
            cell=cell.trial,
            generator=str(cell.generator),
            closed_set=saw_labelled_alone(learner),
            seconds=prepared + state.seconds,
            precision=precision,
            device=str(context.device),
            images_seen=learner.steps * learner.batch,
            classic=trial.transform,
            seed=cell.seed,
            peak_memory_mb=peak_memory_mb(context.device),
            lost=lost,
            **state.changed,
        ).write(folder)

    return (yield from artifact(context.store, generator_record(trial, precision), build))


def grid_steps(learner: Learner) -> set[int]:
    """Name the steps at which a generator in training is sampled, in the first trial."""
    shares = getattr(learner, "grid_shares", SNAPSHOTS)
    # at least step 1 for a share above 0: step 0 is the untrained network
    return {max(share > 0, round(learner.steps * share)) for share in shares}


def snapshot_steps(learner: Learner) -> dict[int, float]:
    """Map each step before the last at which weights are saved to its share of all steps."""
    # without the setting `snapshot` nothing could sample from the earlier weights
    if "snapshot" not in getattr(learner, "sampling", ()):
        return {}
    return {max(1, round(learner.steps * share)): share for share in SNAPSHOTS if share < 1}


def grid_labels_and_seeds(n_classes: int, columns: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Make labels and seeds of a grid: one row per class, at most ten; equal at every step."""
    labels = torch.arange(min(10, n_classes)).repeat_interleave(columns)
    return labels, torch.tensor([seed_for("grid", i) for i in range(len(labels))])


def new_learner(cell: Cell) -> Any:
    """Make the learner that the cell trains and scores, not prepared."""
    of_arm = {"members": ARMS[cell.arm].members} if ARMS[cell.arm].members > 1 else {}
    return LEARNERS[cell.task][cell.classifier](**cell.classifier_settings, **of_arm)


def classifier_set(
    trial: Trial, synthetic: SyntheticSet | None, pictures: Pictures | None = None
) -> TrainingSet:
    """Build the training set of the cell's classifier, or detector."""
    return TASKS[trial.cell.task].training_set(trial, synthetic, pictures)


def classifier_record(
    trial: Trial, data: TrainingSet, synthetic: SyntheticSet | None, precision: str
) -> ClassifierRecord:
    """Name all that the cell's classifier depends on."""
    cell = trial.cell
    return ClassifierRecord(
        labelled=trial.labelled.sha,
        synthetic=synthetic.path.name if synthetic else None,
        seed=cell.seed,
        arm=cell.arm,
        classic=cell.classic,
        classifier=cell.classifier,
        settings=cell.classifier_settings,
        precision=precision,
        transform=data.transforms[0].__name__,
        weights=file_sha(weights_file(cell.weights)) if cell.weights else None,
        parts=[part.sha for part in data.parts],
        with_replacement=data.with_replacement,
        use=cell.use.signed("score"),
        edition=network_edition(trial.labelled.shape),
    )


def plan_classifier(
    trial: Trial, synthetic: SyntheticSet | None, pictures: Pictures | None = None
) -> Generator[Progress, None, ClassifierPlan]:
    """Decide the training set and the precision of the cell's classifier, or detector."""
    data = classifier_set(trial, synthetic, pictures)
    learner = new_learner(trial.cell)
    precision = yield from resolve_precision(trial, "score", learner, trial.labelled)
    record = classifier_record(trial, data, synthetic, precision)
    return ClassifierPlan(trial, synthetic, data, record, pictures)


def train_classifier(plan: ClassifierPlan) -> Stage:
    """Train the cell's classifier on its training set; the test set is not used."""
    trial, data, synthetic, precision = plan.trial, plan.data, plan.synthetic, plan.record.precision
    cell, context = trial.cell, trial.context

    def build(folder: Path) -> Iterator[Progress]:
        seed = seed_for(cell.seed, "classifier")  # the same in every arm of the trial
        learner = new_learner(cell)
        learner.prepare(trial.labelled, seed=seed, device=context.device, precision=precision)
        if cell.weights:
            tensors = read_weights(cell.weights)
            learner.load_backbone(tensors, source=cell.weights, frozen=ARMS[cell.arm].frozen)
        state = TrainingState(0, learner.steps)
        for state in train_with_checkpoints(
            learner, data, seed=seed, device=context.device, folder=folder
        ):
            yield trial.progress("score", state)
        # arms are compared at equal numbers of steps: fewer would be a fault of the loop
        if state.step != learner.steps:
            raise AssertionError(f"{cell.name} took {state.step} steps, not {learner.steps}")
        save_learner(learner, cell.classifier, trial.labelled, folder, precision)
        ClassifierResult(
            cell=cell.record(),
            steps=state.step,
            batch=learner.batch,
            seconds=state.seconds,
            precision=precision,
            device=str(context.device),
            classes=list(trial.labelled.classes),
            peak_memory_mb=peak_memory_mb(context.device),
            **state.changed,
            synthetic=synthetic.path.name if synthetic else None,
            quality=synthetic.quality.name if synthetic else None,
            pictures=plan.pictures.path.name if plan.pictures else None,
        ).write(folder)

    return artifact(context.store, plan.record, build)


def train_and_score(
    trial: Trial, synthetic: SyntheticSet | None, pictures: Pictures | None = None
) -> Stage:
    """Train the arm's classifier; at its last step, and only then, predict the test set."""
    context, task = trial.context, trial.cell.task
    plan = yield from plan_classifier(trial, synthetic, pictures)

    def build(folder: Path) -> Iterator[Progress]:
        trained = yield from train_classifier(plan)
        learner = load_learner(LEARNERS[task], trained, context.device)
        scores = TASKS[task].score(learner, trial, folder)
        training: dict[str, Any] = vars(ClassifierResult.read(trained)).copy()
        memory = max(training["peak_memory_mb"], peak_memory_mb(context.device))
        training |= {"cell": trial.cell.record(), "peak_memory_mb": memory}
        training |= scores
        ScoreResult(**training, classifier=trained.name).write(folder)

    path = yield from artifact(context.store, plan.record.scored_on(trial.data.test.sha), build)
    if ScoreResult.read(path).classifier:  # 0.3.0 kept the weights beside the score
        yield from train_classifier(plan)  # is there; made again if it was damaged
    return path
