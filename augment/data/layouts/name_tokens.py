"""Which words of file names tell whose pictures they are: A01 of A01_f1_t003, 0117 of 0117_OD_2019.

Names are cut between their words alone, which blanks, points, dashes and underscores part.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

MIN_GROUPS = 3  # fewer are no series but two kinds of name
UNIQUE = 0.9  # share of names that differ in a word which is a counter or a hash
MOST_WORDS = 10  # that are looked at
PURE = 0.9  # share of groups within one class, as those of a person mostly are
_BREAK = re.compile(r"[ _.\-]+")
_NUMBER = r"[ _=\-]?-?\d+(?:\.\d+)?"
# where in a larger picture one was cut: x and y, or row and column, in any order
_AXES = [("x", "y"), ("y", "x"), ("row", "col"), ("col", "row"), ("row", "column")]
_PLACE = re.compile(
    rf"(.+?)[ _.,\-\[(]+(?:{'|'.join(f'{a}{_NUMBER}[ _.,-]+{b}' for a, b in _AXES)}){_NUMBER}"
    r"(?![a-z\d]).*",
    re.IGNORECASE,
)
Words = tuple[str, ...]


def keys_by_words(stems: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return for each name the words that it shares with others of a group; "" if none do.

    Names of one form, such as number_word_number, are judged together. Words that differ in nearly
    all names are passed over, of whatever kind. Of the rest the first run counts that has a
    number, repeats, and keeps to one class; failing that, one of letters that does; failing that,
    the first number.
    """
    keys = [""] * len(stems)
    split = [tuple(_BREAK.split(stem)) for stem in stems]
    for places in _by_form(split):
        words = [split[i] for i in places]
        names, classes = [stems[i] for i in places], [labels[i] for i in places]
        for i, key in zip(places, _best_run(words, names, classes), strict=True):
            keys[i] = key
    return keys


def _by_form(split: list[Words]) -> Iterable[list[int]]:
    """Part names by the kinds of their words; a hash, 1A11 or 9027, is of one kind."""
    for places in _alike(list(map(len, split))):
        columns = [[split[i][n] for i in places] for n in range(len(split[places[0]]))]
        kinds = [map(_kind, column) for column in columns if not _is_unique(column)]
        forms = [*zip(*kinds, strict=True)] or [()] * len(places)
        yield from ([places[k] for k in form] for form in _alike(forms))


def _alike(values: Sequence[object]) -> Iterable[list[int]]:
    """Return the places of equal values, in order."""
    found: dict[object, list[int]] = defaultdict(list)
    for i, value in enumerate(values):
        found[value].append(i)
    return found.values()


def keys_by_whole(stems: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return the picture that each one was cut from, by the place in its name; "" for none.

    slide7_x512_y0, A2F1_slide7.tif_Row_1_Col_151 and slide7 [x=512,y=0] are of slide7: words that
    differ in nearly all names are passed over.
    """
    found = {i: whole for i, stem in enumerate(stems) if (whole := _whole(stem))}
    keys = [""] * len(stems)
    cut = [*found]
    split = [_BREAK.split(whole) for whole in found.values()]
    for places in _alike(list(map(len, split))):
        columns = zip(*(split[k] for k in places), strict=True)
        kept = [column for column in columns if not _is_unique(column)]
        for k, words in zip(places, zip(*kept, strict=True), strict=bool(kept)):
            keys[cut[k]] = "-".join(words)
    if not cut:
        return keys
    told = apart(keys, stems, labels)
    return [whole if key else "" for whole, key in zip(told, keys, strict=True)]


@lru_cache(maxsize=1 << 16)
def _whole(stem: str) -> str:
    """Return what stands before a place in a name, or ""."""
    found = _PLACE.fullmatch(stem)
    return found[1] if found else ""


def _kind(word: str) -> str:
    """Tell whether a word is of digits, letters or both."""
    return "#" if word.isdecimal() else "a" if not any(map(str.isdigit, word)) else "a#"


def _best_run(words: list[Words], names: list[str], classes: list[str]) -> list[str]:
    """Choose the run of words that groups names of one form; empty ones where there is none."""
    columns = [column for column in zip(*words, strict=True) if not _is_unique(column)][:MOST_WORDS]
    class_at = next((k for k, each in enumerate(columns) if _tells(each, classes)), -1)
    first = next((k for k, each in enumerate(columns) if len(set(each)) > 1), 0)
    found: dict[str, list[str]] = {}  # by what speaks for a run, its first one
    for start in range(len(columns)):
        for end in range(start + 1, len(columns) + 1):
            run = columns[start:end]
            keys = apart(["-".join(each) for each in zip(*run, strict=True)], names, classes)
            # a number counts anew in each class, but for that of a person before the class's word
            own = [f"{c}/{k}" for c, k in zip(classes, keys, strict=True)]
            if not are_groups(keys if start < end <= class_at else own, classes):
                continue
            pure = _purity(keys, classes) >= PURE
            if not any(char.isdigit() for column in run for char in column[0]):
                found.setdefault("letters" if pure else "", keys)
            elif pure:
                return keys
            elif start <= first:
                found.setdefault("number", keys)
    return found.get("letters") or found.get("number") or [""] * len(words)


def _is_unique(column: Sequence[str]) -> bool:
    """Tell whether a word differs in nearly all names."""
    return len(set(column)) > UNIQUE * len(column)


def _tells(column: Sequence[str], classes: list[str]) -> bool:
    """Tell whether a word says the class in other words."""
    kinds = len(set(classes))
    return kinds > 1 and len(set(column)) == kinds == len(set(zip(column, classes, strict=True)))


def are_groups(keys: list[str], classes: list[str]) -> bool:
    """Tell whether keys part the names into several groups a class, most of several names."""
    sizes = Counter(keys)
    shared = sum(n for n in sizes.values() if n > 1)
    return len(sizes) >= max(MIN_GROUPS, 2 * len(set(classes))) and 2 * shared > len(keys)


def _purity(keys: list[str], classes: list[str]) -> float:
    """Return the share of groups that keep to one class."""
    pairs = len(set(zip(keys, classes, strict=True)))
    return 1.0 if len(set(classes)) == 1 else 2 - pairs / len(set(keys))


def apart(keys: list[str], names: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Put the class before each key of which two classes hold the same name: counted anew."""
    if len(set(names)) == len(names):
        return keys
    classes: dict[str, set[str]] = defaultdict(set)
    for name, label in zip(names, labels, strict=True):
        classes[name].add(label)
    anew = {key for key, name in zip(keys, names, strict=True) if len(classes[name]) > 1}
    return [f"{la}/{key}" if key in anew else key for key, la in zip(keys, labels, strict=True)]
