"""Groups that each split numbers anew: train/dam/dam_0 and val/dam/dam_0 are two places."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection

from augment.data.raw import RawDataset

_NUMBER = re.compile(r"(.*?)(\d+)")


def are_numbered_anew(raw: RawDataset, test_split: str, both: Collection[str]) -> bool:
    """Tell whether the groups that stand on both sides of a split are other ones on each.

    They count up from 0 or 1 on each side, the smaller side has no other groups, and each has
    files of the same names on both sides, as one recording that was split never has.
    """
    files: dict[tuple[str, bool], set[str]] = defaultdict(set)  # by group and side
    for group, split, file in zip(raw.groups or [], raw.splits, raw.files, strict=False):
        if group:
            files[group, split == test_split].add(file.rpartition("/")[2])
    for side in (False, True):
        numbers: dict[str, set[int]] = defaultdict(set)
        for group in (group for group, where in files if where == side):
            if not (found := _NUMBER.fullmatch(group)):
                return False
            numbers[found[1]].add(int(found[2]))
        if not all(min(n) < 2 and max(n) - min(n) == len(n) - 1 for n in numbers.values()):
            return False
    sizes = [sum(where == side for _, where in files) for side in (False, True)]
    return 1 < len(both) == min(sizes) and all(files[g, False] & files[g, True] for g in both)


def named_by_split(raw: RawDataset, test_split: str, both: Collection[str]) -> list[str]:
    """Return the group of each image, those on both sides with the name of their split before."""
    return [
        f"{'test' if split == test_split else 'train'}/{group}" if group in both else group
        for group, split in zip(raw.groups or [], raw.splits, strict=True)
    ]
