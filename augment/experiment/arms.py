"""ARMS: the kinds of training set. All arms of a trial take the same steps and batch size."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from augment.data.images import LabelledImages
from augment.errors import DataError
from augment.training.training_set import TrainingSet
from augment.transforms.autoaugment import with_policy
from augment.transforms.batch_mixing import BATCH_TRANSFORMS
from augment.transforms.geometric import CLASSIC

ENSEMBLE = 3  # classifiers
UNLABELLED_SHARE = 2.0  # unlabelled images for each labelled one of a batch, beside them


@dataclass(frozen=True)
class Arm:
    """Content of each batch, and the arm that it is compared with."""

    about: str
    real: bool  # labelled images
    classic: bool  # label-preserving transforms on everything in the batch
    synthetic: bool  # generated images
    against: str | None  # paired baseline; None: this is one
    policy: str | None = None  # key of POLICIES, applied after the classic transforms
    compose: str | None = None  # key of BATCH_TRANSFORMS, applied to the whole batch
    unlabelled: bool = False  # also uses the rest of the pool, without its labels
    pretrained: bool = False  # starts from the weights of another data set
    frozen: bool = False  # trains only the last layer
    members: int = 1  # classifiers that share the steps; their mean predicts
    pasted: bool = False  # objects of the labelled pictures at other places: where boxes are learnt

    @property
    def closed_set(self) -> bool:
        """Whether it uses no other labelled images: no pretrained weights, no learnt policy."""
        return not self.pretrained and self.policy != "autoaugment"

    @property
    def composed(self) -> bool:
        """Whether pictures are composed for it, where boxes are learnt."""
        return self.pasted or self.synthetic


def _free(how: str, **method: Any) -> Arm:
    """Make an arm that adds a method without generated images to the classic transforms."""
    return Arm(f"classic, then {how}", True, True, False, "real+classic", **method)


# ways to better accuracy that need no generator: each is an arm, and the baseline of another
FREE_WAYS: dict[str, Arm] = {
    "real+randaugment": _free("RandAugment", policy="randaugment"),
    "real+trivialaugment": _free("TrivialAugment", policy="trivialaugment"),
    "real+autoaugment": _free(
        "the policy that AutoAugment learnt on CIFAR-10", policy="autoaugment"
    ),
    "real+randomerasing": _free("random erasing", policy="randomerasing"),
    "real+mixup": _free("mixup of the batch", compose="mixup"),
    "real+cutmix": _free("CutMix of the batch", compose="cutmix"),
    "real+compose": _free("foregrounds on other grounds", compose="compose"),
    "real+ensemble": _free(
        f"an ensemble of {ENSEMBLE} classifiers, which share the steps", members=ENSEMBLE
    ),
    "real+copypaste": _free("labelled objects pasted into other pictures", pasted=True),
}


# each starts from other weights than all arms above; classic transforms as the ways above
TRANSFERS: dict[str, Arm] = {
    "transfer": Arm(
        "classic; the classifier starts from pretrained weights and is fine-tuned",
        True,
        True,
        False,
        "real+classic",
        pretrained=True,
    ),
    "transfer+linear": Arm(
        "classic; pretrained weights stay and the last layer alone is learnt (linear probe)",
        True,
        True,
        False,
        "real+classic",
        pretrained=True,
        frozen=True,
    ),
}


def _with_synthetic(name: str, arm: Arm) -> Arm:
    """Make the arm that adds synthetic images to `arm`, its paired baseline."""
    about = f"labelled and synthetic images, {arm.about}"
    return dataclasses.replace(arm, about=about, synthetic=True, against=name)


ARMS: dict[str, Arm] = {
    "real": Arm("the labelled images as they are", True, False, False, None),
    "real+classic": Arm("labelled images, classic transforms", True, True, False, "real"),
    "real+synth": Arm("labelled and synthetic images", True, False, True, "real"),
    "real+classic+synth": Arm(
        "labelled and synthetic images, classic transforms", True, True, True, "real+classic"
    ),
    "synth": Arm("synthetic images alone (its accuracy is the CAS)", False, False, True, "real"),
    **FREE_WAYS,
    **{f"{name}+synth": _with_synthetic(name, arm) for name, arm in FREE_WAYS.items()},
    "pseudo-label": Arm(
        "classic; unlabelled images of the pool besides, labelled by the classifier itself",
        True,
        True,
        False,
        "real+classic",
        compose="pseudo-label",
        unlabelled=True,
    ),
    "ssl": Arm(
        "FixMatch: classic; unlabelled images of the pool besides",
        True,
        True,
        False,
        "real+classic",
        compose="fixmatch",
        unlabelled=True,
    ),
    "ssl+synth": Arm(
        "FixMatch with labelled and synthetic images; unlabelled images of the pool besides",
        True,
        True,
        True,
        "ssl",
        compose="fixmatch",
        unlabelled=True,
    ),
    **TRANSFERS,
    **{f"{name}+synth": _with_synthetic(name, arm) for name, arm in TRANSFERS.items()},
}
DECISIVE = "real+classic+synth"  # flips and crops are free: what counts is the gain beyond them


def nothing_unlabelled(arm: str) -> DataError:
    """Make the error of an arm that has no unlabelled images to learn from."""
    return DataError(
        f"arm '{arm}' needs unlabelled images and the whole pool is labelled: take a --frac below "
        "1 or fewer --per-class"
    )


def training_set(
    name: str,
    labelled: LabelledImages,
    synthetic: LabelledImages | None,
    classic: str,
    share: float,
    unlabelled: LabelledImages | None = None,
) -> TrainingSet:
    """Build the training set of an arm; `share` of each batch is synthetic where both are mixed.

    A fixed share, not a concatenation, so that batch size and steps are equal at every ratio. All
    parts are drawn with replacement: else batches of one part would repeat images less often than
    those of two, which by itself changes the accuracy.
    Unlabelled images are added to the batch: every arm trains on as many labelled ones. Raises
    ValueError without synthetic images, DataError without unlabelled ones, where the arm has them.
    """
    arm = ARMS[name]
    parts: list[tuple[LabelledImages, float]] = []
    if arm.real:
        parts.append((labelled, 1 - share if arm.synthetic else 1.0))
    if arm.synthetic:
        if synthetic is None or not len(synthetic):
            raise ValueError(f"arm '{name}' needs synthetic images")
        parts.append((synthetic, share if arm.real else 1.0))
    if arm.unlabelled:
        if unlabelled is None or not len(unlabelled):
            raise nothing_unlabelled(name)
        parts.append((unlabelled, UNLABELLED_SHARE))
    kind = classic if arm.classic else "none"
    transform = with_policy(kind, CLASSIC[kind], arm.policy)
    return TrainingSet(
        tuple(part for part, _ in parts),
        tuple(share for _, share in parts),
        (transform,) * len(parts),
        BATCH_TRANSFORMS[arm.compose] if arm.compose else None,
        with_replacement=True,
    )


def generator_set(labelled: LabelledImages, classic: str, transformed: float) -> TrainingSet:
    """Build a generator's training set: the share `transformed` of each batch is transformed.

    Strictly between 0 and 1 the transformed images have separate classes, k + K for k of K, so
    that the network is conditioned on it and samples of class k are untransformed: non-leaking
    augmentation (Karras 2022, section 5) with one bit. At 1 all images are transformed, and so are
    the samples.
    """
    if transformed in (0, 1) or classic == "none":  # no conditioning needed
        return TrainingSet((labelled,), (1.0,), (CLASSIC[classic if transformed else "none"],))
    classes = (*labelled.classes, *(f"{name}, transformed" for name in labelled.classes))
    parts = (
        LabelledImages(labelled.images, labelled.labels, classes),
        LabelledImages(labelled.images, labelled.labels + len(labelled.classes), classes),
    )
    return TrainingSet(parts, (1 - transformed, transformed), (CLASSIC["none"], CLASSIC[classic]))
