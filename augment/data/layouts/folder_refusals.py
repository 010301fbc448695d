"""Why folders tell no classes, in a sentence that names them and the way out; "" where they do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from augment.data.layouts.class_words import class_words
from augment.data.layouts.entries import Place
from augment.data.layouts.folder_words import (
    MORE_SPLITS,
    are_containers,
    are_long_numbers,
    are_numbered,
    is_identity,
    splits_among,
)
from augment.data.layouts.mask_words import is_no_class
from augment.data.raw import first_names


def two_readings(places: list[Place], upper: Collection[str], lower: Collection[str]) -> str:
    """Say that either level can be the classes, and which numbers the two have."""
    first = _level_of(places, upper)
    second = _level_of(places, lower, above=first)
    levels = [n for n, names in ((first, upper), (second, lower)) if _may_be_classes(names)]
    numbers = " for the first, ".join(map(str, levels)) + " for the second" * (len(levels) == 2)
    if not levels or not all(levels):
        numbers = "with the level of the class folders (1 is the first below the path given)"
    return (
        f"the folders can be read two ways, with the classes {first_names(sorted(upper))} or, "
        f"below them, {first_names(sorted(lower))}: pass --class-level {numbers}, or give the path "
        "of the folder that holds them"
    )


def classes_in_words(places: list[Place], tops: Collection[str]) -> str:
    """Say that numbered folders have words for classes, on other classes' paths too; or ""."""
    for n in range(max((len(place.dirs) for place in places), default=0)):
        names = {place.dirs[n] for place in places if len(place.dirs) > n}
        words = class_words(names)
        above = {(place.dirs[0], words.get(place.dirs[n])) for place in places if place.dirs[n:]}
        if not words or (n and len(above) <= len(tops)):  # each class has its own word
            continue
        if n and _are_conditions(
            {place.dirs[: n + 1] for place in places if place.dirs[n:]}, words
        ):
            continue
        level = _level_of(places, names)
        found = first_names(sorted(set(words.values())))
        first = _level_of(places, tops)
        other = f"{first} for the classes {first_names(sorted(tops))}, " if n and first else ""
        return (
            f"the folders {first_names(sorted(names))} have a word each that can be the class "
            f"({found}): pass --class-level {other}{level} for these words"
        )
    return ""


def _are_conditions(folders: Collection[tuple[str, ...]], words: dict[str, str]) -> bool:
    """Tell whether one number has several words, as conditions do: cam1_day and cam1_night."""
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for *above, name in folders:
        found[*above, name.lower().replace(words[name], "")].add(words[name])
    return 2 * sum(len(each) > 1 for each in found.values()) > len(found)


def unsure_classes(places: list[Place], tops: list[str]) -> str:
    """Say that folders are named after parts or patients, or differ by a number alone; or ""."""
    members: dict[str, set[str]] = defaultdict(set)
    for place in places:
        members[place.dirs[0]].add(place.split)
    # a patient or part is on one side of an official split, a class on both
    in_all_splits = all(len(splits - {""}) > 1 for splits in members.values())
    if all(map(is_identity, tops)):
        what = "are named after patients or recordings"
    elif are_containers(tops):
        what = "are named after parts of the set"
    elif are_numbered(tops) and not in_all_splits:
        what = "differ by a number alone, as patients and parts of a set do"
    elif are_long_numbers(tops) and not in_all_splits:
        what = "are numbers as patients, recordings and years have them"
    else:
        return ""
    return (
        f"the folders {first_names(tops)} {what}, and nothing tells the classes: name a table with "
        f"--labels{_confirmed(places, tops)}"
    )


def splits_in_each(places: list[Place], tops: list[str], third: Collection[str]) -> str:
    """Say that each folder holds a set with splits of its own: FOLD/train/CLASS."""
    if are_containers(tops):
        return f"{first_names(sorted(tops))} hold splits each: give the path of one of them"
    return two_readings(places, tops, third)


def splits_in_some(places: list[Place], children: dict[str, set[str]]) -> str:
    """Say that one folder holds splits and another one none: two forms of a set; or ""."""
    splits = {top: {*splits_among(names).values()} for top, names in children.items()}
    having = {top for top, found in splits.items() if "train" in found and found & {"val", "test"}}
    others = sorted(children.keys() - having)
    if not having or not others:
        return ""
    held = "test" if "test" in splits[min(having)] else "val"
    return (
        f"{min(having)}/ holds train and {held} folders and {others[0]}/ beside it does not: give "
        f"the path of one of the two{_confirmed(places, children)}"
    )


def _confirmed(places: list[Place], names: Collection[str]) -> str:
    """Offer to confirm that these folders are the classes, unless that would be refused."""
    if len(names) < 2 or not _may_be_classes(names):
        return ""
    level = _level_of(places, names) or "with their level"
    return f", or pass --class-level {level} if these are the classes"


def _may_be_classes(names: Collection[str]) -> bool:
    """Tell whether folders can be offered as classes: one alone may be called after a part."""
    splits = splits_among(names)
    tests = any(MORE_SPLITS.get(name.lower(), "train") != "train" for name in names)
    parts = len({*splits.values()}) > 1 or set(splits) == set(names) or tests
    return not parts and not all(map(is_no_class, names))


def _level_of(places: list[Place], names: Collection[str], above: int = 0) -> int:
    """Return the level of paths, from 1, at which all these folders stand; 0 if there is none."""
    folders = [place.path.split("/")[:-1] for place in places]
    for n in range(above, max(map(len, folders), default=0)):
        if set(names) <= {each[n] for each in folders if len(each) > n}:
            return n + 1
    return 0
