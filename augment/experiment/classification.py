"""Classification as a task: generators learn the labelled images, classifiers their classes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from augment.data.images import LabelledImages
from augment.data.split import Dataset
from augment.data.subset import hide_labels, unlabelled_rest
from augment.experiment.arms import ARMS, training_set
from augment.experiment.cells import Cell
from augment.experiment.context import Pictures, SyntheticSet, Trial
from augment.experiment.folds import Validated
from augment.experiment.mixing import MIXINGS
from augment.experiment.progress import Progress
from augment.metrics.classification import BALANCED, scores
from augment.training.training_set import TrainingSet

_PREDICTIONS = "predictions.safetensors"
_TEMPERATURES = torch.logspace(-2, 2, 33, base=2.0)  # ¼ … 4


def as_they_are(trial: Trial) -> Trial:
    """Return the trial: its labelled images are what generators learn."""
    return trial


def same_cell(cell: Cell) -> Cell:
    """Return the cell."""
    return cell


def no_pictures(
    trial: Trial, synthetic: SyntheticSet | None
) -> Generator[Progress, None, Pictures | None]:
    """Compose nothing: synthetic images are learnt as they are."""
    yield from ()


def classifier_parts(
    trial: Trial, synthetic: SyntheticSet | None, pictures: Pictures | None
) -> TrainingSet:
    """Build the training set of the cell's classifier from labelled and synthetic images."""
    cell, arm = trial.cell, ARMS[trial.cell.arm]
    unlabelled = unlabelled_rest(trial.data.pool, trial.indices) if arm.unlabelled else None
    images = synthetic.images if synthetic else None
    data = training_set(
        cell.arm, trial.labelled, images, trial.transform, cell.use.share or 0.0, unlabelled
    )
    if cell.use.mixing and synthetic:
        data = MIXINGS[cell.use.mixing](data, synthetic.evidence)
    return data


def timed_parts(trial: Trial) -> TrainingSet:
    """Build a training set whose steps cost as much, without synthetic images."""
    labelled = trial.labelled
    return training_set(trial.cell.arm, labelled, None, trial.transform, 0.0, hide_labels(labelled))


def score_classes(classifier: Any, trial: Trial, folder: Path) -> dict[str, float]:
    """Predict the classes of the test images, write the predictions and return the scores."""
    test = trial.data.test
    probabilities = torch.cat(list(classifier.predict(test.images)))  # [N, K]
    predicted = probabilities.argmax(1)
    save_file(
        {"labels": test.labels.cpu(), "predicted": predicted, "probability": probabilities.half()},
        folder / _PREDICTIONS,
    )
    return scores(test.labels.cpu().numpy(), predicted.numpy())


def scored_images(trial: Trial) -> tuple[int, float]:
    """Return how many images `score_classes` predicts, and the megabytes that it writes."""
    n = len(trial.data.test)
    # half floats of each class, two int64 of label and prediction
    return n, n * (len(trial.labelled.classes) * 2 + 16) / 1e6


def validate_classes(labelled: LabelledImages, parts: Sequence[tuple[Path, Tensor]]) -> Validated:
    """Rank by log loss: `parts` holds the score of each fold and the mask of what it held out."""
    probabilities = torch.zeros(len(labelled), len(labelled.classes))
    for score, held_out in parts:
        probabilities[held_out] = load_file(score / _PREDICTIONS)["probability"].float()
    return validated_classes(probabilities, labelled.labels.cpu())


def validated_classes(probabilities: Tensor, labels: Tensor) -> Validated:
    """Rank by the log loss of predictions [N, K], which is less noisy than accuracy on few images.

    Taken at the best temperature: see `calibrated_losses`.
    """
    losses = calibrated_losses(probabilities, labels)
    found = scores(labels.numpy(), probabilities.argmax(1).numpy())
    return Validated(-losses, found | {"loss": float(losses.mean())})


def calibrated_losses(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Compute log losses at the temperature of the least mean (Guo et al. 2017): [N].

    A candidate must not win by being less, or more, confident in the same answers.
    """
    logits = probabilities.clamp(min=1e-6).log()  # finite where half floats round to 0
    losses = torch.stack(
        [F.cross_entropy(logits / t, labels, reduction="none") for t in _TEMPERATURES]
    )
    return losses[losses.mean(1).argmin()]


def accuracy_measure(data: Dataset) -> str:
    """Name the accuracy that counts: balanced where the classes are very uneven."""
    return BALANCED if data.skewed else "accuracy"
