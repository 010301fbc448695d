"""Assess a synthetic set before training on it, with the trial's real+classic classifier."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.classifiers import CLASSIFIERS
from augment.data.copies.aligned import misleading_pixels
from augment.data.grids import save_png
from augment.data.images import ImageShape, LabelledImages
from augment.experiment.context import Stage, Trial
from augment.experiment.evidence import closest_pairs, write_evidence
from augment.experiment.progress import Progress
from augment.experiment.real_images import RealImages, labelled_images, reference, unlabelled_images
from augment.experiment.records import (
    JUDGE_FEATURES,
    QualityRecord,
    QualityResult,
    SyntheticResult,
    artifact,
)
from augment.experiment.sampling import load_synthetic
from augment.experiment.stages import plan_classifier, train_classifier
from augment.experiment.unseen import (
    Judge,
    all_unseen,
    copied_by_chance,
    copied_by_chance_in_features,
    judges,
    kappas,
    trust_in,
)
from augment.generators import GENERATORS, latents_of
from augment.metrics.copies import feature_copies
from augment.metrics.rates import Rate, rate_at_mix, rate_by_class, rate_of
from augment.metrics.synthetic import (
    agreement_fault,
    averaged,
    closer_to_train,
    copies_fault,
    coverage_faults,
    measures,
    random_features,
)
from augment.runtime.units import duration
from augment.training.serialization import load_learner

ADVICE = "more steps, a filter, a lower --share or --select can lessen the harm"


@dataclass(frozen=True)
class Opinion:
    """What the trial's classifier, which learnt all labelled images, makes of a synthetic set."""

    classifier: Any
    hits: Tensor  # [N] bool: images that it assigns to the class wanted


def assess(trial: Trial, synthetic: Path) -> Stage:
    """Measure a synthetic set with the trial's real+classic classifier, before training.

    `synthetic` is the set's artefact. It is compared with real images that the judge has not
    learnt: the unlabelled rest of the pool; where that is too small, the labelled images, each half
    of which is judged by a classifier of the other half. No measure uses test images.
    """
    judge, context = trial.baseline, trial.context
    plan = yield from plan_classifier(judge, None)
    # signed by its score, like the row of the judge's arm: signatures of 0.3.0 stay valid
    score = plan.record.scored_on(trial.data.test.sha)
    record = QualityRecord(
        synthetic=synthetic.name,
        judge=score.signature,
        data=trial.data.sha,
        edition=_edition(trial.labelled.shape),
    )

    def build(folder: Path) -> Iterator[Progress]:
        classifier = load_learner(CLASSIFIERS, (yield from train_classifier(plan)), context.device)
        others = unlabelled_images(trial)
        real = reference(trial, others)
        found = yield from judges(trial, classifier, real)
        halves = found
        if not real.labelled:  # a use of synthetic images may go by labelled images alone
            halves = yield from judges(trial, classifier, labelled_images(trial))
        yield Progress("quality", trial.cell.name, 0, 1)
        sampled = SyntheticResult.read(synthetic)
        images = load_synthetic(synthetic, trial.labelled.classes)
        probabilities = write_evidence(folder, trial.labelled, images, classifier)
        save_png(closest_pairs(synthetic, images, trial.labelled), folder / "closest.png")
        own = Opinion(classifier, probabilities.argmax(1) == images.labels)
        result = measure(trial, images, sampled, own, found)
        kappa, floor = kappas(halves, classifier, images)
        near = closer_to_train(images.images, trial.labelled, others.images)
        confirmed = dict(kappa=kappa, kappa_floor=floor, trust=trust_in(kappa, floor))
        result = dataclasses.replace(result, closer_to_train=near, **confirmed)
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


def _edition(shape: ImageShape) -> int:
    """Return the edition of the measures of images [C, H, W], see `QualityRecord`.

    Of images above 32 pixels a side copies were searched under shifts since 3; 4 and 5 have kappa.
    """
    return 5 if misleading_pixels(shape) else 4


def measure(
    trial: Trial,
    synthetic: LabelledImages,
    sampled: SyntheticResult,
    own: Opinion,
    found: list[Judge],
) -> QualityResult:
    """Compare a synthetic set with real images that the judges have not learnt, if there are any.

    Without judges the trial's own classifier says how many agree, and there is no floor.
    """
    labels, counts = synthetic.labels, synthetic.counts().double()
    hits = [
        own.hits if judge.classifier is own.classifier else _hits(judge.classifier, synthetic)
        for judge in found
    ]
    right = torch.stack(hits or [own.hits]).float().mean(0)  # [N], the mean of the judges
    in_features = feature_copies(synthetic.images, trial.labelled.images, own.classifier.embed)
    agreement, floor, copy_floor, feature_floor, spaces = rate_of(right), None, None, None, {}
    through = _agreement_through(trial, sampled, found, counts)
    if found:
        real = all_unseen(found)
        real_hits = torch.cat([_hits(judge.classifier, judge.unseen.images) for judge in found])
        floor = rate_at_mix(real_hits, real.images.labels.cpu(), counts)
        copy_floor = copied_by_chance(trial, real, counts)
        feature_floor = copied_by_chance_in_features(found, counts)
        spaces = _spaces(trial, synthetic, found, real)
    copies = Rate(sampled.copy_rate, sampled.n)
    faults = [agreement_fault(agreement, floor), *coverage_faults(spaces)]
    warning = _with_training("; ".join(filter(None, faults)), sampled)
    copying = copies_fault(copies, copy_floor)
    if copying:
        copying += "; --filter new leaves these out"
    return QualityResult(
        against=_against(found),
        agreement=agreement.value,
        agreement_by_class=rate_by_class(right, labels, len(synthetic.classes)),
        agreement_floor=floor and floor.value,
        copy_rate=copies.value,
        copy_rate_floor=copy_floor and copy_floor.value,
        copy_rate_features=None if in_features is None else rate_of(in_features).value,
        copy_rate_features_floor=feature_floor and feature_floor.value,
        lost=sampled.lost,
        agreement_through=through and through.value,
        closer_to_train=None,
        spaces=spaces,
        warning="; ".join(filter(None, [copying, warning])),
    )


def _against(found: list[Judge]) -> str:
    """Name the real images of the comparison."""
    if not found:
        return "none"
    return "labelled, by halves" if found[0].unseen.labelled else "unlabelled pool"


def _hits(classifier: Any, images: LabelledImages) -> Tensor:
    """Tell which images a classifier assigns to their class: [N] bool."""
    predicted = torch.cat(list(classifier.predict(images.images))).argmax(1)
    return predicted == images.labels.cpu()


def _agreement_through(
    trial: Trial, sampled: SyntheticResult, found: list[Judge], mix: Tensor
) -> Rate | None:
    """Compute how many real images passed through the autoencoder are taken for their class.

    At the class mix [K] of others, as the floor: the most that samples in such latents can reach.
    None without an autoencoder or judges.
    """
    if sampled.lost is None or not found:
        return None
    context = trial.context
    generator = load_learner(
        GENERATORS, context.store.path("generator", sampled.model), context.device
    )
    latents = latents_of(generator)
    assert latents
    passed = [latents.passed_through(judge.unseen.images) for judge in found]
    hits = [_hits(judge.classifier, real) for judge, real in zip(found, passed, strict=True)]
    return rate_at_mix(torch.cat(hits), torch.cat([real.labels.cpu() for real in passed]), mix)


def _spaces(
    trial: Trial, synthetic: LabelledImages, found: list[Judge], real: RealImages
) -> dict[str, dict[str, float]]:
    """Measure fidelity in the judges' features, their mean, and in those of a random network."""
    fixed = random_features(trial.labelled.shape[0], trial.context.device)
    by_judge = [
        measures(synthetic, judge.unseen.images, judge.classifier.embed, judge.unseen.units)
        for judge in found
    ]
    spaces = {
        JUDGE_FEATURES: averaged(by_judge),
        "random network": measures(synthetic, real.images, fixed, real.units),
    }
    return {name: space for name, space in spaces.items() if space}


def _with_training(sentence: str, sampled: SyntheticResult) -> str:
    """Add the length of training to a warning; no times, since tables hold it."""
    if not sentence or not sampled.images_seen:  # a control is not trained
        return sentence
    return (
        f"{sentence}; {sampled.generator} saw {sampled.images_seen:,} images in its training, "
        f"repeats counted: {ADVICE}"
    )


def _with_cost(sentence: str, sampled: SyntheticResult) -> str:
    """Add to a warning on the terminal how long ten times the training would take here."""
    seconds = sampled.generator_seconds
    if not sentence.endswith(ADVICE) or not seconds:  # more steps are no cure for copies
        return sentence
    return f"{sentence}; ten times the steps would take about {duration(10 * seconds)}"
