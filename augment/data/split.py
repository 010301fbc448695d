"""Split a data set: a pool that labelled subsets are taken from, and a test set kept apart.

A given test split is used as it is; without one, `TEST_SHARE` of the images is held out, fixed by
the hash of the data. Copies of an image and images of one group never stand on both sides; of a
given split equal images alone leave the pool.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import compress
from typing import Generic

import torch
from typing_extensions import TypeVar

from augment.data.boxed_images import AnyImages, BoxedImages
from augment.data.copies.copies_together import join_copies
from augment.data.images import LabelledImages
from augment.data.layouts.class_words import as_spoken
from augment.data.layouts.numbered_groups import are_numbered_anew, named_by_split
from augment.data.raw import RawDataset
from augment.data.subset import hold_out, linked_units
from augment.errors import DataError
from augment.runtime.seeds import seed_for

TEST_SHARE = 0.2  # of a data set that comes without a test split
SKEW_RATIO = 10  # largest class to smallest, from which accuracy tells of the large ones alone

Images = TypeVar("Images", bound=AnyImages, covariant=True, default=LabelledImages)


@dataclass(frozen=True)
class Dataset(Generic[Images]):
    """One data set, split: nothing in `test` is ever learnt from or chosen on."""

    name: str
    pool: Images
    test: Images
    classic: str  # which label-preserving transforms suit these images: a key of CLASSIC
    official_test: bool = True
    pool_files: list[str] = field(default_factory=list)
    test_files: list[str] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)  # file, reason it was left out
    notes: list[str] = field(default_factory=list)
    pool_groups: list[str] = field(default_factory=list)  # "" or e.g. the patient of each image
    test_groups: list[str] = field(default_factory=list)
    layout: str = ""  # what was taken for classes, splits and groups

    @property
    def task(self) -> str:
        """What is learnt: "classify", or "detect" where pictures have boxes."""
        return "detect" if isinstance(self.pool, BoxedImages) else "classify"

    @property
    def skewed(self) -> bool:
        """Whether the classes are so uneven that plain accuracy tells of the large ones alone."""
        counts = self.pool.counts().tolist()
        return max(counts) >= SKEW_RATIO * min(counts)

    @property
    def sha(self) -> str:
        """A short hash of all pixels, labels and class names."""
        return f"{seed_for(self.pool.sha, self.test.sha):016x}"


def split(
    name: str, raw: RawDataset, classic: str, test_share: float, *, drop_small: bool = False
) -> Dataset:
    """Split raw images into pool and test; an image never stands on both sides.

    Raises DataError if a class is too small, unless `drop_small` drops it.
    """
    notes, labels = list(raw.notes), torch.tensor(raw.labels)
    hashes = raw.hashes
    in_test = given_test_mask(raw, notes)
    groups = raw.groups or [""] * len(raw.files)
    official = in_test is not None
    if in_test is None:
        groups = join_copies(raw, notes)
        in_test = _held_out_mask(raw, labels, linked_units(groups, hashes), test_share)
    # an official split may hold an image twice: the test set keeps it, the pool loses it
    test_hashes = {h for h, test in zip(hashes, in_test.tolist(), strict=True) if test}
    repeats_test = torch.tensor([h in test_hashes for h in hashes]) & ~in_test
    if repeats_test.any():
        notes.append(
            f"training images removed that are also test images: {int(repeats_test.sum())}"
        )
    in_pool = ~in_test & ~repeats_test
    n_pool = torch.bincount(labels[in_pool], minlength=len(raw.classes)).tolist()
    n_test = torch.bincount(labels[in_test], minlength=len(raw.classes)).tolist()
    _compare_spelling(raw.classes, n_pool, n_test, notes)
    learnable = _learnable_classes(
        raw.classes, n_pool, n_test, notes, official=official, drop_small=drop_small
    )
    new_label = torch.full((len(raw.classes),), -1)  # -1: the class is dropped
    new_label[learnable] = torch.arange(len(learnable))
    labels, classes = new_label[labels], tuple(raw.classes[k] for k in learnable)
    whole = LabelledImages(raw.images, labels, classes, raw.mapped)

    def side(mask: torch.Tensor) -> tuple[LabelledImages, list[str], list[str]]:
        mask = mask & (labels >= 0)  # [N] bool
        selected = mask.tolist()
        return (
            whole.select(mask),
            list(compress(raw.files, selected)),
            list(compress(groups, selected)),
        )

    (pool, pool_files, pool_groups), (test, test_files, test_groups) = side(in_pool), side(in_test)
    return Dataset(
        name,
        pool,
        test,
        classic,
        official,
        pool_files,
        test_files,
        raw.bad,
        notes,
        pool_groups,
        test_groups,
        raw.layout,
    )


def _held_out_mask(
    raw: RawDataset, labels: torch.Tensor, units: list[Hashable], test_share: float
) -> torch.Tensor:
    """Choose a test set among the images that are not synthetic: [N] bool."""
    key = LabelledImages(raw.images, labels, tuple(raw.classes)).sha
    real = [k for k, split_name in enumerate(raw.splits) if split_name != "synthetic"]
    chosen = hold_out([raw.labels[k] for k in real], [units[k] for k in real], test_share, key)
    in_test = torch.zeros(len(raw.labels), dtype=torch.bool)
    in_test[torch.tensor(real)] = torch.tensor(chosen)
    return in_test


def _compare_spelling(
    classes: list[str], n_pool: list[int], n_test: list[int], notes: list[str]
) -> None:
    """Note classes that differ in spelling alone; DataError if only one side has each."""
    alike: dict[str, list[int]] = defaultdict(list)
    for k, name in enumerate(classes):
        alike[as_spoken(name)].append(k)
    pairs = [ks for ks in alike.values() if len(ks) > 1]
    names = "; ".join(", ".join(f"'{classes[k]}'" for k in ks) for ks in pairs)
    if any(not n_pool[k] and n_test[k] for ks in pairs for k in ks):
        raise DataError(
            f"training and test set spell their classes in two ways ({names}): give each one name"
        )
    if pairs:
        notes.append(f"classes that differ in capitals, blanks or _ alone: {names}")


def given_test_mask(raw: RawDataset, notes: list[str]) -> torch.Tensor | None:
    """Find which images the data set itself puts in its test split ([N] bool), or None.

    Without a test split, val is the test set, unless all images are of it. Groups that are
    numbered anew in each split get names of their own in `raw`; raises DataError if another group
    stands on both sides.
    """
    given = set(raw.splits) - {"synthetic"}
    test_split = "test" if "test" in given else "val"
    if given == {"val"}:
        notes.append("all images are of the split val, so a test set is held out of them")
    if test_split not in given or given == {"val"}:
        return None
    if test_split == "val":
        notes.append("no test split: val is the test set")
    elif "val" in given:
        notes.append("val images join the pool: nothing is chosen on them")
    sides: tuple[set[str], set[str]] = (set(), set())  # groups of the pool, of the test set
    for group, split_name in zip(raw.groups or [], raw.splits, strict=False):
        if group:
            sides[split_name == test_split].add(group)
    both = sorted(sides[0] & sides[1])
    if both and are_numbered_anew(raw, test_split, both):
        raw.groups = named_by_split(raw, test_split, both)
        notes.append(
            f"groups like {both[0]} ({len(both)} in all) are in train and in test, numbered anew "
            "from the start and with the same names of files: taken for other groups in each "
            "(give them other names if they are the same)"
        )
        both = []
    if both:
        anew = len(both) == min(map(len, sides)) and len(both) > 1 and both[0][-1:].isdigit()
        doubt = "or are numbered anew in each split" if anew else ""
        raise DataError(
            f"group '{both[0]}' ({len(both)} in all) stands in train and in test; give each group "
            f"to one side, or pass --group-by none if these are no groups {doubt}".rstrip()
        )
    return torch.tensor([split_name == test_split for split_name in raw.splits])


def _learnable_classes(
    classes: list[str],
    n_pool: list[int],
    n_test: list[int],
    notes: list[str],
    *,
    official: bool,
    drop_small: bool,
) -> list[int]:
    """Find the indices of the classes that can be learnt: two pool images, and one to test on.

    A given test split may lack a class (noted); a class that only it has cannot be learnt.
    """
    min_test = 0 if official else 1
    learnable = [k for k in range(len(classes)) if n_pool[k] >= 2 and n_test[k] >= min_test]
    small = [
        f"class '{name}' has {n_pool[k]} to learn from and {n_test[k]} to test on"
        for k, name in enumerate(classes)
        if k not in learnable
    ]
    if len(classes) < 2:
        raise DataError(
            f"a single class ('{classes[0]}'): at least two are needed, each in a folder of its "
            "own or named in a table (file_name, label); classes in names of files are not read"
        )
    learnt = [k for k in range(len(classes)) if n_pool[k]]
    if official and len(learnt) == 1 and sum(map(bool, n_test)) > 1:
        raise DataError(
            f"the training split holds the class '{classes[learnt[0]]}' alone, as sets for finding "
            "defects have it, so no other class can be learnt: give the path of the test split's "
            "folder, of which a test set is then held out"
        )
    if small and not drop_small:
        more = f"; {len(small) - 3} more classes" if len(small) > 3 else ""
        raise DataError(
            f"too few images: {'; '.join(small[:3])}{more}; at least 2 and {min_test} are needed "
            "(equal pictures and groups stay on one side): add images or pass --drop-small-classes"
        )
    if official and learnable and not any(n_test[k] for k in learnable):
        raise DataError(
            "no image of the test set is of a class that can be learnt: "
            f"{'; '.join(small[:3])}: give both sides the same classes"
        )
    if len(learnable) < 2:
        raise DataError(
            f"fewer than two classes are left without the small ones: {'; '.join(small[:3])}"
        )
    if small:
        notes.append(f"dropped small classes ({len(small)}): {'; '.join(small)}")
    for k in learnable:
        if not n_test[k]:
            notes.append(f"class '{classes[k]}' has no test image: its own scores are empty")
    return learnable
