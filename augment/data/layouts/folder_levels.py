"""Which level of folders is the class, and which tells whose picture it is.

Two levels are *crossed* where the same names stand below several folders: PATIENT/{0, 1},
CLASS/{train, test}. They are *nested* where each folder has names of its own: CLASS/VIDEO.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict

from augment.data.layouts.entries import SPLITS, Place, folders_below
from augment.data.layouts.folder_refusals import (
    classes_in_words,
    splits_in_each,
    splits_in_some,
    two_readings,
    unsure_classes,
)
from augment.data.layouts.folder_words import (
    MORE_SPLITS,
    are_containers,
    are_named_grades,
    is_identity,
    is_media_folder,
    is_version_folder,
    kind_of,
    tokens,
)
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.raw import first_names

NAMED_SPLITS = {name for name, split in MORE_SPLITS.items() if split in SPLITS.values()}
_NUMBERED = re.compile(r"[A-Za-z]{0,3}[-_ ]?\d+")  # P007, 8860
Reading = tuple[list[Place], str, str]  # images, what was taken for what, refusal


def read_levels(places: list[Place], flags: ReadingFlags) -> Reading:
    """Give each image, in a folder at least, its class and group, or say why that is not sure."""
    places = without_media(places)
    children = folders_below(places)
    tops = list(children)
    direct = {place.dirs[0] for place in places if len(place.dirs) == 1}
    if not tops:
        return [], "", ""
    if refusal := classes_in_words(places, tops):
        return [], "", refusal
    if direct:
        return _direct_classes(places, tops, direct, children)
    lower = set().union(*children.values())
    if lower and {name.lower() for name in lower} <= NAMED_SPLITS:
        third = {place.dirs[2] for place in places if len(place.dirs) > 2}
        if third and kind_of(third) == "words":
            return [], "", splits_in_each(places, tops, third)
        split = [
            p.below()._replace(label=p.dirs[0], split=MORE_SPLITS[p.dirs[1].lower()]).below()
            for p in places
        ]
        return (
            grouped_by_folder(split),
            f"the folders, with {first_names(sorted(lower))} below them",
            "",
        )
    if refusal := splits_in_some(places, children):
        return [], "", refusal
    if are_containers(tops):
        return _below_containers(places, tops, flags)
    return _two_levels(places, tops, children, flags)


def without_media(places: list[Place]) -> list[Place]:
    """Take folders like images/ off the paths where they are the only ones in theirs."""
    children: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for dirs in {place.dirs for place in places}:
        for n in range(len(dirs)):
            children[dirs[:n]].add(dirs[n])
        children[dirs].add("")  # an image of its own

    def kept(dirs: tuple[str, ...]) -> tuple[str, ...]:
        alone = [len(children[dirs[:n]]) == 1 for n in range(len(dirs))]
        return tuple(
            name
            for n, name in enumerate(dirs)
            if not n or not alone[n] or not (is_media_folder(name) or name == dirs[n - 1])
        )

    memo = {dirs: kept(dirs) for dirs in {place.dirs for place in places}}
    if all(kept == dirs for dirs, kept in memo.items()):
        return places
    return [place._replace(dirs=memo[place.dirs]) for place in places]


def _direct_classes(
    places: list[Place], tops: list[str], direct: set[str], children: dict[str, set[str]]
) -> Reading:
    """Read a folder a class; refuse folders that are named after parts or patients."""
    kinds = sorted(set().union(*children.values()))
    in_words = (
        len(kinds) > 1 and kind_of(kinds) == "words" and not any(map(is_version_folder, kinds))
    )
    whole = not any(place.split for place in places)
    holding = [top for top in tops if top not in direct]
    wide = [top for top in holding if len(children[top]) > 1]  # a/{cat, dog}, b/{cat, dog}, c/
    several = whole and (len(wide) > 1 or (wide and are_containers(wide)))
    if any(children[top] & set(tops) for top in holding):
        return [], "", two_readings(places, tops, kinds)
    if refusal := unsure_classes(places, tops) or splits_in_some(places, children):
        return [], "", refusal
    if in_words and several:
        return [], "", two_readings(places, tops, kinds)
    named = [place._replace(label=place.dirs[0]).below() for place in places]
    if in_words:
        named = [place.below(len(place.dirs)) for place in named]
        what = f"the folders, {first_names(kinds)} below them as kinds of a class"
        return named, f"{what} (--group-by folder if they are recordings)", ""
    grouped = grouped_by_folder(named)
    members = Counter((place.label, place.group) for place in grouped if place.group)
    return grouped, "the folders" if max(members.values(), default=0) > 1 else "", ""


def _below_containers(places: list[Place], tops: list[str], flags: ReadingFlags) -> Reading:
    """Read the level below folders like part_1; a fold stays together, as its authors meant it."""
    folds = len(tops) > 2 and all("fold" in " ".join(tokens(top)) for top in tops)
    inner, levels, refusal = read_levels([place.below() for place in places], flags)
    top_of = {place.path: place.dirs[0] for place in places}
    if folds:
        inner = [place._replace(group=top_of[place.path]) for place in inner]
    what = levels or f"the folders below {first_names(tops)}"
    return inner, what, refusal


def _two_levels(
    places: list[Place], tops: list[str], children: dict[str, set[str]], flags: ReadingFlags
) -> Reading:
    """Choose between the first level and the second, both of folders in all paths."""
    lower = set().union(*children.values())
    parents: dict[str, int] = defaultdict(int)
    for names in children.values():
        for name in names:
            parents[name] += 1
    crossed = 2 * sum(n > 1 for n in parents.values()) >= len(lower)
    upper_kind, lower_kind = kind_of(tops), kind_of(lower)
    upper = [place._replace(label=place.dirs[0]).below() for place in places]
    if flags.group_by == "folder":
        return grouped_by_folder(upper), "the folders", ""
    if len(lower) == 1:  # CLASS/SOB/…, the same for all
        return read_levels([p._replace(dirs=(p.dirs[0], *p.dirs[2:])) for p in places], flags)
    if upper_kind != "ids" and all(map(is_version_folder, lower)):
        what = f"the folders, {first_names(sorted(lower))} below them as versions of their images"
        return grouped_by_folder(upper), what, ""
    if not crossed and all(len(names) == 1 for names in children.values()):
        if all(map(is_identity, tops)):  # PATIENT/SCAN
            return [], "", unsure_classes(places, tops)
        return (
            grouped_by_folder([place.below() for place in upper]),
            "the folders",
            "",
        )  # cat/cat_images/
    if not crossed:
        # CLASS/VIDEO; folders that are patients themselves are never classes
        if lower_kind != "words" and not all(map(is_identity, tops)):
            if refusal := unsure_classes(places, tops):
                return [], "", refusal
            return grouped_by_folder(upper), "the folders", ""
        return [], "", two_readings(places, tops, lower)
    fewer_lower, fewer_upper = len(lower) < len(tops), len(tops) < len(lower)
    numbered = all(is_identity(top) or _NUMBERED.fullmatch(top) for top in tops)
    versions = _versions(places) and not numbered  # 128x128/ and 256x256/
    if upper_kind == "ids" and lower_kind != "ids" and not versions:
        return _lower(places), f"the folders below {first_names(tops)}", ""
    if upper_kind == "words" and are_named_grades(lower):  # site_a/{stage1, stage2}
        return [], "", two_readings(places, tops, lower)
    if lower_kind == "ids" and upper_kind != "ids":
        return grouped_by_folder(upper, joined=True), "the folders", ""
    if upper_kind == "grades" and lower_kind != "ids" and fewer_lower and not versions:
        return _lower(places), f"the folders below {first_names(tops)}", ""
    if lower_kind == "grades" and fewer_upper:
        return grouped_by_folder(upper, joined=True), "the folders", ""
    if upper_kind == lower_kind == "ids" and all(len(place.dirs) > 2 for place in places):
        inner, levels, refusal = read_levels([place.below() for place in places], flags)
        patient = {place.path: place.dirs[0] for place in places}
        return [p._replace(group=patient[p.path]) for p in inner], levels, refusal
    return [], "", two_readings(places, tops, lower)


def _versions(places: list[Place]) -> bool:
    """Tell whether each folder of the first level holds the same files below it as the others."""
    below: dict[str, set[str]] = defaultdict(set)
    for place in places:
        below[place.dirs[0]].add("/".join(place.path.split("/")[-len(place.dirs) :]))
    first, *others = below.values()
    return len(first) > 5 and all(first == other for other in others)


def _lower(places: list[Place]) -> list[Place]:
    """Take the second level for the classes and the first one for groups."""
    return [p._replace(label=p.dirs[1], group=p.dirs[0]).below(2) for p in places]


def without_common_folders(places: list[Place]) -> list[Place]:
    """Take off the upper folders that are the same on all paths."""
    while places and all(p.dirs for p in places) and len({p.dirs[0] for p in places}) == 1:
        places = [place.below() for place in places]
    return places


def grouped_by_folder(places: list[Place], *, joined: bool = False) -> list[Place]:
    """Take the folders below the class for groups.

    Of several levels the first that tells identities counts; versions of the same images, such as
    CLASS/output, are none. `joined`: one name below two classes
    is one group, as a person may be seen doing two things.
    """
    if any(map(is_version_folder, {d for dirs in {p.dirs for p in places} for d in dirs})):
        kept = [tuple(d for d in place.dirs if not is_version_folder(d)) for place in places]
        places = [place._replace(dirs=dirs) for place, dirs in zip(places, kept, strict=True)]
    level = 1
    deep = [place.dirs for place in places if len(place.dirs) > 1]
    for n in range(max(map(len, deep), default=0), 0, -1):
        if kind_of({dirs[n - 1] for dirs in deep if len(dirs) >= n}) == "ids":
            level = n
    found = []
    for place in places:
        below = place.dirs[level - 1 : level] if joined else place.dirs[:level]
        group = "/".join(below if joined or not below else (place.label, *below))
        found.append(place._replace(group=group) if group else place)
    return found
