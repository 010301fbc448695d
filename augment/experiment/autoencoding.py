"""What the autoencoder of a generator loses of real images, told before anything is learnt."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from augment.experiment.context import Trial
from augment.experiment.progress import Progress
from augment.experiment.real_images import reference, unlabelled_images
from augment.generators import latents_of
from augment.generators.autoencoder import lost_by

_WORDS = ((0.02, "hardly anything"), (0.1, "little"))  # of shares up to these; more is much


def tell_loss(trial: Trial, generator: Any) -> Generator[Progress, None, float | None]:
    """Say what the autoencoder of a prepared generator loses of real images; return that share.

    Of unlabelled images if there are enough, else of labelled ones. None without an autoencoder.
    UsageError if it is too much to draw such images.
    """
    latents = latents_of(generator)
    if latents is None:
        return None
    real = reference(trial, unlabelled_images(trial))
    lost = lost_by(latents, real.images, generator.autoencoder)
    word = next((word for most, word in _WORDS if lost <= most), "much")
    which = "labelled" if real.labelled else "unlabelled"
    note = f"{trial.cell.entry}: its autoencoder loses {lost:.1%} of what varies in {which} images"
    if not trial.cell.fold:  # not again in each fold of a choice
        yield Progress("generator", trial.cell.name, 0, 0, note=f"{note}, which is {word}")
    return lost
