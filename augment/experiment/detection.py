"""Detection as a task: generators learn crops of labelled boxes, detectors composed pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from augment.data.box_sheets import box_sheet
from augment.data.boxed_images import NO_BOX, BoxedImages
from augment.data.crops import crop_boxes, crop_side
from augment.data.grids import save_png
from augment.data.images import LabelledImages
from augment.data.split import Dataset
from augment.experiment.arms import ARMS
from augment.experiment.cells import Cell
from augment.experiment.composing import (
    Composition,
    Mix,
    generated_objects,
    in_turn,
    paste,
    vary_in_place,
)
from augment.experiment.context import Pictures, SyntheticSet, Trial
from augment.experiment.mixing import CONFIRMED, MIXINGS
from augment.experiment.progress import Progress
from augment.experiment.recipe import CLASSIFY
from augment.experiment.records import ArtifactResult, Record, artifact
from augment.runtime.seeds import seed_for
from augment.training.training_set import TrainingSet
from augment.transforms.boxed import BOXED
from augment.transforms.geometric import CLASSIC

PICTURES_FILE = "pictures.safetensors"
PASTED_SHARE = 0.5  # of each batch, of arms that paste labelled objects
PASTED_RATIO = 5.0  # pictures composed for each labelled one, of arms that paste labelled objects
MOST_BYTES = 2**30  # of the composed pictures of an arm
_SHOWN = 16  # pictures in a sheet
_TIMED = 8  # labelled pictures that composing is timed on


@dataclass(frozen=True, kw_only=True)
class PicturesRecord(Record):
    """Dependencies of composed pictures."""

    kind = "pictures"
    labelled: str  # SHA-256 of the labelled pictures
    synthetic: str | None  # signature of the generated crops
    filter: str | None
    placing: str | None
    pasted: bool  # whether labelled objects are pasted
    share: float  # of generated objects
    n: int
    seed: int
    edition: int = 1  # raised when pictures are composed otherwise


@dataclass(frozen=True)
class PicturesResult(ArtifactResult):
    """Composed pictures."""

    n: int
    pasted: int  # boxes
    generated: int
    classes: list[str]


def crop_trial(trial: Trial[BoxedImages]) -> Trial:
    """Return the trial of classification whose images are the crops of the pool's boxes.

    Its labelled images are the crops of the labelled pictures; crops of one picture, or of a group
    of pictures, belong together. No test picture is in it.
    """
    data, side = trial.data, crop_side(trial.labelled)
    crops = crop_boxes(data.pool, side)
    groups = data.pool_groups or [""] * len(data.pool)
    own = [groups[k] or f"picture {k}" for k in crops.pictures.tolist()]
    nothing = crops.images.select([])
    objects = Dataset(data.name, crops.images, nothing, data.classic, pool_groups=own)
    indices = torch.isin(crops.pictures, trial.indices).nonzero().flatten()
    labelled = crops.images.select(indices)
    cell = crop_cell(trial.cell)
    return Trial(cell, objects, indices, labelled, trial.transform, trial.context)


def crop_cell(cell: Cell) -> Cell:
    """Return the cell of `crop_trial`: its classifier checks generated crops."""
    return dataclasses.replace(
        cell, task=CLASSIFY, classifier=cell.judge, classifier_settings=cell.judge_settings
    )


def compose(
    trial: Trial[BoxedImages], synthetic: SyntheticSet | None
) -> Generator[Progress, None, Pictures | None]:
    """Compose the pictures that the arm adds to the labelled ones; None if it adds none."""
    cell, labelled = trial.cell, trial.labelled
    if not ARMS[cell.arm].composed:
        return None
    record = _record(trial, synthetic)

    def build(folder: Path) -> Iterator[Progress]:
        yield Progress("pictures", cell.name, 0, record.n)
        composed = _composed(labelled, synthetic.images if synthetic else None, record)
        images, origins = composed.images, composed.origins
        tensors = {"images": images.images, "labels": images.labels, "origins": origins}
        save_file(tensors, folder / PICTURES_FILE)
        some = slice(_SHOWN)
        sheet = box_sheet(images.images[some], images.labels[some], origins[some])
        save_png(sheet, folder / "pictures.png")
        plain = torch.zeros(labelled.labels.shape[:2])
        sheet = box_sheet(labelled.images[some], labelled.labels[some], plain[some].long())
        save_png(sheet, folder / "labelled.png")
        counts = torch.bincount(origins.flatten().long(), minlength=3).tolist()
        PicturesResult(len(images), counts[1], counts[2], list(labelled.classes)).write(folder)

    path = yield from artifact(trial.context.store, record, build)
    return Pictures(path, load_pictures(path).images)


def _record(trial: Trial[BoxedImages], synthetic: SyntheticSet | None) -> PicturesRecord:
    """Name all that the pictures of an arm depend on."""
    cell, arm = trial.cell, ARMS[trial.cell.arm]
    share = (cell.use.share or 0.0) if arm.pasted else 1.0
    if arm.pasted and synthetic and cell.use.mixing == CONFIRMED:
        share *= synthetic.evidence.trust
    return PicturesRecord(
        labelled=trial.labelled.sha,
        synthetic=synthetic.path.name if synthetic else None,
        filter=cell.use.filter,
        placing=cell.use.placing,
        pasted=arm.pasted,
        share=share,
        n=_n_pictures(trial.labelled, PASTED_RATIO if arm.pasted else cell.use.ratio or 1.0),
        seed=cell.seed,
    )


def timed_pictures(trial: Trial[BoxedImages]) -> tuple[BoxedImages, int]:
    """Compose for a few labelled pictures what `compose` does for all, to time it.

    Labelled objects stand for generated ones. Returns also how many pictures the arm adds.
    """
    n = _record(trial, None).n
    with_boxes = (trial.labelled.labels[..., 0] != NO_BOX).any(1).nonzero().flatten()
    few = trial.labelled.select(with_boxes[:_TIMED])
    objects = crop_boxes(few, crop_side(trial.labelled)).images
    again = torch.arange(round((trial.cell.use.ratio or 1) * len(objects))) % len(objects)
    record = _record(dataclasses.replace(trial, labelled=few), None)
    generated = objects.select(again) if ARMS[trial.cell.arm].synthetic else None
    return _composed(few, generated, record).images, n


def _n_pictures(labelled: BoxedImages, ratio: float) -> int:
    """Return how many pictures are composed: `ratio` for each labelled one, as memory allows."""
    most = MOST_BYTES // labelled.images[0].numel()
    return max(1, min(round(ratio * len(labelled)), most))


def _composed(
    labelled: BoxedImages, generated: LabelledImages | None, record: PicturesRecord
) -> Composition:
    """Make the pictures of a record: vary or paste generated objects, paste labelled ones."""
    crops = crop_boxes(labelled, crop_side(labelled))
    new = generated_objects(generated, crops) if generated is not None else None
    mix = Mix(record.n, record.share, seed_for(record.seed, "pictures"))
    if new is None or record.placing == "paste":
        return paste(in_turn(labelled, record.n), crops, new, mix)
    varied = vary_in_place(labelled, crops, new, mix)
    return paste(varied, crops, None, mix) if record.pasted else varied


def load_pictures(folder: Path) -> Composition:
    """Load the composed pictures of an artefact."""
    tensors = load_file(folder / PICTURES_FILE)
    classes = tuple(PicturesResult.read(folder).classes)
    return Composition(
        BoxedImages(tensors["images"], tensors["labels"], classes), tensors["origins"]
    )


def detector_parts(
    trial: Trial[BoxedImages], synthetic: SyntheticSet | None, pictures: Pictures | None
) -> TrainingSet:
    """Build the training set of the cell's detector; boxes are transformed with their pictures."""
    cell, arm = trial.cell, ARMS[trial.cell.arm]
    share = PASTED_SHARE if arm.pasted else cell.use.share or 1.0
    parts: list[tuple[BoxedImages, float]] = []
    if arm.real:
        parts.append((trial.labelled, 1 - share if pictures else 1.0))
    if pictures:
        parts.append((pictures.images, share if arm.real else 1.0))
    most = max(part.labels.shape[1] for part, _ in parts)
    data = TrainingSet(
        tuple(part.padded(most) for part, _ in parts),
        tuple(share for _, share in parts),
        (CLASSIC["none"],) * len(parts),
        BOXED[trial.transform if arm.classic else "none"],
        with_replacement=True,
    )
    if cell.use.mixing and synthetic and not arm.pasted:
        data = MIXINGS[cell.use.mixing](data, synthetic.evidence)
    return data


def timed_detector_parts(trial: Trial[BoxedImages]) -> TrainingSet:
    """Build a training set whose steps cost as much, without composed pictures."""
    return detector_parts(trial, None, None)
