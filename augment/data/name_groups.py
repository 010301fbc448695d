"""Whose picture it is, by the names of files: patient007_frame1 and patient007_frame2."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

from augment.data.folder_words import identity_in, is_identity, series_key
from augment.data.raw import first_names

MIN_GROUPS = 3  # fewer are no series but two kinds of name
MIN_NAMED = 0.9  # share of names that must tell an identity
# the subject as public archives write it: OASIS, ADNI, BIDS, TCGA, LIDC-IDRI
_SUBJECT = re.compile(
    r"(?:OAS\d_\d{4}|\d{3}_S_\d{4}|sub-[a-z]*\d+[a-z]*|TCGA-[A-Z\d]{2}-[A-Z\d]{4}|LIDC-IDRI-\d{4})(?![a-z\d])"
    # NIH's malaria cells, C33P1thinF_IMG_…: the patient before the kind of smear
    r"|C\d+[A-Z]{0,2}(?:P\d+)?[A-Z]?(?=_?thi(?:n|ck))",
    re.IGNORECASE,
)
# the two eyes, breasts or hands of one person
_SIDED = re.compile(r"(.*\d.*?)[ _.-]+(?:left|right|l|r|od|os)", re.IGNORECASE)
_CLIP = re.compile(r"(.+_g\d+)_c\d+", re.IGNORECASE)  # UCF: clips that were cut from a recording


def stem_of(path: str) -> str:
    """Return a file's name without folders and suffix."""
    return path.rpartition("/")[2].rpartition(".")[0]


def groups_by_name(paths: list[str], labels: list[str]) -> list[str]:
    """Group files whose names are equal up to a counter or a side, or tell one identity."""
    known = [_subject(stem_of(path)) for path in paths]
    series = _series(paths, labels)
    return [subject or key for subject, key in zip(known, series, strict=True)]


def _subject(stem: str) -> str:
    """Return whose picture a name says it is, or ""."""
    found = _SUBJECT.match(stem)
    return found[0] if found else identity_in(stem)


def _series(paths: list[str], labels: list[str]) -> list[str]:
    """Return each name up to its side or counter.

    It is one of its class alone where two classes hold the same name: these are counted anew.
    """
    stems = [stem_of(path) for path in paths]
    sided = [_SIDED.fullmatch(stem) for stem in stems]
    keys = [m[1] if m else series_key(s) or s for s, m in zip(stems, sided, strict=True)]
    return _apart(keys, stems, labels)


def _apart(keys: list[str], stems: list[str], labels: list[str]) -> list[str]:
    """Put the class before each key of which two classes hold the same name."""
    classes: dict[str, set[str]] = defaultdict(set)
    for stem, label in zip(stems, labels, strict=True):
        classes[stem].add(label)
    anew = {key for key, stem in zip(keys, stems, strict=True) if len(classes[stem]) > 1}
    return [f"{la}/{key}" if key in anew else key for key, la in zip(keys, labels, strict=True)]


def groups_by_side(paths: list[str], labels: list[str]) -> list[str]:
    """Group 10_left and 10_right; [] unless nearly all names tell a side, and some both."""
    stems = [stem_of(path) for path in paths]
    sided = [_SIDED.fullmatch(stem) for stem in stems]
    if sum(map(bool, sided)) < MIN_NAMED * len(stems):
        return []
    keys = _apart([m[1] if m else s for s, m in zip(stems, sided, strict=True)], stems, labels)
    pairs = sum(n > 1 for n in Counter(keys).values())
    return keys if pairs and len(set(keys)) >= MIN_GROUPS else []


def recordings(groups: list[str]) -> list[str]:
    """Join the folders of clips that were cut from one recording: v_Biking_g01_c01 and _c02."""
    found = [_CLIP.fullmatch(group) for group in groups]
    return [m[1] if m else group for group, m in zip(groups, found, strict=True)]


def clear_groups(paths: list[str], labels: list[str]) -> list[str]:
    """Group by names that say patient, case, video … and a number; [] where that is not clear.

    Two pictures of a class must share an identity: numbers that each class counts anew are none.
    """
    found = [_subject(stem_of(path)) for path in paths]
    named = sum(map(bool, found))
    counts = Counter(zip(labels, found, strict=True))
    repeated = any(n > 1 for (_, key), n in counts.items() if key)
    clear = named >= MIN_NAMED * len(found) and len(set(found)) >= MIN_GROUPS and repeated
    return found if clear else groups_by_side(paths, labels)


def groups_by_patient_folder(paths: list[str]) -> list[str]:
    """Group by the first folder on each path that is named after a patient; [] if some have none.

    For images whose labels stand in a table: their folders are no classes.
    """
    known: dict[str, str] = {}
    for folder in {path.rpartition("/")[0] for path in paths}:
        known[folder] = next((each for each in folder.split("/") if is_identity(each)), "")
    found = [known[path.rpartition("/")[0]] for path in paths]
    return found if all(found) and MIN_GROUPS <= len(set(found)) < len(found) else []


def series_note(paths: list[str], labels: list[str]) -> str:
    """Note names that look like series of pictures, where nothing tells whether they are; or ""."""
    stems = [stem_of(path) for path in paths]
    keys = _apart([series_key(stem) for stem in stems], stems, labels)
    members: dict[str, list[str]] = defaultdict(list)
    for key, path in zip(keys, paths, strict=True):
        if any(char.isdigit() for char in key.rpartition("/")[2]):
            members[key].append(path)
    series = {key: files for key, files in members.items() if len(files) > 1}
    inside = sum(map(len, series.values()))
    if len(series) < max(MIN_GROUPS, 2 * len(set(labels))) or inside < 0.8 * len(paths):
        return ""
    example = first_names([path.rpartition("/")[2] for path in next(iter(series.values()))])
    return (
        f"names look like {len(series)} series of pictures ({example}): pass --group-by name if "
        "pictures of a series are of one patient, part or recording"
    )
