"""Evidence on each image of a synthetic set, which filters and mixing schedules go by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from augment.data.grids import class_grid, save_png
from augment.data.images import LabelledImages
from augment.experiment.context import SyntheticSet, Trial
from augment.experiment.filters import Evidence, filter_mask
from augment.experiment.records import QualityResult
from augment.experiment.sampling import SYNTHETIC_FILE, load_synthetic
from augment.metrics.synthetic import random_features

PAIRS_SHOWN = 16  # in closest.png
BEST_SHOWN = 32  # in best.png
EVIDENCE_FILE = "evidence.safetensors"


def write_evidence(
    folder: Path, labelled: LabelledImages, synthetic: LabelledImages, classifier: Any
) -> Tensor:
    """Write what filters and schedules go by, and a sheet of the images most probable.

    Returns the probabilities [N, K] of the classes, by the classifier.
    """
    probabilities = torch.cat(list(classifier.predict(synthetic.images)))
    fixed = random_features(labelled.shape[0], classifier.device)
    evidence = {
        "chances": probabilities.half(),  # [N, K]; this key is on disk in run folders
        "distance": distance_to_own_class(fixed, synthetic, labelled),
    }
    save_file(evidence, folder / EVIDENCE_FILE)
    save_png(class_grid(best_of(synthetic, probabilities), 8), folder / "best.png")
    return probabilities


def distance_to_own_class(
    embed: Any, synthetic: LabelledImages, labelled: LabelledImages
) -> Tensor:
    """Measure how far each synthetic image is from the nearest labelled one of its class: [N]."""
    known, distance = embed(labelled.images), torch.empty(len(synthetic))
    for label in synthetic.labels.unique():
        near = known[labelled.labels.cpu() == label]
        for rows in (synthetic.labels == label).nonzero().flatten().split(512):  # bounds the memory
            distance[rows] = torch.cdist(embed(synthetic.images[rows]), near).amin(1)
    return distance


def synthetic_set(trial: Trial, synthetic: Path, quality: Path) -> SyntheticSet:
    """Load the images of a synthetic set that pass the filter, with the judge's probabilities."""
    images = load_synthetic(synthetic, trial.labelled.classes)
    evidence = read_evidence(synthetic, quality)
    keep = filter_mask(str(trial.cell.use.filter), evidence)
    return SyntheticSet(
        path=synthetic,
        quality=quality,
        images=images if bool(keep.all()) else images.select(keep),
        evidence=evidence.select(keep),
        n_sampled=len(images),
    )


def read_evidence(synthetic: Path, quality: Path) -> Evidence:
    """Read the evidence on each image of a synthetic set."""
    evidence = load_file(quality / EVIDENCE_FILE)
    sampled = load_file(synthetic / SYNTHETIC_FILE)
    trust = QualityResult.read(quality).trust
    assert trust is not None  # the edition of its record tells measures of before apart
    return Evidence(
        labels=sampled["labels"],
        probabilities=evidence["chances"].float(),
        distance=evidence["distance"],
        copied=sampled["copied"],
        trust=trust,
    )


def best_of(synthetic: LabelledImages, probabilities: Tensor) -> Tensor:
    """Select the images most probable in their class, evenly over classes: [n, C, H, W]."""
    wanted = probabilities.gather(1, synthetic.labels[:, None]).squeeze(1)
    rank = torch.empty_like(synthetic.labels)  # [N] within the class, 0 is the most probable
    for label in synthetic.labels.unique():
        members = (synthetic.labels == label).nonzero().flatten()
        order = wanted[members].argsort(descending=True, stable=True)
        rank[members[order]] = torch.arange(len(members))
    # by rank first, so that every class gives equally many; then by class for the rows
    chosen = rank.argsort(stable=True)[:BEST_SHOWN]
    return synthetic.images[chosen[synthetic.labels[chosen].argsort(stable=True)]]


def closest_pairs(path: Path, synthetic: LabelledImages, labelled: LabelledImages) -> Tensor:
    """Make a grid of the synthetic images nearest to a labelled one, each above that one."""
    tensors = load_file(path / SYNTHETIC_FILE)
    closest = tensors["d1_d2"].nan_to_num(1.0).argsort()[:PAIRS_SHOWN]
    columns = -(-len(closest) // 2)
    rows = []
    for part in closest.split(columns):
        pairs = (synthetic.images[part], labelled.images.cpu()[tensors["nearest"][part]])
        blank = pairs[0].new_full((columns - len(part), *pairs[0].shape[1:]), 255)
        rows += [torch.cat([images, blank]) for images in pairs]
    return class_grid(torch.cat(rows), columns)
