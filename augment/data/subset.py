"""Who learns from what: the hold-out for testing, and the small labelled subset of a trial."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from augment.data.images import LabelledImages
from augment.errors import DataError, UsageError
from augment.runtime import seed_for


def labelled_subset(
    pool: LabelledImages, *, frac: float | None = None, per_class: int | None = None, seed: int
) -> Tensor:
    """Places in the pool of a stratified, seeded subset: [n] int64, ascending.

    Nested: a class is put in one random order a seed and its first images are taken, so the 1 %
    subset lies inside the 5 % one of the same seed. Every class keeps at least one image.
    """
    if (frac is None) == (per_class is None):
        raise UsageError("give one of --frac and --per-class")
    chosen = []
    for label, name in enumerate(pool.classes):
        places = (pool.labels == label).nonzero().flatten()
        if per_class is not None:
            n = per_class
            if n > len(places):
                raise UsageError(
                    f"--per-class {n}: class '{name}' has only {len(places)} images to draw from; "
                    f"take {len(places)} or fewer, or --frac"
                )
        else:
            n = round(float(frac or 0) * len(places))
        if n < 1:
            raise UsageError(
                f"--frac {frac} would leave 0 images of class '{name}' ({len(places)} images): "
                f"take at least {1 / len(places):.2g}, or --per-class 1"
            )
        rng = torch.Generator().manual_seed(seed_for(seed, "subset", label))
        chosen.append(places[torch.randperm(len(places), generator=rng)[:n]])
    return torch.cat(chosen).sort().values


def hold_out(
    labels: Sequence[int], units: Sequence[Hashable], classes: Sequence[str], share: float, key: str
) -> list[bool]:
    """Which images form the test set when the data come without one: stratified, fixed by `key`.

    Images of one unit (a patient, or equal pixels) stay on one side. Every class keeps a unit on
    both sides; a class with a single unit is an error.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for place, unit in enumerate(units):
        members[unit].append(place)
    by_class: dict[int, list[Hashable]] = defaultdict(list)
    for unit, places in members.items():  # a unit of several classes counts for its commonest
        by_class[Counter(labels[p] for p in places).most_common(1)[0][0]].append(unit)
    test = [False] * len(labels)
    for label, name in enumerate(classes):
        own = by_class[label]
        if len(own) < 2:
            raise DataError(
                f"class '{name}' has {len(own)} independent images (groups and equal pictures "
                "count once): add images, pass --drop-small-classes, or bring a test/ folder"
            )
        rng = torch.Generator().manual_seed(seed_for(key, "test", label))
        order = torch.randperm(len(own), generator=rng).tolist()
        wanted, taken = share * sum(len(members[u]) for u in own), 0
        for position, index in enumerate(order[:-1]):  # the last unit always stays in the pool
            if position and taken + len(members[own[index]]) / 2 > wanted:
                break
            taken += len(members[own[index]])
            for place in members[own[index]]:
                test[place] = True
    return test
