"""Find the image that a cell of a table means: by path, by name, or by name without suffix."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from augment.data.layouts.folder_words import is_identity

MIN_PART, MOST_WORDS = 4, 5  # characters, and words, of a part of a name: a UUID has 5
MOST_BYTES, SAMPLE = 20_000_000, 50  # of a file that may name images; images that are looked for
_WELL = re.compile(r"[a-p]\d{1,2}")  # of a plate, B07
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # what Label Studio puts before a name


class FileIndex:
    """The images of a set by all that a table may call them."""

    def __init__(self, images: list[str]) -> None:
        self.images = set(images)

    @cached_property
    def by_name(self) -> dict[str, list[str]]:
        """Paths by name, without folders."""
        return self._paths_by(str.lower)

    @cached_property
    def by_stem(self) -> dict[str, list[str]]:
        """Paths by name without suffix."""
        return self._paths_by(lambda name: name.rpartition(".")[0].lower())

    @cached_property
    def by_number(self) -> dict[int, list[str]]:
        """Paths by name without suffix, where all are numbers: 7 for 0007.png."""
        if not all(stem.isdecimal() and len(stem) < 20 for stem in self.by_stem):
            return {}
        numbers: dict[int, list[str]] = defaultdict(list)
        for stem, paths in self.by_stem.items():
            numbers[int(stem)] += paths
        return numbers

    @cached_property
    def by_part(self) -> dict[str, list[str]]:
        """Paths by the parts of their names that may be numbers of something, 002_S_0295 or I451.

        A part has a digit and MIN_PART characters at least, or is a well (B07); it is not the
        whole name.
        """
        found: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self.images):
            for part in _parts(path.rpartition("/")[2].rpartition(".")[0].lower()):
                found[part].append(path)
        return found

    @cached_property
    def by_folder(self) -> dict[str, list[str]]:
        """Paths by the name of each folder that they are in."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self.images):
            for name in dict.fromkeys(path.split("/")[:-1]):
                found[name.lower()].append(path)
        return found

    @cached_property
    def by_folder_part(self) -> dict[str, list[str]]:
        """Paths by parts of the names of patients' folders: TCGA-AA-3500 of TCGA-AA-3500-01Z."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, paths in self.by_folder.items():
            for part in _parts(name) if is_identity(name) else ():
                found[part] += paths
        return found

    def _paths_by(self, key: Callable[[str], str]) -> dict[str, list[str]]:
        """Group the paths, in order, by a key of their names."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self.images):
            found[key(path.rpartition("/")[2])].append(path)
        return found

    def find(self, cell: str, folder: str = "") -> list[str]:
        """List the images that a cell may mean: one, none, or several that it does not tell apart.

        `folder` is the table's own; a path in the cell is relative to it, or to anywhere.
        """
        cell = cell.strip().replace("\\", "/").removeprefix("./")
        if folder + cell in self.images:
            return [folder + cell]
        if cell in self.images:
            return [cell]
        if found := self._by_end(cell, folder):
            return found
        if "://" in cell or "%" in cell or "?d=" in cell:  # a web address, as tools export them
            cell = unquote(cell.rpartition("?d=")[2].partition("?")[0])
        path, _, name = cell.rpartition("/")
        if uploaded := _UPLOADED.fullmatch(name):
            return self._by_end(cell, "") or self._by_end(f"{path}/{uploaded[1]}", "")
        return self._by_end(cell, "")

    def _by_end(self, cell: str, folder: str) -> list[str]:
        """Find images by the end of their paths: the longest that fits one of them."""
        name = cell.rpartition("/")[2]
        low = name.lower()
        found = self.by_name.get(low) or self.by_stem.get(low) or []
        if len(found) > 1:  # that differ in capitals
            found = [p for p in found if p.rpartition("/")[2].startswith(name)] or found
        if not found and name.isdecimal():
            found = self.by_number.get(int(name), [])
        if len(found) > 1 and folder:
            found = [path for path in found if path.startswith(folder)] or found
        if len(found) > 1 and "/" in cell:
            lengths = [_shared_folders(path, cell) for path in found]
            best = max(lengths)
            found = [p for p, length in zip(found, lengths, strict=True) if length == best]
        return found

    def named_in(self, file: Path) -> bool:
        """Tell whether a text names most of the images, in quotes or at the end of a path."""
        if file.stat().st_size > MOST_BYTES:
            return False
        text = file.read_text(encoding="utf-8", errors="ignore")
        names = [path.rpartition("/")[2] for path in sorted(self.images)]
        sample = names[:: max(1, len(names) // SAMPLE)]
        named = [any(f'{sign}{name}"' in text for sign in ('"', "/")) for name in sample]
        return sum(named) > 1 and 2 * sum(named) >= len(named)

    def nearest(self, cell: str) -> str:
        """Return an image whose name resembles a cell that names none, or ""."""
        import difflib

        stem = os.path.splitext(cell.replace("\\", "/").rpartition("/")[2])[0].lower()
        if stem in self.by_stem:
            return self.by_stem[stem][0]
        near = difflib.get_close_matches(stem, list(self.by_stem)[:2000], n=1, cutoff=0.6)
        return self.by_stem[near[0]][0] if near else min(self.images, default="")


def _parts(stem: str) -> set[str]:
    """Return the runs of words in a name that may be numbers of something, but for all of it."""
    words = [word.span() for word in re.finditer(r"[^\W_]+", stem)]
    runs = [words[i : i + MOST_WORDS] for i in range(len(words))]
    spans = {stem[run[0][0] : end] for run in runs for _, end in run} - {stem}
    return {
        part
        for part in spans
        if (len(part) >= MIN_PART and any(map(str.isdigit, part))) or _WELL.fullmatch(part)
    }


def _shared_folders(path: str, cell: str) -> int:
    """Count the folders that two paths have in common, from the file upwards."""
    pairs = zip(reversed(path.split("/")[:-1]), reversed(cell.split("/")[:-1]), strict=False)
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count
