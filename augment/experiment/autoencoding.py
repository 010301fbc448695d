"""The autoencoder of a generator: one of its own is trained first, and of any the loss is told."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment import __version__
from augment.experiment.context import Trial
from augment.experiment.progress import Progress
from augment.experiment.real_images import reference, unlabelled_images
from augment.experiment.records import ArtifactResult, Record, artifact
from augment.generators import GENERATORS, latents_of, trained_before
from augment.generators.autoencoder import lost_by
from augment.generators.own_autoencoder import OwnAutoencoder
from augment.runtime.seeds import seed_for
from augment.training.checkpoints import TrainingState, train_with_checkpoints
from augment.training.serialization import load_learner, save_learner
from augment.training.training_set import TrainingSet

NAME = "autoencoder"  # of the stage, and of the learner in its artefact
WORDS = ((0.02, "hardly anything"), (0.1, "little"))  # of shares up to these; more is much


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecord(Record):
    """Dependencies of an autoencoder that a generator trains."""

    kind = NAME
    labelled: str
    seed: int
    settings: dict[str, Any]
    transformed: float  # share of its batches, as of those of the generator
    classic: str
    precision: str
    version: str = __version__


@dataclass(frozen=True)
class AutoencoderResult(ArtifactResult):
    """A trained autoencoder."""

    cell: str  # the first trial that needed it
    seconds: float
    precision: str
    device: str
    retried: int | None = None
    micro_batch: int | None = None


def autoencoder_record(trial: Trial, precision: str) -> AutoencoderRecord | None:
    """Name all that the autoencoder of the trial's generator depends on; None if it trains none."""
    generator = GENERATORS[trial.cell.entry](**trial.cell.generator_settings)
    first = trained_before(generator)
    return first and AutoencoderRecord(
        labelled=trial.labelled.sha,
        seed=trial.cell.seed,
        settings=dict(steps=first.steps, batch=first.batch),
        transformed=generator.transformed,
        classic=trial.transform,
        precision=precision,
    )


def train_autoencoder(
    trial: Trial, generator: Any, data: TrainingSet, precision: str
) -> Generator[Progress, None, float]:
    """Train the autoencoder that a generator needs and hand it over; return its seconds.

    It learns the batches of the generator, whose images it will encode. 0 seconds where there is
    none of the generator's own.
    """
    first, record = trained_before(generator), autoencoder_record(trial, precision)
    if first is None or record is None:
        return 0.0
    device = trial.context.device

    def build(folder: Path) -> Iterator[Progress]:
        seed = seed_for(trial.cell.seed, NAME)
        first.prepare(data.parts[0], seed=seed, device=device, precision=precision)
        state = TrainingState(0, first.steps)
        for state in train_with_checkpoints(first, data, seed=seed, device=device, folder=folder):
            yield trial.progress(NAME, state)
        save_learner(first, NAME, data.parts[0], folder, precision)
        AutoencoderResult(
            cell=trial.cell.trial,
            seconds=state.seconds,
            precision=precision,
            device=str(device),
            **state.changed,
        ).write(folder)

    path = yield from artifact(trial.context.store, record, build)
    generator.own = load_learner({NAME: OwnAutoencoder}, path, device).modules["ema"]
    return AutoencoderResult.read(path).seconds


def tell_loss(trial: Trial, generator: Any) -> Generator[Progress, None, float | None]:
    """Say what the autoencoder of a prepared generator loses of real images; return that share.

    Of unlabelled images, if there are enough, which one of the generator's own has not learnt.
    None without an autoencoder. UsageError if it is too much to draw such images.
    """
    latents = latents_of(generator)
    if latents is None:
        return None
    real = reference(trial, unlabelled_images(trial))
    lost = lost_by(latents, real.images, generator.autoencoder)
    word = next((word for most, word in WORDS if lost <= most), "much")
    which = "labelled" if real.labelled else "unlabelled"
    note = f"{trial.cell.entry}: its autoencoder loses {lost:.1%} of what varies in {which} images"
    if not trial.cell.fold:  # not again in each fold of a choice
        yield Progress(NAME, trial.cell.name, 0, 0, note=f"{note}, which is {word}")
    return lost
