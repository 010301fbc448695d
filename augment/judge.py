"""The stage between drawing and learning: the trial's own classifier looks at the synthetic set."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from augment.arms import ARMS, DECISIVE, training_set
from augment.cells import Cell
from augment.classifiers import CLASSIFIERS
from augment.data.datasets import Dataset
from augment.data.images import LabelledImages
from augment.filters import Evidence
from augment.metrics.copies import feature_copies
from augment.metrics.synthetic import (
    MOST,
    agreement,
    closer_to_train,
    measures,
    random_features,
    warning,
)
from augment.report.pictures import class_grid, save_picture
from augment.stages import SYNTHETIC, Bench, Progress, train_and_score
from augment.state import load_learner
from augment.status import duration
from augment.store import signature, write_atomic

CLOSEST = 16  # pairs on the sheet
BEST = 32  # pictures on the sheet of the best


def baseline(cell: Cell) -> Cell:
    """The cell of the same trial that the decisive arm is measured against."""
    return dataclasses.replace(
        cell,
        arm=str(ARMS[DECISIVE].against),
        generator=None,
        generator_settings={},
        ratio=None,
        share=None,
        mixing=None,
        guidance=None,
        strength=None,
        filter=None,
        balanced=False,
        candidates=(),
        folds=0,
        weights=None,
    )


def judged(
    cell: Cell,
    synthetic: LabelledImages,
    origin: Path,
    labelled: LabelledImages,
    places: torch.Tensor,
    data: Dataset,
    policy: str,
    bench: Bench,
) -> Generator[Progress, None, Path]:
    """Measure a synthetic set with the trial's real+classic classifier, before it is learnt from.

    Real images to compare with are the pool's that are not labelled; without such the labelled ones
    stand in, which flatters a generator that repeats them. No measure looks at test images.
    """
    twin = baseline(cell)
    learnt = training_set(twin.arm, labelled, None, policy, 0.0)
    score = yield from train_and_score(twin, learnt, labelled, data.test, None, None, bench)
    sig = signature({"synthetic": origin.name, "judge": score.name, "data": data.sha})
    path = bench.store.path("quality", sig)
    with bench.store.making("quality", sig) as folder:
        if folder is None:
            return path
        yield Progress("quality", cell.name, 0, 1)
        classifier = load_learner(CLASSIFIERS, score, bench.device)
        unseen = torch.ones(len(data.pool), dtype=torch.bool)
        unseen[places] = False
        others = data.pool.select(unseen)
        enough = len(others) >= 2 * len(data.pool.classes)
        rng = torch.Generator().manual_seed(0)
        real = others if enough else labelled
        real = real.select(torch.randperm(len(real), generator=rng)[: 2 * MOST])
        chances = torch.cat(list(classifier.predict(synthetic.images)))
        real_chances = torch.cat(list(classifier.predict(real.images)))
        k = len(labelled.classes)
        whole, by_class = agreement(chances, synthetic.labels, k)
        fixed = random_features(labelled.shape[0], bench.device)
        spaces = {"real+classic classifier": classifier.embed, "random network": fixed}
        apart = to_own_class(fixed, synthetic, labelled)
        save_file({"chances": chances.half(), "distance": apart}, folder / "evidence.safetensors")
        drawn = json.loads((origin / "about.json").read_text())
        about: dict[str, Any] = {
            "against": "unlabelled pool" if enough else "labelled",
            "agreement": whole,
            "agreement_by_class": by_class,
            "agreement_floor": agreement(real_chances, real.labels, k)[0],
            "copy_rate": drawn["copy_rate"],
            "copy_rate_features": feature_copies(
                synthetic.images, labelled.images, classifier.embed
            ),
            "closer_to_train": closer_to_train(synthetic.images, labelled, others),
            "spaces": measures(synthetic, real, spaces),
        }
        about["warning"] = with_training(warning(about), drawn)
        save_picture(closest_pairs(origin, synthetic, labelled), folder / "closest.png")
        save_picture(class_grid(best_of(synthetic, chances), 8), folder / "best.png")
        write_atomic(folder / "about.json", json.dumps(about, indent=1))
    yield Progress(
        "quality",
        cell.name,
        1,
        1,
        {"agreement": about["agreement"]},
        warning=with_cost(about["warning"], drawn),
    )
    return path


def with_training(said: str, drawn: dict[str, Any]) -> str:
    """A warning, and how many images its generator was trained on; no times: it is in tables."""
    if not said or not drawn["generator_seconds"]:  # a control: more steps cannot better it
        return said
    return (
        f"{said}; {drawn['generator']} saw {drawn['images_seen']:,} images in its training, "
        "repeats counted: more steps, a filter, a lower --share or --select can lessen the harm"
    )


def with_cost(said: str, drawn: dict[str, Any]) -> str:
    """The same for who watches the run: with what ten times the training would take here."""
    seconds = drawn["generator_seconds"]
    if not said or not seconds:
        return said
    return f"{said}; ten times the steps would take about {duration(10 * seconds)}"


def to_own_class(embed: Any, synthetic: LabelledImages, labelled: LabelledImages) -> torch.Tensor:
    """Distance of each synthetic image to the nearest labelled one of its class: [N]."""
    known, apart = embed(labelled.images), torch.empty(len(synthetic))
    for label in synthetic.labels.unique():
        near = known[labelled.labels.cpu() == label]
        for own in (synthetic.labels == label).nonzero().flatten().split(512):
            apart[own] = torch.cdist(embed(synthetic.images[own]), near).amin(1)
    return apart


def evidence(quality: Path, origin: Path) -> Evidence:
    """What was seen of each image of a synthetic set."""
    seen = load_file(quality / "evidence.safetensors")
    drawn = load_file(origin / SYNTHETIC)
    return Evidence(drawn["labels"], seen["chances"].float(), seen["distance"], drawn["copied"])


def best_of(synthetic: LabelledImages, chances: torch.Tensor) -> torch.Tensor:
    """The images that the classifier is surest of being what was wanted, as many of each class."""
    wanted = chances.gather(1, synthetic.labels[:, None]).squeeze(1)
    rank = torch.empty_like(synthetic.labels)
    for label in synthetic.labels.unique():
        own = (synthetic.labels == label).nonzero().flatten()
        rank[own[wanted[own].argsort(descending=True, stable=True)]] = torch.arange(len(own))
    chosen = rank.argsort(stable=True)[:BEST]
    return synthetic.images[chosen[synthetic.labels[chosen].argsort(stable=True)]]


def closest_pairs(
    origin: Path, synthetic: LabelledImages, labelled: LabelledImages
) -> torch.Tensor:
    """The synthetic images most like a labelled one, each above that labelled one."""
    drawn = load_file(origin / SYNTHETIC)
    shown = drawn["d1_d2"].nan_to_num(1.0).argsort()[:CLOSEST]
    half = -(-len(shown) // 2)
    rows = []
    for part in shown.split(half):
        pairs = (synthetic.images[part], labelled.images.cpu()[drawn["nearest"][part]])
        blank = pairs[0].new_full((half - len(part), *pairs[0].shape[1:]), 255)
        rows += [torch.cat([images, blank]) for images in pairs]
    return class_grid(torch.cat(rows), half)
