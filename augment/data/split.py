"""Split a data set: a pool to draw labelled images from, and a test set kept apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import compress

import torch

from augment.data.folder import Found
from augment.data.images import LabelledImages, pixel_hashes
from augment.data.subset import hold_out, linked
from augment.errors import DataError
from augment.runtime.seeds import seed_for

TEST_SHARE = 0.2  # of a data set that comes without a test split


@dataclass(frozen=True)
class Dataset:
    """One data set, split: nothing in `test` is ever learnt from or chosen on."""

    name: str
    pool: LabelledImages
    test: LabelledImages
    classic: str  # which label-preserving transforms suit these pictures: a key of CLASSIC
    official_test: bool = True
    pool_files: list[str] = field(default_factory=list)
    test_files: list[str] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)  # file, reason it was left out
    notes: list[str] = field(default_factory=list)
    pool_groups: list[str] = field(default_factory=list)  # "" or e.g. the patient of each image
    test_groups: list[str] = field(default_factory=list)

    @property
    def skewed(self) -> bool:
        """Whether the classes are so uneven that plain accuracy tells of the large ones alone."""
        counts = self.pool.counts().tolist()
        return max(counts) >= SKEWED * min(counts)

    @property
    def sha(self) -> str:
        """A short hash of all pixels, labels and class names."""
        return f"{seed_for(self.pool.sha, self.test.sha):016x}"


SKEWED = 10  # largest class against smallest


def split(
    name: str, found: Found, classic: str, test_share: float, *, drop_small: bool = False
) -> Dataset:
    """Found images → pool and test; a picture never stands on both sides."""
    notes, labels = list(found.notes), torch.tensor(found.labels)
    hashes = pixel_hashes(found.images)
    in_test = given_test(found, notes)
    official = in_test is not None
    if in_test is None:
        key = LabelledImages(found.images, labels, tuple(found.classes)).sha
        units = linked(found.groups, hashes)
        in_test = torch.tensor(hold_out(found.labels, units, test_share, key))
    tested = {h for h, test in zip(hashes, in_test.tolist(), strict=True) if test}
    twins = torch.tensor([h in tested for h in hashes]) & ~in_test
    if twins.any():
        notes.append(f"removed {int(twins.sum())} training images that are also test images")
    in_pool = ~in_test & ~twins
    kept = fit_classes(
        found.classes,
        torch.bincount(labels[in_pool], minlength=len(found.classes)).tolist(),
        torch.bincount(labels[in_test], minlength=len(found.classes)).tolist(),
        notes,
        official=official,
        drop_small=drop_small,
    )
    new = torch.full((len(found.classes),), -1)
    new[kept] = torch.arange(len(kept))
    labels, classes = new[labels], tuple(found.classes[k] for k in kept)

    groups = found.groups or [""] * len(found.files)

    def side(mask: torch.Tensor) -> tuple[LabelledImages, list[str], list[str]]:
        mask = mask & (labels >= 0)
        own = LabelledImages(found.images[mask], labels[mask], classes)
        keep = mask.tolist()
        return own, list(compress(found.files, keep)), list(compress(groups, keep))

    (pool, pool_files, pool_groups), (test, test_files, test_groups) = side(in_pool), side(in_test)
    return Dataset(
        name,
        pool,
        test,
        classic,
        official,
        pool_files,
        test_files,
        found.bad,
        notes,
        pool_groups,
        test_groups,
    )


def given_test(found: Found, notes: list[str]) -> torch.Tensor | None:
    """Which images the data set itself puts in its test split ([N] bool), or None."""
    given = set(found.splits)
    part = "test" if "test" in given else "val"
    if given == {"val"}:
        notes.append("all images are of the split val, so a test set is held out of them")
    if part not in given or given == {"val"}:
        return None
    if part == "val":
        notes.append("no test split: val is the test set")
    elif "val" in given:
        notes.append("val images join the pool: nothing is chosen on them")
    sides: tuple[set[str], set[str]] = (set(), set())
    for group, where in zip(found.groups or [], found.splits, strict=False):
        if group:
            sides[where == part].add(group)
    both = sorted(sides[0] & sides[1])
    if both:
        raise DataError(
            f"metadata.csv: group '{both[0]}' ({len(both)} in all) stands in train and in test; "
            "give each group to one side"
        )
    return torch.tensor([where == part for where in found.splits])


def fit_classes(
    classes: list[str],
    n_pool: list[int],
    n_test: list[int],
    notes: list[str],
    *,
    official: bool,
    drop_small: bool,
) -> list[int]:
    """Places of the classes that can be learnt: two images of the pool, and one to test on.

    A given test split may lack a class (noted); a class that only it has cannot be learnt.
    """
    least = 0 if official else 1
    kept = [k for k in range(len(classes)) if n_pool[k] >= 2 and n_test[k] >= least]
    small = [
        f"class '{name}' has {n_pool[k]} to learn from and {n_test[k]} to test on"
        for k, name in enumerate(classes)
        if k not in kept
    ]
    if len(classes) < 2:
        raise DataError(f"a single class ('{classes[0]}'): at least two are needed")
    if small and not drop_small:
        more = f"; {len(small) - 3} more classes" if len(small) > 3 else ""
        raise DataError(
            f"too few images: {'; '.join(small[:3])}{more}; at least 2 and {least} are needed "
            "(equal pictures and groups stay on one side): add images or pass --drop-small-classes"
        )
    if len(kept) < 2:
        raise DataError(
            f"fewer than two classes are left without the small ones: {'; '.join(small[:3])}"
        )
    if small:
        notes.append(f"dropped small classes ({len(small)}): {'; '.join(small)}")
    for k in kept:
        if not n_test[k]:
            notes.append(f"class '{classes[k]}' has no test image: its own scores are empty")
    return kept
