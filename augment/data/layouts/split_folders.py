"""Which folders of one level are the splits of a set, by their names and what they hold."""

from __future__ import annotations

from collections import defaultdict

from augment.data.layouts.entries import SPLITS, Place, folders_below
from augment.data.layouts.folder_levels import without_media
from augment.data.layouts.folder_words import (
    CONTAINERS,
    is_version_folder,
    kind_of,
    split_and_rest,
    split_word,
    splits_among,
    tokens,
)
from augment.data.layouts.mask_words import is_no_class
from augment.data.raw import first_names

HELD_OUT = {"val", "test"}


def parted_names(places: list[Place]) -> tuple[list[Place], str]:
    """Part the names of folders that are a split and a class each: trainA, testA, trainB, testB.

    Nothing is below them, and each class has the same splits. Also returns what was taken.
    """
    below = folders_below(places)
    named = {top: split_and_rest(top) for top in below}
    splits: dict[str, set[str]] = defaultdict(set)
    for split, rest in named.values():
        splits[rest].add(split)
    first = next(iter(splits.values()), set())
    alike = len(splits) > 1 and all(each == first for each in splits.values())
    if not alike or "train" not in first or len(first) < 2 or any(below.values()):
        return places, ""
    unsure = any(not rest or is_no_class(rest) or is_version_folder(rest) for rest in splits)
    if unsure or all(map(str.isdecimal, splits)):
        return places, ""
    return [
        place._replace(dirs=named[place.dirs[0]] if place.dirs else ()) for place in places
    ], "the folders, each named after a split and a class"


def split_folders(
    places: list[Place], names: list[str], visible: list[list[str]]
) -> tuple[dict[str, str], str]:
    """Find the folders that are splits: folder → split; or a refusal."""
    families: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name in dict.fromkeys([*names, *(v[0] for v in visible if v)]):
        if found := split_word(name):
            families[found[1]][name] = found[0]
    exact = {name: split for name, split in families[()].items() if name.lower() in SPLITS}
    holding = {p.dirs[0] for p in places if len(p.dirs) > 1} | {v[0] for v in visible if v[1:]}
    for family in families.values():
        splits = {split for name, split in family.items() if name in holding}
        if "train" in splits and len(set(family.values())) > 1:
            return family | _more_tests(places, family, families), ""
    if joined := _joined_families(places, families):
        return joined
    for family in families.values():
        if {"val", "test"} <= {split for name, split in family.items() if name in holding}:
            return family | _more_tests(places, family, families), ""
    train = [name for name, split in exact.items() if split == "train" and name in holding]
    beside = [name for name in names if name not in exact]
    if train:
        others = {p.dirs[1] for p in places if len(p.dirs) > 1 and p.dirs[0] in beside}
        own = {p.dirs[1] for p in places if len(p.dirs) > 1 and p.dirs[0] in train}
        if beside and set(beside) <= holding and others and not others & own:
            return {}, (
                f"{train[0]}/ can be a split, or a class beside {first_names(beside)}: name the "
                "level of the class folders with --class-level"
            )
        return exact, ""
    if exact and len(exact) == len(names):
        return {}, (
            "expected train/ with a folder a class in it, "
            f"found only {first_names(sorted(exact))} without such folders"
        )
    flat = _flat_splits(places, families)
    if flat and not holding & set(flat):
        return {}, (
            f"{first_names(sorted(flat))} are parts of the set, without a folder a class in them: "
            "put each image into a folder of its class, or name a table with --labels"
        )
    return {}, ""


def _flat_splits(
    places: list[Place], families: dict[tuple[str, ...], dict[str, str]]
) -> dict[str, str]:
    """Return those folders with images that are parts of a set, be there others beside train."""
    full = {place.dirs[0] for place in places if place.dirs}
    for rest, family in families.items():
        held = {name: split for name, split in family.items() if name in full or not full}
        parts = CONTAINERS.issuperset(rest) and "train" in held.values()
        if len(held) > 1 and (held.keys() >= full or (parts and len({*held.values()}) > 1)):
            return held
    return {}


def _joined_families(
    places: list[Place], families: dict[tuple[str, ...], dict[str, str]]
) -> tuple[dict[str, str], str] | None:
    """Find splits of unlike names that hold the same classes: train_mini beside val.

    A folder whose name that of its test folder repeats is what is learnt from: rps, rps-test-set.
    Returns None for none of these, and a refusal where several could be the training part.
    """
    named = {name: split for family in families.values() for name, split in family.items()}
    below = folders_below(without_media(places))
    train = [name for name, split in named.items() if split == "train" and len(below[name]) > 1]
    beside = [name for name in below if name not in named] if not train else []
    if len(beside) == 1 and len(below[beside[0]]) > 1 and kind_of(below[beside[0]]) != "ids":
        train = beside
    classes = set().union(*(below[name] for name in train))
    held = {
        name: split
        for name, split in named.items()
        if split in HELD_OUT and len(below[name]) > 1 and below[name] <= classes
    }
    repeat = [{*rest} for rest, family in families.items() if family.keys() & held.keys()]
    if beside and not any(set() < {*tokens(name)} <= rest for name in train for rest in repeat):
        return None
    if not train or not held or not splits_among(classes).keys() < classes:
        return None
    rests = [rest for rest, family in families.items() if family.keys() & set(train)]
    if len(train) > 1 and not all(word.isdecimal() for rest in rests for word in rest):
        return {}, (
            f"{first_names(sorted(train))} can each be the training part beside "
            f"{first_names(sorted(held))}: leave one of them in the folder"
        )
    return dict.fromkeys(train, "train") | held, ""


def _more_tests(
    places: list[Place], family: dict[str, str], families: dict[tuple[str, ...], dict[str, str]]
) -> dict[str, str]:
    """Return the folders of another name for a test, as test_2, that hold the same classes."""
    below = folders_below(places)
    classes = set().union(*(below[name] for name in family))
    return {
        name: split
        for other in families.values()
        if other is not family
        for name, split in other.items()
        if split == "test" and len(below[name]) > 1 and below[name] <= classes
    }
