"""ARMS: the ways to make a training set. All arms of a trial take the same steps and batches."""

from __future__ import annotations

from dataclasses import dataclass

from augment.classic import CLASSIC
from augment.data.images import LabelledImages
from augment.learn import TrainingSet


@dataclass(frozen=True)
class Arm:
    """What goes into each batch, and which arm it is measured against."""

    about: str
    real: bool  # labelled images
    classic: bool  # label-preserving transforms on everything in the batch
    synthetic: bool  # generated images
    against: str | None  # the paired baseline; None: this is one


ARMS: dict[str, Arm] = {
    "real": Arm("the labelled images as they are", True, False, False, None),
    "real+classic": Arm("labelled images, classic transforms", True, True, False, "real"),
    "real+synth": Arm("labelled and synthetic images", True, False, True, "real"),
    "real+classic+synth": Arm(
        "labelled and synthetic images, classic transforms", True, True, True, "real+classic"
    ),
    "synth": Arm("synthetic images alone (its accuracy is the CAS)", False, False, True, "real"),
}
DECISIVE = "real+classic+synth"  # flips and crops are free: what counts is the gain beyond them


def training_set(
    name: str,
    labelled: LabelledImages,
    synthetic: LabelledImages | None,
    classic: str,
    share: float,
) -> TrainingSet:
    """The training set of one arm; `share` of each batch is synthetic where both are mixed.

    A fixed share, not a concatenation, so that batch size and steps are equal at every ratio.
    """
    arm = ARMS[name]
    transform = CLASSIC[classic if arm.classic else "none"]
    if not arm.synthetic:
        return TrainingSet((labelled,), (1.0,), (transform,))
    if synthetic is None or not len(synthetic):
        raise ValueError(f"arm '{name}' needs synthetic images")
    if not arm.real:
        return TrainingSet((synthetic,), (1.0,), (transform,))
    return TrainingSet((labelled, synthetic), (1 - share, share), (transform, transform))


def generator_set(labelled: LabelledImages, classic: str, transformed: float) -> TrainingSet:
    """What a generator learns from: the share `transformed` of each batch with classic transforms.

    In between 0 and 1 the transformed images have classes of their own, k + K for k of K, so that
    the network is told and draws class k untransformed: non-leaking augmentation (Karras 2022,
    section 5) with one bit. At 1 all are transformed, and so is what the generator draws.
    """
    if transformed in (0, 1) or classic == "none":  # nothing that would have to be told
        return TrainingSet((labelled,), (1.0,), (CLASSIC[classic if transformed else "none"],))
    classes = (*labelled.classes, *(f"{name}, transformed" for name in labelled.classes))
    parts = (
        LabelledImages(labelled.images, labelled.labels, classes),
        LabelledImages(labelled.images, labelled.labels + len(labelled.classes), classes),
    )
    return TrainingSet(
        parts, (1 - transformed, transformed), (CLASSIC["none"], CLASSIC[classic])
    )  # fmt: skip
