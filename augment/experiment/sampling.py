"""Sample a synthetic set from a trained generator and search it for copies."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from augment.data.copies.aligned import misleading_pixels
from augment.data.grids import class_grid, save_png
from augment.data.images import LabelledImages
from augment.experiment.cells import Cell
from augment.experiment.context import Stage, Trial
from augment.experiment.progress import Progress
from augment.experiment.records import GeneratorResult, SyntheticRecord, SyntheticResult, artifact
from augment.generators import GENERATORS
from augment.generators.controls import Duplicate
from augment.metrics.copies import copy_finder
from augment.runtime.seeds import seed_for
from augment.storage.tensor_file import TensorFile
from augment.training.serialization import load_learner

SYNTHETIC_FILE = "synthetic.safetensors"
SAMPLES_AT_ONCE = 512  # between two progress reports; whole network calls, as in `images_per_call`


def synthesise(trial: Trial, model: Path) -> Stage:
    """Sample `ratio` synthetic images for each labelled one, with the same share of classes.

    `model` is the generator's artefact.
    """
    cell, context, labelled = trial.cell, trial.context, trial.labelled
    sampling = cell.sampling_settings

    def build(folder: Path) -> Iterator[Progress]:
        generator = load_learner(GENERATORS, model, context.device, **sampling)
        labels, seeds = labels_and_seeds(cell, labelled)
        seconds = yield from sample_into(folder / SYNTHETIC_FILE, generator, labels, seeds, trial)
        tensors = load_file(folder / SYNTHETIC_FILE)
        training: dict[str, Any] = vars(GeneratorResult.read(model)).copy()
        training["images_seen"] = round(training["images_seen"] * sampling.get("snapshot", 1.0))
        training["generator"] = cell.generator
        SyntheticResult(
            generator_seconds=training.pop("seconds"),
            generator_memory_mb=training.pop("peak_memory_mb"),
            **training,
            sample_seconds=seconds,
            n=len(labels),
            copy_rate=float(tensors["copied"].float().mean()),
            ratio=cell.use.ratio,
            settings=sampling,
            model=model.name,
        ).write(folder)
        save_png(grid_by_class(tensors["images"], labels), folder / "grid.png")
        real = grid_by_class(labelled.images.cpu(), labelled.labels.cpu())
        save_png(real, folder / "real.png")

    aligned = misleading_pixels(labelled.shape)
    record = synthetic_record(cell, model.name, aligned=aligned)
    return artifact(context.store, record, build)


def synthetic_record(cell: Cell, model: str, *, aligned: bool = False) -> SyntheticRecord:
    """Name all that the cell's synthetic set depends on; `model` is the generator's signature.

    `aligned` tells how copies are searched, as `misleading_pixels` does.
    """
    settings = cell.sampling_settings
    if aligned:
        settings["copies"] = "aligned"  # 0.3.0 searched them by pixels at every size
    if takes_places(cell):
        settings["seeds"] = "places"  # 0.3.0 drew the images at random
    return SyntheticRecord(generator=model, settings=settings, use=cell.use.signed("synthetic"))


def takes_places(cell: Cell) -> bool:
    """Tell whether the cell's seeds are places in a class of labelled images, evenly spread."""
    return GENERATORS[cell.entry] is Duplicate


def sample_into(
    path: Path, generator: Any, labels: Tensor, seeds: Tensor, trial: Trial
) -> Generator[Progress, None, float]:
    """Write one image per label and seed to a file; return the seconds of sampling alone.

    At most SAMPLES_AT_ONCE images are in memory.
    """
    labelled_images = trial.labelled.images.cpu()  # [M, C, H, W] uint8
    find = copy_finder(labelled_images, mirrored=mirrored(trial))
    n, seconds = len(labels), 0.0
    shapes = {
        "labels": ("I64", (n,)),
        "seeds": ("I64", (n,)),
        "nearest": ("I64", (n,)),  # index of the nearest labelled image
        "d1_d2": ("F32", (n,)),  # distance to the nearest, over that to the second nearest
        "images": ("U8", (n, *labelled_images.shape[1:])),
        "copied": ("BOOL", (n,)),
    }
    with contextlib.closing(TensorFile(path, shapes)) as file:
        for start in range(0, n, SAMPLES_AT_ONCE):
            yield Progress("synthetic", trial.cell.name, start, n)
            part = slice(start, start + SAMPLES_AT_ONCE)
            start_time = time.perf_counter()
            # copies are searched outside this timing: sample_seconds is the generator's cost
            images = generator.sample(labels[part], seeds=seeds[part])
            seconds += time.perf_counter() - start_time
            copied, ratio, nearest = find(images)
            file.append("labels", labels[part])
            file.append("seeds", seeds[part])
            file.append("nearest", nearest)
            file.append("d1_d2", ratio)
            file.append("images", images)
            file.append("copied", copied)
    return seconds


def mirrored(trial: Trial) -> bool:
    """Tell whether a mirrored image is a copy too: where the classic transform mirrors."""
    return trial.transform in ("natural", "any-orientation")


def labels_and_seeds(cell: Cell, labelled: LabelledImages) -> tuple[Tensor, Tensor]:
    """Make labels [N] and seeds [N]: image k of a class has the same seed at every ratio.

    There are `ratio` for each labelled image of a class; if balanced, as many as make all classes
    equal in size.
    """
    labels, seeds = [], []
    counts, ratio = labelled.counts().tolist(), float(cell.use.ratio or 0)
    even = (1 + ratio) * sum(counts) / len(counts)  # real and synthetic images of each class
    for label, count in enumerate(counts):
        wanted = even - count if cell.use.balanced else ratio * count
        n = max(1, round(wanted))  # at least one, so that no class is missing
        for k in range(n):
            labels.append(label)
            place = k * count // n
            seed = place if takes_places(cell) else seed_for(cell.seed, "synthetic", label, k)
            seeds.append(seed)
    return torch.tensor(labels), torch.tensor(seeds)


def grid_by_class(images: Tensor, labels: Tensor, columns: int = 12) -> Tensor:
    """Make a grid of the first images of the first ten classes, one row per class."""
    rows = []
    for label in labels.unique()[:10]:
        first = images[labels == label][:columns]
        # white images fill up the row of a class that has fewer
        blank = first.new_full((columns - len(first), *first.shape[1:]), 255)
        rows.append(torch.cat([first, blank]))
    return class_grid(torch.cat(rows), columns)


def load_synthetic(folder: Path, classes: tuple[str, ...]) -> LabelledImages:
    """Load the images of a synthetic artefact, memory-mapped."""
    tensors = load_file(folder / SYNTHETIC_FILE)
    return LabelledImages(tensors["images"], tensors["labels"], classes)
