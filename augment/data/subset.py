"""Who learns from what: the hold-out for testing, and the small labelled subset of a trial."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from augment.data.images import LabelledImages
from augment.errors import UsageError
from augment.runtime.seeds import seed_for


def labelled_subset(
    pool: LabelledImages, *, frac: float | None = None, per_class: int | None = None, seed: int
) -> Tensor:
    """Places in the pool of a stratified, seeded subset: [n] int64, ascending.

    Nested: a class is put in one random order a seed and its first images are taken, so the 1 %
    subset lies inside the 5 % one of the same seed. Every class keeps at least one image.
    """
    if (frac is None) == (per_class is None):
        raise UsageError("give one of --frac and --per-class")
    if frac is not None and not 0 < frac <= 1:  # nan is refused too
        raise UsageError(f"--frac {frac} is not above 0 and up to 1")
    if per_class is not None and per_class < 1:
        raise UsageError(f"--per-class {per_class} would leave no image: take 1 or more")
    chosen = []
    for label, (name, indices) in enumerate(zip(pool.classes, pool.indices, strict=True)):
        n = round(frac * len(indices)) if frac is not None else per_class or 0
        if n > len(indices):
            raise UsageError(
                f"--per-class {n}: class '{name}' has only {len(indices)} images to draw from; "
                f"take {len(indices)} or fewer, or --frac"
            )
        if n < 1:
            raise UsageError(
                f"--frac {frac} would leave 0 images of class '{name}' ({len(indices)} images): "
                f"take at least {1 / len(indices):.2g}, or --per-class 1"
            )
        rng = torch.Generator().manual_seed(seed_for(seed, "subset", label))
        chosen.append(indices[torch.randperm(len(indices), generator=rng)[:n]])
    return torch.cat(chosen).sort().values


def folds(labels: Sequence[int], units: Sequence[Hashable], number: int, key: object) -> list[int]:
    """The fold of each image for cross-validation: stratified, seeded by `key`.

    Images of one unit (a patient, or equal pixels) share a fold. Classes of the fewest units are
    dealt first, each unit to the fold that has the fewest images of its class, then of all.
    """
    sizes = unit_sizes(labels, units)
    placed: dict[Hashable, int] = {}
    whole = [0] * number
    for label in sorted(sizes, key=lambda k: (len(sizes[k]), k)):
        own = sizes[label]
        rng = torch.Generator().manual_seed(seed_for(key, "folds", label))
        names = list(own)
        order = [names[i] for i in torch.randperm(len(own), generator=rng).tolist()]
        counts = [sum(own[u] for u in own if placed.get(u) == fold) for fold in range(number)]
        for unit in sorted(order, key=lambda u: -own[u]):
            if unit not in placed:
                fold = min(range(number), key=lambda f: (counts[f], whole[f]))
                placed[unit] = fold
                counts[fold] += own[unit]
                whole[fold] += own[unit]
    return [placed[unit] for unit in units]


def unit_sizes(labels: Sequence[int], units: Sequence[Hashable]) -> dict[int, dict[Hashable, int]]:
    """How many images of each class each unit has."""
    sizes: dict[int, dict[Hashable, int]] = defaultdict(lambda: defaultdict(int))
    for label, unit in zip(labels, units, strict=True):
        sizes[label][unit] += 1
    return sizes


def unlabelled_rest(pool: LabelledImages, indices: torch.Tensor) -> LabelledImages:
    """The images of the pool outside `indices`, every label -1: none can be learnt from."""
    rest = torch.ones(len(pool), dtype=torch.bool)
    rest[indices] = False
    return hidden(pool.select(rest))


def hidden(data: LabelledImages) -> LabelledImages:
    """The same images, every label -1."""
    return LabelledImages(data.images, torch.full_like(data.labels, -1), data.classes)


def linked(groups: Sequence[str] | None, hashes: Sequence[Hashable]) -> list[Hashable]:
    """A unit for each image: one group, equal pixels, and whatever these link stay together."""
    above: dict[Hashable, Hashable] = {}

    def top(thing: Hashable) -> Hashable:
        while above.setdefault(thing, thing) != thing:
            above[thing] = above[above[thing]]
            thing = above[thing]
        return thing

    for group, pixels in zip(groups or [""] * len(hashes), hashes, strict=True):
        if group:
            above[top(group)] = top(pixels)
    return [top(pixels) for pixels in hashes]


def hold_out(
    labels: Sequence[int], units: Sequence[Hashable], share: float, key: str
) -> list[bool]:
    """Which images form the test set when the data come without one: stratified, fixed by `key`.

    Images of one unit (a patient, or equal pixels) stay on one side. Classes of the fewest units
    are served first; each gets about `share` of its images tested and keeps a unit on both sides
    if it can. A class with a single unit is not tested: the caller judges.
    """
    sizes = unit_sizes(labels, units)
    tested: dict[Hashable, bool] = {}
    for label in sorted(sizes, key=lambda k: (len(sizes[k]), k)):
        own = sizes[label]
        rng = torch.Generator().manual_seed(seed_for(key, "test", label))
        names = list(own)
        order = [names[i] for i in torch.randperm(len(own), generator=rng).tolist()]
        wanted = share * sum(own.values())
        taken = sum(n for unit, n in own.items() if tested.get(unit))
        spare = sum(not tested.get(unit) for unit in own)
        # units that are too large come last, the smallest of them first
        for unit in sorted(order, key=lambda u: own[u] if own[u] / 2 > wanted else 0):
            if unit not in tested:
                fits = not taken or taken + own[unit] / 2 <= wanted
                tested[unit] = fits and spare > 1
                taken, spare = taken + own[unit] * tested[unit], spare - tested[unit]
    return [tested[unit] for unit in units]
