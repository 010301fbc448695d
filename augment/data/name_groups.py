"""Whose picture it is, by the names of files: patient007_frame1 and patient007_frame2."""

from __future__ import annotations

from collections import Counter, defaultdict

from augment.data.folder_words import identity_in, is_identity, series_key
from augment.data.raw import first_names

MIN_GROUPS = 3  # fewer are no series but two kinds of name
MIN_NAMED = 0.9  # share of names that must tell an identity


def stem_of(path: str) -> str:
    """Return a file's name without folders and suffix."""
    return path.rpartition("/")[2].rpartition(".")[0]


def groups_by_name(paths: list[str]) -> list[str]:
    """Group files whose names are equal up to a counter, or tell one identity."""
    stems = map(stem_of, paths)
    return [identity_in(stem) or series_key(stem) or stem for stem in stems]


def clear_groups(paths: list[str], labels: list[str]) -> list[str]:
    """Group by names that say patient, case, video … and a number; [] where that is not clear.

    Two pictures of a class must share an identity: numbers that each class counts anew are none.
    """
    found = [identity_in(stem_of(path)) for path in paths]
    named = sum(map(bool, found))
    counts = Counter(zip(labels, found, strict=True))
    repeated = any(n > 1 for (_, key), n in counts.items() if key)
    clear = named >= MIN_NAMED * len(found) and len(set(found)) >= MIN_GROUPS and repeated
    return found if clear else []


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
    keys = [series_key(stem_of(path)) for path in paths]
    members: dict[str, list[str]] = defaultdict(list)
    for key, path in zip(keys, paths, strict=True):
        if any(char.isdigit() for char in key):
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
