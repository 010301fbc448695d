"""Assess a synthetic set before training on it, with the trial's real+classic classifier."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from augment.classifiers import CLASSIFIERS
from augment.data.grids import class_grid, save_png
from augment.data.images import LabelledImages
from augment.experiment.context import Stage, SyntheticSet, Trial
from augment.experiment.filters import Evidence, filter_mask
from augment.experiment.progress import Progress
from augment.experiment.records import QualityRecord, QualityResult, SyntheticResult, artifact
from augment.experiment.sampling import SYNTHETIC_FILE, load_synthetic
from augment.experiment.stages import plan_classifier, train_classifier
from augment.metrics.copies import feature_copy_rate
from augment.metrics.synthetic import (
    MAX_IMAGES,
    closer_to_train,
    label_agreement,
    measures,
    quality_warning,
    random_features,
)
from augment.runtime.units import duration
from augment.training.serialization import load_learner

PAIRS_SHOWN = 16  # in closest.png
BEST_SHOWN = 32  # in best.png
EVIDENCE_FILE = "evidence.safetensors"


def assess(trial: Trial, synthetic: Path) -> Stage:
    """Measure a synthetic set with the trial's real+classic classifier, before training.

    `synthetic` is the set's artefact. The reference is the unlabelled rest of the pool; where that
    is too small, the labelled images, which flatters a generator that repeats them. No measure
    uses test images.
    """
    judge, context = trial.baseline, trial.context
    plan = yield from plan_classifier(judge, None)
    # signed by its score, like the row of the judge's arm: signatures of 0.3.0 stay valid
    score = plan.record.scored_on(trial.data.test.sha)
    record = QualityRecord(synthetic=synthetic.name, judge=score.signature, data=trial.data.sha)

    def build(folder: Path) -> Iterator[Progress]:
        classifier = load_learner(CLASSIFIERS, (yield from train_classifier(plan)), context.device)
        yield Progress("quality", trial.cell.name, 0, 1)
        sampled = SyntheticResult.read(synthetic)
        result = measure(trial, synthetic, sampled, classifier, folder)
        result.write(folder)
        yield Progress(
            "quality",
            trial.cell.name,
            1,
            1,
            {"agreement": result.agreement},
            warning=_with_cost(result.warning, sampled),
        )

    return (yield from artifact(context.store, record, build))


def measure(
    trial: Trial, path: Path, sampled: SyntheticResult, classifier: Any, folder: Path
) -> QualityResult:
    """Compare a synthetic set with real images; write evidence and image grids to `folder`."""
    labelled, classes = trial.labelled, trial.labelled.classes
    synthetic = load_synthetic(path, classes)
    others = _unlabelled(trial)
    enough = len(others) >= 2 * len(classes)
    real = _some(others if enough else labelled)
    probabilities = torch.cat(list(classifier.predict(synthetic.images)))
    real_probabilities = torch.cat(list(classifier.predict(real.images)))
    whole, by_class = label_agreement(probabilities, synthetic.labels, len(classes))
    fixed = random_features(labelled.shape[0], trial.context.device)
    spaces = {"real+classic classifier": classifier.embed, "random network": fixed}
    evidence = {
        "chances": probabilities.half(),  # [N, K]; this key is on disk in run folders
        "distance": distance_to_own_class(fixed, synthetic, labelled),
    }
    save_file(evidence, folder / EVIDENCE_FILE)
    save_png(closest_pairs(path, synthetic, labelled), folder / "closest.png")
    save_png(class_grid(best_of(synthetic, probabilities), 8), folder / "best.png")
    result = QualityResult(
        against="unlabelled pool" if enough else "labelled",
        agreement=whole,
        agreement_by_class=by_class,
        agreement_floor=label_agreement(real_probabilities, real.labels, len(classes))[0],
        copy_rate=sampled.copy_rate,
        copy_rate_features=feature_copy_rate(synthetic.images, labelled.images, classifier.embed),
        closer_to_train=closer_to_train(synthetic.images, labelled, others),
        spaces=measures(synthetic, real, spaces),
    )
    return dataclasses.replace(
        result, warning=_with_training(quality_warning(vars(result)), sampled)
    )


def _unlabelled(trial: Trial) -> LabelledImages:
    """The images of the pool that are not labelled."""
    unseen = torch.ones(len(trial.data.pool), dtype=torch.bool)
    unseen[trial.indices] = False
    return trial.data.pool.select(unseen)


def _some(images: LabelledImages) -> LabelledImages:
    """At most 2 · MAX_IMAGES of them, in a fixed random order."""
    rng = torch.Generator().manual_seed(0)
    return images.select(torch.randperm(len(images), generator=rng)[: 2 * MAX_IMAGES])


def _with_training(sentence: str, sampled: SyntheticResult) -> str:
    """Add the length of training to a warning; no times, since tables hold it."""
    if not sentence or not sampled.generator_seconds:  # a control is not trained
        return sentence
    return (
        f"{sentence}; {sampled.generator} saw {sampled.images_seen:,} images in its training, "
        "repeats counted: more steps, a filter, a lower --share or --select can lessen the harm"
    )


def _with_cost(sentence: str, sampled: SyntheticResult) -> str:
    """Add to a warning on the terminal how long ten times the training would take here."""
    seconds = sampled.generator_seconds
    if not sentence or not seconds:
        return sentence
    return f"{sentence}; ten times the steps would take about {duration(10 * seconds)}"


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
        probabilities=evidence.probabilities[keep],
        n_sampled=len(images),
    )


def read_evidence(synthetic: Path, quality: Path) -> Evidence:
    """Read the evidence on each image of a synthetic set."""
    evidence = load_file(quality / EVIDENCE_FILE)
    sampled = load_file(synthetic / SYNTHETIC_FILE)
    return Evidence(
        sampled["labels"], evidence["chances"].float(), evidence["distance"], sampled["copied"]
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
