"""Whose picture it is, by the names of files: patient007_frame1 and patient007_frame2."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import lru_cache

from augment.data.layouts.folder_words import SUBJECT, identity_in, is_identity, series_key
from augment.data.layouts.name_tokens import (
    MIN_GROUPS,
    apart,
    are_groups,
    keys_by_whole,
    keys_by_words,
)
from augment.data.raw import first_names
from augment.errors import UsageError

MIN_INSIDE = 0.8  # share of the images that stand in a series of several
MIN_NAMED = 0.9  # share of names that must tell an identity
# the two eyes, breasts or hands of one person
_SIDED = re.compile(r"(.*\d.*?)[ _.-]+(?:left|right|l|r|od|os)(?:[ _.-]+\d+)*", re.IGNORECASE)
_FRAME = re.compile(r"(.*[^\W_].*?)[ _.\-]*(?:frame|slice)[ _.\-]*\(?\d+\)?", re.IGNORECASE)
_CLIP = re.compile(r"(.+_g\d+)_c\d+", re.IGNORECASE)  # UCF: clips that were cut from a recording


@lru_cache(maxsize=1 << 16)
def stem_of(path: str) -> str:
    """Return a file's name without folders and suffix, nor the hash of Roboflow's versions."""
    return path.rpartition("/")[2].rpartition(".")[0].partition(".rf.")[0]


def groups_by_name(paths: list[str], labels: list[str]) -> tuple[list[str], str]:
    """Group files by the identity in their names or by the words that they share; and say how.

    Raises UsageError where no two names share one.
    """
    told = _named(paths, labels)
    stems = [stem_of(path) for path in paths]
    known = set(told)
    # p01.png is of p01_2.png's group; 7.png is of none
    own = [s if s in known and not s.isdecimal() else p for s, p in zip(stems, paths, strict=True)]
    groups = [key or alone for key, alone in zip(told, own, strict=True)]
    sizes = Counter(groups).values()
    if len(set(zip(groups, stems, strict=True))) == len(sizes):  # or equal names in folders
        example = first_names([path.rpartition("/")[2] for path in paths])
        raise UsageError(
            f"--group-by name: no two names tell the same patient, part or recording ({example}): "
            "write the group of each image into a column of a table, or pass --group-by folder"
        )
    largest = max(Counter(groups).items(), key=lambda item: item[1])[0]
    of = paths[groups.index(largest)].rpartition("/")[2]
    between = f"{min(sizes)} to {max(sizes)}" if min(sizes) < max(sizes) else f"{max(sizes)}"
    how = f"groups from names ({len(sizes)} of {between} images, such as {largest} of {of})"
    return groups, how


def _named(paths: list[str], labels: list[str]) -> list[str]:
    """Return what each name shares with others of a group, "" for nothing."""
    stems = [stem_of(path) for path in paths]
    told = zip(stems, keys_by_whole(stems, labels), keys_by_words(stems, labels), strict=True)
    keys = [_subject(stem) or whole or key for stem, whole, key in told]
    rest = [i for i, key in enumerate(keys) if not key]
    for i, key in zip(
        rest, _series([stems[i] for i in rest], [labels[i] for i in rest]), strict=True
    ):
        keys[i] = key
    return keys


@lru_cache(maxsize=1 << 16)
def _subject(stem: str) -> str:
    """Return whose picture a name says it is, or ""."""
    found = SUBJECT.search(stem)
    return found[0] if found else identity_in(stem)


def _series(stems: list[str], labels: list[str]) -> list[str]:
    """Return each name up to its counter, "vid3" of vid3frame12; "" where no other name has it.

    It is one of its class alone where two classes hold the same name: these are counted anew.
    """
    keys = apart([series_key(stem) or stem for stem in stems], stems, labels)
    sizes = Counter(keys)
    return [key if sizes[key] > 1 and any(map(str.isdigit, key)) else "" for key in keys]


def groups_by_side(paths: list[str], labels: list[str]) -> list[str]:
    """Group 10_left and 10_right; [] unless nearly all names tell a side, and some both."""
    stems = [stem_of(path) for path in paths]
    sided = [_SIDED.fullmatch(stem) for stem in stems]
    if sum(map(bool, sided)) < MIN_NAMED * len(stems):
        return []
    keys = apart([m[1] if m else s for s, m in zip(stems, sided, strict=True)], stems, labels)
    pairs = sum(n > 1 for n in Counter(keys).values())
    return keys if pairs and len(set(keys)) >= MIN_GROUPS else []


def recordings(groups: list[str]) -> list[str]:
    """Join the folders of clips that were cut from one recording: v_Biking_g01_c01 and _c02."""
    found = [_CLIP.fullmatch(group) for group in groups]
    return [m[1] if m else group for group, m in zip(groups, found, strict=True)]


def _recorded(stems: list[str], labels: list[str]) -> list[str]:
    """Return what stands before a frame or slice and its number; "" where that tells no groups."""
    found = [m[1] if (m := _FRAME.fullmatch(stem)) else "" for stem in stems]
    keys = [
        key if stem else "" for key, stem in zip(apart(found, stems, labels), found, strict=True)
    ]
    return keys if are_groups(keys, labels) else [""] * len(keys)


def clear_groups(paths: list[str], labels: list[str]) -> list[str]:
    """Group by names that say patient, case, video … and a number, or where a picture was cut.

    [] where that is not clear: two pictures of a class must share an identity, since numbers that
    each class counts anew are none.
    """
    stems = [stem_of(path) for path in paths]
    ways = ([*map(_subject, stems)], keys_by_whole(stems, labels), _recorded(stems, labels))
    for found in ways:
        named = sum(map(bool, found))
        counts = Counter(zip(labels, found, strict=True))
        repeated = any(n > 1 for (_, key), n in counts.items() if key)
        if named >= MIN_NAMED * len(found) and len(set(found)) >= MIN_GROUPS and repeated:
            return found
    return groups_by_side(paths, labels)


def groups_by_patient_folder(paths: list[str]) -> list[str]:
    """Group by the first folder on each path that is named after a patient; [] if some have none.

    For images whose labels stand in a table: their folders are no classes.
    """
    known: dict[str, str] = {}
    for folder in {path.rpartition("/")[0] for path in paths}:
        known[folder] = next((each for each in folder.split("/") if is_identity(each)), "")
    found = [known[path.rpartition("/")[0]] for path in paths]
    return found if all(found) and MIN_GROUPS <= len(set(found)) < len(found) else []


def series_note(paths: list[str], labels: list[str], splits: list[str]) -> str:
    """Note names that look like series of pictures, where nothing tells whether they are; or "".

    `splits` holds the split of each image, and "" where none is given.
    """
    if len(set(labels)) < 2:
        return ""
    keys = _named(paths, labels)
    members: dict[str, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        if any(char.isdigit() for char in key.rpartition("/")[2]):
            members[key].append(i)
    stems = [stem_of(path) for path in paths]  # equal ones are of versions of one image
    series = [places for places in members.values() if len({stems[i] for i in places}) > 1]
    inside = sum(map(len, series))
    if len(series) < max(MIN_GROUPS, 2 * len(set(labels))) or inside < MIN_INSIDE * len(paths):
        return ""
    example = first_names([paths[i].rpartition("/")[2] for i in series[0]])
    tested = [{splits[i] == "test" for i in places} for places in series]
    both = sum(len(sides) > 1 for sides in tested)
    crossing = f"; {both} of these series stand in train and in test" if both else ""
    return (
        f"names look like {len(series)} series of pictures ({example}): pass --group-by name if "
        f"pictures of a series are of one patient, part or recording{crossing}"
    )
