"""Folders of images that nobody labelled, beside those of the classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from augment.data.layouts.entries import LeftOut, Place
from augment.data.layouts.folder_levels import without_media
from augment.data.layouts.folder_words import is_media_folder, split_word, tokens

UNLABELLED = ("unlabeled", "unlabelled")  # a folder of this name beside classes is none
UNKNOWN = (*UNLABELLED, "unknown", "all", "all_classes")  # one of these alone in a test folder


def without_unlabelled(
    places: list[Place], names: Collection[str], base: str, left_out: LeftOut
) -> list[Place]:
    """Leave out what is called unlabelled, or a test in the words of the classes beside it.

    `names` are the folders of the first level, in `base`.
    """
    if sum(name.lower() not in UNLABELLED for name in names) < 2:
        return places
    apart = [p for p in places if p.dirs and p.dirs[0].lower() in UNLABELLED]
    left_out["unlabelled images"] += [place.path for place in apart]
    places = [p for p in places if not (p.dirs and p.dirs[0].lower() in UNLABELLED)]
    test = _named_alike(names)
    way_out = f" (a class by --class-level {base.count('/') + 1})"
    return _without(test, places, left_out, way_out) if test else places


def without_flat_test(places: list[Place], left_out: LeftOut) -> list[Place]:
    """Leave out the images of a test set in one folder, beside a set with a folder a class.

    Where both are splits by their names, train/ and test/, the images are loose ones of test/.
    """
    below: dict[str, set[str]] = defaultdict(set)
    for place in without_media(places):
        if place.dirs:
            below[place.dirs[0]] |= {d for d in place.dirs[1:] if not is_media_folder(d)}
    named = {top: split_word(top) or ("", ()) for top in below}
    flat = [top for top in below if named[top][0] not in ("", "train") and not below[top]]
    others = [top for top in below if top not in flat]
    if not flat or not others or not all(len(below[top]) > 1 for top in others):
        return places
    families = {named[top][1] for top in others if named[top][0]}
    if families & {named[top][1] for top in flat} or len(families) > 1:
        return places
    for top in flat:
        places = _without(top, places, left_out)
    return places


def _without(test: str, places: list[Place], left_out: LeftOut, way_out: str = "") -> list[Place]:
    """Leave out a folder of the first level; `way_out` says how it would be a class."""
    kind = f"images of {test}/, taken for unlabelled{way_out}"
    left_out[kind] += [place.path for place in places if place.dirs[:1] == (test,)]
    return [place for place in places if place.dirs[:1] != (test,)]


def _named_alike(names: Collection[str]) -> str:
    """Return the folder that shares all words with the classes but one for a test, or "".

    "Test cases" beside "Normal cases" and "Benign cases".
    """
    for name in names:
        split, rest = split_word(name) or ("", ())
        others = [tokens(other) for other in names if other != name]
        alike = all(tuple(each[-len(rest) :]) == rest and len(each) > len(rest) for each in others)
        if split in ("test", "unlabelled") and rest and alike and len(others) > 1:
            return name
    return ""
