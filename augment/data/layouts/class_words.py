"""Words in the names of classes: study1_positive and study2_negative, ok_batch1; No DR is no_dr.

Pure functions of names. The number must be of a patient, recording or part, or stand first.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from augment.data.layouts.folder_words import CONTAINERS, PERSONS, PLACES, RECORDINGS, split_word

_KINDS = "|".join([PERSONS, RECORDINGS, PLACES, *sorted(CONTAINERS)])
_COUNTED = rf"(?:{_KINDS})[ _\-]?(?:id|no|nr)?[ _\-]?\d+[a-z]?"
_BARE = re.compile(rf"{_COUNTED}|\d+", re.IGNORECASE)
NO_WORD, MIN_PAIRS = "(no word)", 3
_WORD = r"\D*[^\W\d_]\D*"
_LAST = re.compile(rf"(?:(?:{_COUNTED}|\d+)[ _.\-]+)+({_WORD})", re.IGNORECASE)
_FIRST = re.compile(rf"({_WORD}?)(?:[ _.\-]+{_COUNTED})+", re.IGNORECASE)
# what a recording shows of one thing, which is no class
_VIEWS = set(
    "left right l r od os front back frontal lateral side top bottom ap pa cc mlo axial coronal "
    "sagittal image images img raw mask masks".split()
)
_BETWEEN = re.compile(r"(?<=[^\W\d_])[\s_]+(?=[^\W\d_])")  # words


def as_spoken(name: str) -> str:
    """Return the name of a class without what people write in two ways: No DR, no_dr, NoDR."""
    return _BETWEEN.sub("", name.strip().casefold())


def class_words(names: Collection[str]) -> dict[str, str]:
    """Return the word of each folder's name that may be its class; {} unless words recur.

    study1_positive, study2_positive, study1_negative → positive, positive, negative; of 001 and
    001_forged, 002 and 002_forged, those without a word are a class of their own.
    """
    for pattern in (_LAST, _FIRST):
        matches = {name: pattern.fullmatch(name) for name in names}
        words = {name: m[1].lower() for name, m in matches.items() if m}
        kinds = set(words.values())
        if len(words) < len(names) or not 1 < len(kinds) < len(names):
            continue
        if kinds <= _VIEWS or any(map(split_word, kinds)):
            continue
        return words
    last = {name: found[1].lower() for name in names if (found := _LAST.fullmatch(name))}
    bare = [name for name in names if _BARE.fullmatch(name)]
    pairs = [name for name, word in last.items() if name[: -len(word)].rstrip(" _.-") in bare]
    if len(pairs) < MIN_PAIRS or len(last) + len(bare) < len(names) or len(pairs) < len(last):
        return {}
    return {} if set(last.values()) <= _VIEWS else last | dict.fromkeys(bare, NO_WORD)
