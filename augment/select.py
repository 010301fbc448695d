"""`--select`: how synthetic images are used is chosen inside the labelled images, 0 of them too.

Cross-validation on the labelled images of one trial: the generator of a fold sees the other folds
alone, so that the validation images are as new to it as test images are. Test images are not even
passed in here.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Generator
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from augment.arms import ARMS, generator_set
from augment.cells import Cell
from augment.classifiers import CLASSIFIERS
from augment.data.datasets import Dataset
from augment.data.images import LabelledImages, pixel_hashes
from augment.data.subset import folds, linked
from augment.errors import UsageError
from augment.generators import GENERATORS
from augment.judge import baseline
from augment.metrics.classification import scores
from augment.runtime import seed_for
from augment.stages import Bench, Progress, resolve_precision
from augment.store import signature, write_atomic

CHOSEN = ("ratio", "share", "mixing", "guidance", "strength", "filter")
TEMPERATURES = torch.logspace(-2, 2, 33, base=2.0)  # ¼ … 4

Run = Callable[[Cell, Dataset, Tensor, Bench], Generator[Progress, None, Any]]
Choice = tuple[Cell, dict[str, Any]]  # the cell to run, what its row says of the choice


def choose(
    cell: Cell, data: Dataset, places: Tensor, bench: Bench, run: Run
) -> Generator[Progress, None, Choice]:
    """The candidate to use in a trial; its baseline, a share of 0, unless one is surely better.

    `run` carries out a cell on a data set and returns its artefacts. Better is a lower log loss on
    the validation images at each one's own best temperature, surer than accuracy for so few; by
    more than one standard error of the paired difference, since each further candidate adds luck.
    Raises UsageError if a class has too few images or groups to leave some out.
    """
    labelled = data.pool.select(places)
    none = dataclasses.replace(baseline(cell), arm=str(ARMS[cell.arm].against))
    among = (none, *cell.candidates)
    precision = yield from precision_of(among, labelled, data.classic, bench)
    record = {
        "among": repr(among),
        "folds": cell.folds,
        "labelled": labelled.sha,
        "precision": precision,
        "classic": data.classic,
    }
    sig = signature(record)
    path = bench.store.path("selection", sig)
    with bench.store.making("selection", sig) as folder:
        if folder is not None:
            chances = yield from validated(cell, among, data, labelled, places, bench, run)
            table = judged_by_validation(among, chances, labelled.labels.cpu())
            about = {
                "dataset": cell.dataset,
                "asked": cell.amount,
                "seed": cell.seed,
                "generator": cell.generator,
                "arm": cell.arm,
                "candidates": table,
            }
            write_atomic(folder / "about.json", json.dumps(about, indent=1))
    table = json.loads((path / "about.json").read_text())["candidates"]
    best = next(n for n, line in enumerate(table) if line["chosen"])
    said = {
        "validation_accuracy": table[best]["accuracy"],
        "validation_baseline": table[0]["accuracy"],
    }
    return among[best], said | ({} if best else {"share": 0.0})


def precision_of(
    among: tuple[Cell, ...], labelled: LabelledImages, classic: str, bench: Bench
) -> Generator[Progress, None, str]:
    """The precision of all learners of some cells; of each by name where they differ."""
    found: dict[str, str] = {}
    for cell in among:
        classifier = CLASSIFIERS[cell.classifier](**cell.classifier_settings)
        at = ("score", cell.name)
        found[cell.classifier] = yield from resolve_precision(classifier, labelled, at, bench)
        if cell.generator:
            policy = classic if cell.classic == "auto" else cell.classic
            generator = GENERATORS[cell.entry](**cell.generator_settings)
            data = generator_set(labelled, policy, generator.transformed).parts[0]
            at = ("generator", cell.name)
            found[cell.generator] = yield from resolve_precision(generator, data, at, bench)
    kinds = set(found.values())
    return kinds.pop() if len(kinds) == 1 else json.dumps(found, sort_keys=True)


def validated(
    cell: Cell,
    among: tuple[Cell, ...],
    data: Dataset,
    labelled: LabelledImages,
    places: Tensor,
    bench: Bench,
    run: Run,
) -> Generator[Progress, None, Tensor]:
    """[M, N, K]: class probabilities of each labelled image by candidates that did not see it."""
    groups = [data.pool_groups[i] for i in places.tolist()] if data.pool_groups else None
    units = linked(groups, pixel_hashes(labelled.images.cpu()))
    fold_of = torch.tensor(
        folds(labelled.labels.tolist(), units, cell.folds, seed_for(cell.seed, "select"))
    )
    chances = torch.zeros(len(among), len(labelled), len(labelled.classes))
    silent = dataclasses.replace(bench, first_seed=-1)  # no pictures of these generators
    for fold in fold_of.unique().tolist():
        held = fold_of == fold
        for name, count in zip(labelled.classes, labelled.select(~held).counts(), strict=True):
            if not count:
                raise UsageError(
                    f"--select: class '{name}' has images of one fold alone (equal pictures and "
                    "groups stay together): label more of it, or leave --select out"
                )
        part = dataclasses.replace(
            data,
            pool=labelled,
            test=labelled.select(held),
            pool_files=[],
            test_files=[],
            pool_groups=groups or [],
        )
        for number, candidate in enumerate(among):
            where = f"fold {fold + 1} of {cell.folds}, candidate {number + 1} of {len(among)}"
            steps = run(candidate, part, (~held).nonzero().flatten(), silent)
            made = yield from renamed(steps, f"{cell.name}, {where}")
            predicted = load_file(made.score / "predictions.safetensors")
            chances[number, held] = predicted["probability"].float()
    return chances


def renamed(steps: Generator[Progress, None, Any], name: str) -> Generator[Progress, None, Any]:
    """The same steps under another name than their cell's."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        yield dataclasses.replace(step, cell=name)


def judged_by_validation(
    among: tuple[Cell, ...], chances: Tensor, labels: Tensor
) -> list[dict[str, Any]]:
    """A line a candidate: its settings, validation scores and loss, gain over none, chosen."""
    losses = torch.stack([calibrated_losses(own, labels) for own in chances])  # [M, N]
    gains = losses[0] - losses
    errors = gains.std(1) / len(labels) ** 0.5
    sure = gains.mean(1) > errors
    best = int(losses.mean(1).where(sure, losses[0].mean()).argmin())  # the first of equals
    said = [scores(labels.numpy(), own.argmax(1).numpy()) for own in chances]
    return [
        {
            **{k: getattr(cell, k) for k in CHOSEN},
            "share": cell.share or 0.0,
            **said[n],
            "loss": float(losses[n].mean()),
            "gain": float(gains[n].mean()),
            "standard_error": float(errors[n]),
            "n": len(labels),
            "chosen": n == best,
        }
        for n, cell in enumerate(among)
    ]


def calibrated_losses(chances: Tensor, labels: Tensor) -> Tensor:
    """[N] log losses at the temperature that makes their mean least (Guo et al. 2017).

    So that a candidate does not win by being less, or more, sure of the same answers.
    """
    logits = chances.clamp(min=1e-6).log()
    losses = torch.stack(
        [F.cross_entropy(logits / t, labels, reduction="none") for t in TEMPERATURES]
    )
    return losses[losses.mean(1).argmin()]
