"""Class folders at the level of paths that the user names: --class-level."""

from __future__ import annotations

from collections import defaultdict

from augment.data.layouts.class_words import NO_WORD, class_words
from augment.data.layouts.entries import LeftOut, Place
from augment.data.layouts.folder_levels import Reading, grouped_by_folder, without_common_folders
from augment.data.layouts.folder_words import are_containers, identity_in, kind_of, splits_among
from augment.data.layouts.mask_words import is_no_class
from augment.data.layouts.unlabelled import UNLABELLED
from augment.data.raw import first_names

MOST_PARTS = 4  # of a set
OUTSIDE = "images outside class folders"


def at_level(places: list[Place], level: int, left_out: LeftOut) -> Reading:
    """Take the folder at this level of each path for the class, and what is named so for a split.

    Of study1_positive and study2_positive the class is the word. Folders of patients above the
    classes are groups. A level whose folders are named after splits or masks is refused.
    """
    inside = _class_images(places, level)
    kept = set(inside)
    left_out[OUTSIDE] += [place.path for place in places if place not in kept]
    depth = max((len(place.dirs) for place in inside), default=0)
    names = [_names_at(inside, n) for n in range(1, max(depth, level) + 1)]
    if refusal := _refused(inside, names, level):
        return [], "", refusal
    splits = [splits_among(each) for each in names]
    has_classes = any(name.lower() not in UNLABELLED for name in _names_at(inside, level))
    words = class_words(names[level - 1]) if inside else {}
    found = []
    for place in inside:
        others = [(n, d) for n, d in enumerate(place.dirs, 1) if n != level]
        given = [splits[n - 1][d] for n, d in others if d in splits[n - 1]]
        label, split = place.dirs[level - 1], "".join(given[:1])
        if split == "unlabelled" or (has_classes and label.lower() in UNLABELLED):
            left_out["unlabelled images"].append(place.path)
            continue
        rest = [d for n, d in others if n > level and d not in splits[n - 1]]
        label = words.get(label, label)
        found.append(place._replace(label=label, split=split, dirs=tuple(rest)))
    found = _without_whole_classes(grouped_by_folder(without_common_folders(found)))
    if whose := _groups_above(inside, names, level, of_words=bool(words)):
        if NO_WORD in words.values():  # 001_forged shows 001
            whose = {path: _without_word(group, words) for path, group in whose.items()}
        found = [place._replace(group=whose[place.path]) for place in found]
    what = f"the words {first_names(sorted(set(words.values())))} of " if words else ""
    apart = "" if any(splits) else _containers_above(inside, names, level)
    return found, f"{what}the folders of level {level}{apart}", ""


def _without_word(group: str, words: dict[str, str]) -> str:
    """Return the group of a folder without the word that is its class."""
    word = words.get(group.rpartition("/")[2], NO_WORD)
    return group if word == NO_WORD else group[: -len(word)].rstrip(" _.-")


def _without_whole_classes(places: list[Place]) -> list[Place]:
    """Drop a group that is all of its class, where its folder names no patient: woodland/forest."""
    groups: dict[str, set[str]] = defaultdict(set)
    for place in places:
        groups[place.label].add(place.group)
    kinds = {
        label
        for label, found in groups.items()
        if len(found) == 1 and kind_of([name.rpartition("/")[2] for name in found]) == "words"
    }
    return [place._replace(group="") if place.label in kinds else place for place in places]


def _groups_above(
    places: list[Place], names: list[set[str]], level: int, *, of_words: bool
) -> dict[str, str]:
    """Return the group of each path by the folders above its class; {} where these tell none.

    A folder that is called after a patient is one wherever it stands, another number below its
    upper folders alone. `of_words`: the folder of a class is of one recording.
    """
    if patients := [n for n in range(1, level) if _are_patients(names[n - 1])]:
        return {place.path: place.dirs[patients[0] - 1] for place in places}
    numbered = [
        n
        for n, each in enumerate(names[: level - 1], 1)
        if len(each) > 1 and kind_of(each) == "ids" and not are_containers(each)
    ]
    if not numbered and not of_words:
        return {}
    depth = numbered[-1] if numbered else level
    return {place.path: "/".join(place.dirs[:depth]) for place in places}


def _are_patients(names: set[str]) -> bool:
    """Tell whether folders are named after whose pictures they hold."""
    return len(names) > 1 and all(map(identity_in, names))


def _containers_above(places: list[Place], names: list[set[str]], level: int) -> str:
    """Say which folders above the classes hold the same classes each: one may be a test part."""
    for n in range(1, level):
        own = names[n - 1]
        below = [{p.dirs[level - 1] for p in places if p.dirs[n - 1] == name} for name in own]
        shared = set.intersection(*below) if below else set()
        if 1 < len(own) <= MOST_PARTS and len(shared) > 1 and kind_of(own) != "ids":
            return (
                f" (those of {first_names(sorted(own))} together: a test part among these must be "
                "called test)"
            )
    return ""


def _class_images(places: list[Place], level: int) -> list[Place]:
    """Return what stands in a folder of the level, without val/images/ beside train/cat/."""
    inside = [place for place in places if len(place.dirs) >= level]
    beside: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for place in inside:
        beside[place.dirs[: level - 1]].add(place.dirs[level - 1])
    alone = {parent for parent, names in beside.items() if all(map(is_no_class, names))}
    if len(alone) == len(beside):
        return inside
    return [place for place in inside if place.dirs[: level - 1] not in alone]


def _names_at(places: list[Place], level: int) -> set[str]:
    """Return the names of the folders of a level."""
    return {place.dirs[level - 1] for place in places if len(place.dirs) >= level}


def _refused(places: list[Place], names: list[set[str]], level: int) -> str:
    """Say why the folders of a level are no classes, and what the other levels are; or ""."""
    if not places:
        return ""
    own = names[level - 1]
    splits = splits_among(own)
    direct = {p.dirs[-1] for p in places if len(p.dirs) == level}
    deeper = {p.dirs[level - 1] for p in places if len(p.dirs) > level and p.dirs[level] in direct}
    if len(set(splits.values())) > 1 or set(splits) == own:
        what = f"{first_names(sorted(splits))} of level {level} are splits, not classes"
    elif all(map(is_no_class, own)):
        what = f"{first_names(sorted(own))} of level {level} are named after images or masks"
    elif holding := sorted(deeper - direct):
        return (
            f"{holding[0]}/ of level {level} holds folders of the same names as beside it: give "
            "the path of one of the two, or move it away"
        )
    else:
        return ""
    offered = []
    for n, each in enumerate(names, 1):
        classes = {d for d in each if d not in splits_among(each) and not is_no_class(d)}
        if n != level and len(classes) > 1:
            offered.append(f"{n}: {first_names(sorted(classes))}")
    way_out = (
        f"pass the level of the class folders ({'; '.join(offered)})"
        if offered
        else "name a table with --labels"
    )
    return f"the folders {what}: {way_out}"
