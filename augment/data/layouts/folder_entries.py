"""Entries from class folders, with what tables and lists beside them add: splits and groups."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import NoReturn

from augment.data.layouts.entries import ImageEntry, LeftOut, Place, SetLayout
from augment.data.layouts.file_index import FileIndex
from augment.data.layouts.folder_layout import FolderLayout
from augment.data.layouts.listing import Listing
from augment.data.layouts.name_groups import clear_groups, groups_by_name, recordings, series_note
from augment.data.layouts.reading_flags import FOLDERS, ReadingFlags
from augment.data.raw import first_names
from augment.data.tables.columns import first_columns
from augment.data.tables.table_choice import split_lists
from augment.data.tables.table_forms import names_videos
from augment.data.tables.table_rows import NamedTable, Rows, cub_splits, read_rows
from augment.data.tables.table_search import FoundTables
from augment.errors import DataError

# what is no picture although it is told by its suffix: a folder of these is no class
NO_PICTURES = set(
    ".txt .csv .tsv .json .jsonl .xml .yaml .yml .md .pdf .xlsx .xls .html .py .ipynb .zip .log "
    ".doc .docx .parquet .ini .cfg .toml .db".split()
)


@dataclass
class FolderFacts:
    """What tables say of images whose folders tell the class, by path."""

    splits: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)  # what was taken, in words
    notes: list[str] = field(default_factory=list)
    of_clips: bool = False  # groups: of videos, of which several may be of one recording


def folder_facts(root: Path, found: FoundTables, index: FileIndex, images: set[str]) -> FolderFacts:
    """Take splits and groups from the tables and lists that name most of the images."""
    facts = FolderFacts()
    labels = dict.fromkeys(index.images, "x")  # the folders tell the class
    lists = split_lists(found)
    for split, tables in lists.items():
        for named in tables:
            facts.of_clips |= names_videos(named.table)
            for entry in _rows(root, named, index, labels).entries:
                if facts.splits.setdefault(entry.name, split) != split:
                    _refuse_lists(found, entry.name, split, facts.splits[entry.name])
                facts.groups |= {entry.name: entry.group} if entry.group else {}
    if facts.splits and "train" not in lists:
        facts.splits = dict.fromkeys(index.images, "train") | facts.splits
    if len({facts.splits[path] for path in images if path in facts.splits}) < 2:
        facts.splits = {}  # a list of images that are not labelled
    if facts.splits:
        names = [each.name for tables in lists.values() for each in tables]
        facts.sources.append(f"splits from {first_names(names)}")
    if len(facts.groups.keys() & images) < 0.9 * len(images):
        facts.groups = {}
    columns = {each.columns.group: "" for tables in lists.values() for each in tables}
    facts.sources += [f"groups from column {name}" for name in columns if name and facts.groups]
    for named in found.lists:
        if lists and named.split:
            continue
        try:
            rows = _rows(root, named, index, labels)
        except DataError as error:
            if named.table.stem == "metadata" or found.is_metadata:
                raise
            facts.notes.append(f"not used: {error}")  # each fold names all images
            continue
        covered = {entry.name for entry in rows.entries} & images
        if len(covered) < 0.9 * len(images):
            facts.notes.append(f"not used: {named.name}, which names {len(covered)} images")
            continue
        if absent := [each.rpartition(": ")[2] for each in rows.unlabelled]:
            facts.notes.append(
                f"{named.name} names {len(absent)} images that do not exist: {first_names(absent)}"
            )
        facts.groups |= {e.name: e.group for e in rows.entries if e.group}
        if named.columns.group:
            facts.sources.append(f"groups from column {named.columns.group} of {named.name}")
        if named.columns.split or rows.synthetic:
            facts.splits |= {e.name: e.split for e in rows.entries if e.split}
            facts.sources.append(f"splits from {named.name}")
        if rows.synthetic:
            facts.notes.append(
                f"{rows.synthetic} synthetic images are learnt from and never held out"
            )
        if unused := named.columns.unused(named.table.frame):
            facts.notes.append(f"columns of {named.name} not used: {first_columns(unused)}")
        if splits := cub_splits(named, rows):
            facts.splits |= splits
            facts.sources.append("splits from train_test_split.txt")
    return facts


def _refuse_lists(found: FoundTables, image: str, *splits: str) -> NoReturn:
    """Raise DataError: an image stands in the lists of two splits."""
    lists = [f"{each.table.folder}{each.name}" for each in found.lists if each.split]
    raise DataError(
        f"{image} is in the split {splits[1]} by one list and in {splits[0]} by another: several "
        f"splits lie in {first_names(sorted(lists))}: pass --labels with one list of the split to "
        f"use, or --labels {FOLDERS} for a test set held out"
    )


def _rows(root: Path, named: NamedTable, index: FileIndex, labels: dict[str, str]) -> Rows:
    """Read the rows of a table for what it says beside the label."""
    columns = replace(named.columns, label="", labels=[], one_hot=[])
    return read_rows(root, [replace(named, columns=columns)], index, labels)


def folder_entries(
    listing: Listing, folders: FolderLayout, facts: FolderFacts, flags: ReadingFlags
) -> SetLayout:
    """Make the entries of class folders: classes without an image count too."""
    places = folders.places
    left_out: LeftOut = defaultdict(list)
    if facts.splits and any(split == "test" for split in facts.splits.values()):
        left_out["images that no list names"] += [
            place.path for place in places if place.path not in facts.splits
        ]
        places = [place for place in places if place.path in facts.splits]
    groups, how = _groups(places, facts, flags)
    entries = [
        ImageEntry(
            listing.root / place.path,
            place.path,
            place.label,
            facts.splits.get(place.path, place.split),
            group,
        )
        for place, group in zip(places, groups, strict=True)
    ]
    layout = SetLayout(entries, {entry.label for entry in entries}, left_out, notes=facts.notes)
    layout.classes |= _empty_classes(listing, folders, left_out)
    left_out["files that are no images"] += _files_in_classes(listing, folders, layout.classes)
    if not how and not any(groups):
        columns = zip(*((e.name, e.label, e.split) for e in entries), strict=True)
        layout.notes += filter(None, [series_note(*map(list, columns))] if entries else [])
    splits = folders.named_splits({place.split for place in places} - {""})
    parts = [f"{len(layout.classes)} classes from {folders.levels or 'the folders'}"]
    parts += [f"below {folders.base.rstrip('/')}"] if folders.base else []
    parts += [f"splits {', '.join(splits)} from folders"] if splits and not facts.splits else []
    if how:  # of which those of a table are parts
        facts.sources = [each for each in facts.sources if not each.startswith("groups")]
    layout.sentence = ", ".join([*parts, *facts.sources, *([how] if how else [])])
    usual = set(map(str.lower, folders.parts)) <= set(folders.parts.values()) | {
        "training",
        "testing",
        "valid",
        "validation",
    }
    layout.plain = not (folders.base or folders.levels or facts.sources or how) and usual
    return layout


def add_facts(layout: SetLayout, facts: FolderFacts, flags: ReadingFlags) -> None:
    """Add what other tables tell of images whose labels stand in a table."""
    grouped = any(entry.group for entry in layout.entries) or flags.group_by
    split = any(entry.split for entry in layout.entries)
    layout.notes += facts.notes
    facts.groups = {} if grouped else facts.groups
    facts.splits = {} if split else facts.splits
    if not facts.groups and not facts.splits:
        return
    layout.entries = [
        replace(
            entry,
            split=facts.splits.get(entry.name, entry.split),
            group=facts.groups.get(entry.name, entry.group),
        )
        for entry in layout.entries
    ]
    layout.sentence = ", ".join([layout.sentence, *facts.sources])
    layout.plain = False


def _groups(places: list[Place], facts: FolderFacts, flags: ReadingFlags) -> tuple[list[str], str]:
    """Return the group of each image and what it was taken from, in words."""
    paths, labels = [place.path for place in places], [place.label for place in places]
    found = recordings([place.group for place in places])
    by_table = [facts.groups.get(path, "") for path in paths]
    n_groups = len({*by_table})
    joined = all(found) and len({*found}) < n_groups == len({*zip(by_table, found, strict=True)})
    if facts.groups and (flags.group_by or not (facts.of_clips and joined)):
        return by_table, ""
    if flags.group_by == "none":
        return [""] * len(paths), ""
    if flags.group_by == "name":
        return groups_by_name(paths, labels)
    if flags.group_by == "folder":
        parents = [path.rpartition("/")[0] for path in paths]
        return [g or p for g, p in zip(found, parents, strict=True)], "groups from folders"
    members = Counter(found)
    if shared := [group for group in members if group and members[group] > 1]:
        return found, f"groups from folders like {shared[0]}"
    if not any(found) and (found := clear_groups(paths, labels)):
        return found, f"groups from names like {paths[0].rpartition('/')[2]}"
    return found or [""] * len(paths), ""


def _class_folder(path: str, folders: FolderLayout) -> str:
    """Return the part of a path down to the folder that is a class where levels are plain."""
    depth = folders.base.count("/") + bool(folders.parts) + 1
    parts = path.split("/")
    return "/".join(parts[:depth]) if len(parts) >= depth else ""


def _files_in_classes(listing: Listing, folders: FolderLayout, classes: set[str]) -> list[str]:
    """List the files in class folders that are no images."""
    found = []
    for name in listing.others:
        folder = _class_folder(name.rpartition("/")[0], folders)
        if folder and (folders.levels or folder.rpartition("/")[2] in classes):
            found.append(name)
    return found


def _empty_classes(listing: Listing, folders: FolderLayout, left_out: LeftOut) -> set[str]:
    """Return the classes whose folders hold no image that is read.

    A folder with nothing in it, or texts and tables alone, is no class; one with unknown files is.
    """
    if folders.levels:
        return set()
    full = {
        "/".join(parts[:n])
        for parts in {tuple(path.split("/")[:-1]) for path in listing.images}
        for n in range(1, len(parts) + 1)
    }
    suffixes: dict[str, set[str]] = defaultdict(set)
    for name in listing.others:
        suffixes[_class_folder(name.rpartition("/")[0], folders)].add(PurePath(name).suffix.lower())
    found = set()
    for folder in listing.folders:
        inside = folder.startswith(folders.base) and _class_folder(folder, folders) == folder
        part = folder.removeprefix(folders.base).partition("/")[0]
        if not inside or folder in full or (folders.parts and part not in folders.parts):
            continue
        if suffixes[folder] <= NO_PICTURES:
            left_out["folders without images"].append(folder)
        else:
            found.add(folder.rpartition("/")[2])
    return found
