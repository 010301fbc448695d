"""Which pictures with boxes go where: stratified as far as pictures of several classes allow.

Iterative stratification (Sechidis et al. 2011): the class of the fewest units left is dealt first.
A unit goes where it lessens the squared shortfalls of all its classes most, not of that class
alone: sides then have their share of all pictures too. All choices are seeded by purpose.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
import torch
from torch import Tensor

from augment.data.boxed_images import BoxedImages
from augment.data.subset import MOST_DISJOINT, wanted_of_each
from augment.errors import UsageError
from augment.runtime.seeds import seed_for


def class_presence(labels: Tensor, n_classes: int) -> np.ndarray:
    """Tell which pictures hold a box of each class; a last column has those without boxes.

    [N, B, 5] → [N, K + 1] bool.
    """
    found = torch.zeros(len(labels), n_classes + 1, dtype=torch.bool)
    classes = labels[..., 0].cpu().long()  # [N, B], -1 where padded
    rows, columns = (classes >= 0).nonzero(as_tuple=True)
    found[rows, classes[rows, columns]] = True
    found[:, n_classes] = ~found.any(1)
    return found.numpy()


def deal(
    present: np.ndarray, units: Sequence[Hashable], shares: Sequence[float], key: object
) -> np.ndarray:
    """Deal pictures to sides that should have these shares of all: the side of each, [N] int.

    `present` is [N, K] bool, as of `class_presence`; pictures of one unit stay together. A class of
    as many units as there are sides reaches each of them.
    """
    rows_of: dict[Hashable, list[int]] = defaultdict(list)
    for row, unit in enumerate(units):
        rows_of[unit].append(row)
    members = list(rows_of.values())
    # pictures of each class that a unit has, and of all: [U, K + 1]
    counts = np.array([[*present[rows].sum(0), len(rows)] for rows in members], float)
    wanted = np.outer(np.array(shares, float) / sum(shares), counts.sum(0))  # [S, K + 1]
    lacking, has = wanted.copy(), np.zeros(wanted.shape, bool)
    weight = 1 / np.maximum(wanted * counts.sum(0), 1e-9)
    side_of = np.full(len(members), -1)
    rng = torch.Generator().manual_seed(seed_for(key, "deal"))
    order = torch.randperm(len(members), generator=rng).numpy()
    # large units first: the small ones even out what these leave
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    shows = counts[:, :-1] > 0
    left = shows.sum(0)  # units of each class not yet dealt
    while (side_of < 0).any():
        label = int(np.where(left > 0, left, np.inf).argmin())
        for unit in order[(side_of[order] < 0) & shows[order, label]]:
            # by how much the squared shortfalls shrink on each side
            gain = ((2 * lacking - counts[unit]) * counts[unit] * weight).sum(1)  # [S]
            bare = ~has[:, label]
            if bare.any() and left[label] <= bare.sum():  # units for these sides alone
                gain = np.where(bare, gain, -np.inf)
            side = side_of[unit] = int(gain.round(9).argmax())
            lacking[side] -= counts[unit]
            has[side] |= counts[unit] > 0
            left -= shows[unit]
    sides = np.empty(len(units), int)
    for unit, rows in enumerate(members):
        sides[rows] = side_of[unit]
    return sides


def boxed_hold_out(
    present: np.ndarray, units: Sequence[Hashable], share: float, key: str
) -> np.ndarray:
    """Choose the test set of pictures that come without one: [N] bool, fixed by `key`."""
    return deal(present, units, (share, 1 - share), key) == 0


def boxed_subset(
    pool: BoxedImages, *, frac: float | None = None, per_class: int | None = None, seed: int
) -> Tensor:
    """Choose the pool indices of a stratified, seeded subset: [n] int64, ascending.

    Of each class it holds at least its share, or `per_class`, of the pictures that show it; more
    where other classes bring these along. Pictures without boxes come with `frac` alone. Nested:
    the subsets of one seed lie in each other. Raises UsageError if that cannot be met.
    """
    present = class_presence(pool.labels, len(pool.classes))
    wanted = _wanted_pictures(pool, present, frac, per_class)
    sizes = present.sum(0).tolist()
    # of one seed, a share that is larger only adds demands at the end
    demands = sorted(
        (
            (number - 0.5) / sizes[label] if per_class is None else number,
            sizes[label],
            label,
            number,
        )
        for label, n in enumerate(wanted)
        for number in range(1, n + 1)
    )
    rng = torch.Generator().manual_seed(seed_for(seed, "subset", "pictures"))
    order = torch.randperm(len(pool), generator=rng).tolist()
    return _meet(present, order, [(label, number) for _, _, label, number in demands])


def disjoint_boxed_subset(
    pool: BoxedImages,
    units: Sequence[Hashable],
    *,
    frac: float | None = None,
    per_class: int | None = None,
    number: int,
) -> Tensor:
    """Choose the pool indices of subset `number` (from 0) of several without a common unit.

    As `disjoint_subset` does for images of one class each. Raises UsageError if there are not so
    many, or if `frac` or `per_class` cannot be met.
    """
    present = class_presence(pool.labels, len(pool.classes))
    wanted = np.array(_wanted_pictures(pool, present, frac, per_class))
    asked = wanted > 0
    parts = min(MOST_DISJOINT, int((present.sum(0)[asked] // wanted[asked]).min()))
    while True:
        part_of = deal(present, units, [1.0] * parts, "disjoint")
        counts = np.array([present[part_of == part].sum(0) for part in range(parts)])
        if parts == 1 or (counts >= wanted).all():
            break
        parts -= max(1, parts // 10)  # a group was too large for so many
    if number >= parts:
        raise UsageError(
            f"--subsets disjoint: the pool has room for {parts} disjoint subsets of so many "
            f"labelled images and there are more trials: take --seeds {parts}, or fewer images"
        )
    demands = sorted(
        ((each - 0.5) / n, int(n), label, each)
        for label, n in enumerate(wanted)
        for each in range(1, n + 1)
    )
    rng = torch.Generator().manual_seed(seed_for("disjoint", number, "pictures"))
    inside = np.flatnonzero(part_of == number)
    order = inside[torch.randperm(len(inside), generator=rng).numpy()].tolist()
    return _meet(present, order, [(label, each) for _, _, label, each in demands])


def _wanted_pictures(
    pool: BoxedImages, present: np.ndarray, frac: float | None, per_class: int | None
) -> list[int]:
    """Return how many pictures of each class are wanted, and last how many without boxes."""
    *sizes, empty = present.sum(0).tolist()
    wanted = wanted_of_each(dict(zip(pool.classes, sizes, strict=True)), frac, per_class)
    if frac is None:
        return [*wanted, 0]
    # halves are rounded up, that a larger share may add to a smaller one
    return [math.floor(frac * n + 0.5 + 1e-9) for n in (*sizes, empty)]


def _meet(present: np.ndarray, order: list[int], demands: list[tuple[int, int]]) -> Tensor:
    """Go through demands (class, number of pictures) and add the next picture where one lacks.

    Returns the indices, ascending.
    """
    counts = np.zeros(present.shape[1], int)
    chosen: set[int] = set()
    rest = {label: iter(order) for label, _ in demands}
    for label, number in demands:
        if counts[label] < number:
            row = next(k for k in rest[label] if k not in chosen and present[k, label])
            chosen.add(row)
            counts += present[row]
    return torch.tensor(sorted(chosen), dtype=torch.int64)
