"""Who learns from what: the hold-out for testing, and the small labelled subset of a trial.

A *unit* is what must stay together: the images of one group (a patient, say), and equal images.
All choices are seeded by purpose; the same seed gives the same images on any machine.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from augment.data.images import LabelledImages
from augment.errors import UsageError
from augment.runtime.seeds import seed_for

MOST_DISJOINT = 100  # that disjoint subsets are drawn from: dealing more takes long


def labelled_subset(
    pool: LabelledImages, *, frac: float | None = None, per_class: int | None = None, seed: int
) -> Tensor:
    """Choose the pool indices of a stratified, seeded subset: [n] int64, ascending.

    Nested: a class is put in one random order a seed and its first images are taken, so the 1 %
    subset lies inside the 5 % one of the same seed. Every class keeps at least one image. Raises
    UsageError if `frac` or `per_class` cannot be met.
    """
    chosen = []
    for label, n in enumerate(wanted_of_each(_sizes(pool), frac, per_class)):
        # one order a class, whatever n is: that nests the subsets
        rng = torch.Generator().manual_seed(seed_for(seed, "subset", label))
        indices = pool.indices[label]
        chosen.append(indices[torch.randperm(len(indices), generator=rng)[:n]])
    return torch.cat(chosen).sort().values


def _sizes(pool: LabelledImages) -> dict[str, int]:
    """Count the images of each class by its name."""
    return dict(zip(pool.classes, map(len, pool.indices), strict=True))


def wanted_of_each(sizes: dict[str, int], frac: float | None, per_class: int | None) -> list[int]:
    """Return how many images of each class a subset has; UsageError if that cannot be met.

    `sizes` counts the images of each class.
    """
    if (frac is None) == (per_class is None):
        raise UsageError("give one of --frac and --per-class")
    if frac is not None and not 0 < frac <= 1:  # nan is refused too
        raise UsageError(f"--frac {frac} is not above 0 and up to 1")
    if per_class is not None and per_class < 1:
        raise UsageError(f"--per-class {per_class} would leave no image: take 1 or more")
    wanted = []
    for name, size in sizes.items():
        n = round(frac * size) if frac is not None else per_class or 0
        if n > size:
            raise UsageError(
                f"--per-class {n}: class '{name}' has only {size} images to draw from; "
                f"take {size} or fewer, or --frac"
            )
        if n < 1:
            raise UsageError(
                f"--frac {frac} would leave 0 images of class '{name}' ({size} images): "
                f"take at least {1 / size:.2g}, or --per-class 1"
            )
        wanted.append(n)
    return wanted


def disjoint_subset(
    pool: LabelledImages,
    units: Sequence[Hashable],
    *,
    frac: float | None = None,
    per_class: int | None = None,
    number: int,
) -> Tensor:
    """Choose the pool indices of subset `number` (from 0) of several without a common unit.

    [n] int64, ascending, stratified, fixed by the units alone. The pool is dealt into as many parts
    as have enough images of each class, and each subset is drawn inside its part. UsageError if
    there are not so many, or if `frac` or `per_class` cannot be met.
    """
    wanted = wanted_of_each(_sizes(pool), frac, per_class)
    labels, room = tuple(pool.labels.tolist()), list(zip(pool.indices, wanted, strict=True))
    parts = min(MOST_DISJOINT, *(len(indices) // n for indices, n in room))
    part_of = torch.tensor(_dealt(labels, tuple(units), parts))  # [N] of the pool
    while any((part_of[i].bincount(minlength=parts) < n).any() for i, n in room):
        parts -= max(1, parts // 10)  # a group was too large for so many
        part_of = torch.tensor(_dealt(labels, tuple(units), parts))
    if number >= parts:
        raise UsageError(
            f"--subsets disjoint: the pool has room for {parts} disjoint subsets of so many "
            f"labelled images and there are more trials: take --seeds {parts}, or fewer images"
        )
    chosen = []
    for label, (indices, n) in enumerate(room):
        inside = indices[part_of[indices] == number]
        rng = torch.Generator().manual_seed(seed_for("disjoint", number, label))
        chosen.append(inside[torch.randperm(len(inside), generator=rng)[:n]])
    return torch.cat(chosen).sort().values


@functools.lru_cache(maxsize=8)
def _dealt(labels: tuple[int, ...], units: tuple[Hashable, ...], parts: int) -> list[int]:
    """Deal images into parts as `folds` does; the trials of a run ask for the same parts."""
    return folds(labels, units, parts, "disjoint")


def folds(labels: Sequence[int], units: Sequence[Hashable], number: int, key: object) -> list[int]:
    """Assign each image a fold of cross-validation, 0 to number - 1: stratified, seeded by `key`.

    Images of one unit share a fold. Classes of the fewest units are dealt first, each unit to the
    fold that has the fewest images of its class, then of all.
    """
    sizes = _unit_sizes(labels, units)
    fold_of: dict[Hashable, int] = {}
    fold_sizes = [0] * number
    for label in _rarest_first(sizes):
        unit_sizes = sizes[label]
        counts = [  # images of this class that each fold has by units with several classes
            sum(n for unit, n in unit_sizes.items() if fold_of.get(unit) == fold)
            for fold in range(number)
        ]
        order = _shuffled(unit_sizes, seed_for(key, "folds", label))
        # largest units first: the small ones even out what these leave
        for unit in sorted(order, key=lambda unit: -unit_sizes[unit]):
            if unit not in fold_of:
                fold = min(range(number), key=lambda fold: (counts[fold], fold_sizes[fold]))
                fold_of[unit] = fold
                counts[fold] += unit_sizes[unit]
                fold_sizes[fold] += unit_sizes[unit]
    return [fold_of[unit] for unit in units]


def hold_out(
    labels: Sequence[int], units: Sequence[Hashable], share: float, key: str
) -> list[bool]:
    """Choose the test set of data that come without one: [N], stratified, fixed by `key`.

    Images of one unit stay on one side. Classes of the fewest units are served first; each gets
    about `share` of its images tested and keeps a unit on both sides if it can. A class with a
    single unit is not tested: the caller judges.
    """
    sizes = _unit_sizes(labels, units)
    in_test: dict[Hashable, bool] = {}
    for label in _rarest_first(sizes):
        unit_sizes = sizes[label]
        wanted = share * sum(unit_sizes.values())  # images of this class in the test set
        taken = sum(n for unit, n in unit_sizes.items() if in_test.get(unit))
        spare = sum(not in_test.get(unit) for unit in unit_sizes)  # units left for the pool
        order = _shuffled(unit_sizes, seed_for(key, "test", label))
        # units that are too large come last, the smallest of them first
        for unit in sorted(order, key=lambda u: unit_sizes[u] if unit_sizes[u] / 2 > wanted else 0):
            if unit not in in_test:
                # rounded to the nearest unit; the first one always
                fits = not taken or taken + unit_sizes[unit] / 2 <= wanted
                in_test[unit] = fits and spare > 1
                taken += unit_sizes[unit] * in_test[unit]
                spare -= in_test[unit]
    return [in_test[unit] for unit in units]


def linked_units(groups: Sequence[str] | None, hashes: Sequence[Hashable]) -> list[Hashable]:
    """Name a unit for each image: one group, equal pixels, and whatever these link.

    Two groups that share an image are one unit (union-find with path halving).
    """
    parent: dict[Hashable, Hashable] = {}

    def root(node: Hashable) -> Hashable:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for group, pixels in zip(groups or [""] * len(hashes), hashes, strict=True):
        if group:  # images without a group are linked by their pixels alone
            parent[root(group)] = root(pixels)
    return [root(pixels) for pixels in hashes]


def unlabelled_rest(pool: LabelledImages, indices: torch.Tensor) -> LabelledImages:
    """Return the images of the pool outside `indices`, every label -1: none can be learnt from."""
    rest = torch.ones(len(pool), dtype=torch.bool)
    rest[indices] = False
    return hide_labels(pool.select(rest))


def hide_labels(data: LabelledImages) -> LabelledImages:
    """Return the same images, every label -1."""
    return dataclasses.replace(data, labels=torch.full_like(data.labels, -1))


def _unit_sizes(labels: Sequence[int], units: Sequence[Hashable]) -> dict[int, dict[Hashable, int]]:
    """Count the images of each class that each unit has: label → unit → count."""
    sizes: dict[int, dict[Hashable, int]] = defaultdict(lambda: defaultdict(int))
    for label, unit in zip(labels, units, strict=True):
        sizes[label][unit] += 1
    return sizes


def _rarest_first(sizes: dict[int, dict[Hashable, int]]) -> list[int]:
    """Order the classes: those of the fewest units have the least choice, so they go first."""
    return sorted(sizes, key=lambda label: (len(sizes[label]), label))


def _shuffled(unit_sizes: dict[Hashable, int], seed: int) -> list[Hashable]:
    """Put the units of a class in a random order."""
    rng = torch.Generator().manual_seed(seed)
    units = list(unit_sizes)
    return [units[i] for i in torch.randperm(len(units), generator=rng).tolist()]
