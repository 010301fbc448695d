"""Understand a folder of images: which are its classes, splits and groups, and by what.

Nothing is opened but tables, and a few pairs of files that share a name (`twins`). Folders and
tables are read apart (`folder_layout`, `table_search`);
here it is decided which counts, and said in a sentence. What could be read two ways is refused.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from augment.data.layouts.entries import SPLITS, LeftOut, Place, SetLayout
from augment.data.layouts.file_index import FileIndex
from augment.data.layouts.folder_entries import add_facts, folder_entries, folder_facts
from augment.data.layouts.folder_layout import COPIES, FolderLayout, understand_folders
from augment.data.layouts.folder_words import splits_among
from augment.data.layouts.listing import Listing, list_files
from augment.data.layouts.reading_flags import FOLDERS, ReadingFlags
from augment.data.layouts.reading_refusals import (
    SHEETS,
    described_folders,
    unread_images,
    unread_labels,
)
from augment.data.layouts.twins import MASKS, PREVIEWS, find_twins
from augment.data.layouts.two_images import unclear_labels
from augment.data.raw import first_names, notes_on_error
from augment.data.tables.columns import Columns
from augment.data.tables.image_annotations import class_files
from augment.data.tables.image_tags import tagged_images
from augment.data.tables.label_values import class_order
from augment.data.tables.table_choice import (
    called_labels,
    chosen_tables,
    drop_labels_of_tests,
    tables_beside_folders,
)
from augment.data.tables.table_entries import add_splits_of_names, table_entries
from augment.data.tables.table_rows import NamedTable
from augment.data.tables.table_search import FoundTables, metadata_tables, named_table, other_tables
from augment.data.tables.table_siblings import with_siblings
from augment.data.tables.test_tables import add_test_images
from augment.errors import DataError, UsageError

MOST_TRIED = 8  # folders of a set that are tried by themselves


def read_layout(root: Path, flags: ReadingFlags) -> SetLayout:
    """Tell class, split and group of each image below a folder; DataError where that is not sure.

    Raises UsageError for a flag that names what is not there.
    """
    listing = list_files(root)
    try:
        return _read(root, listing, flags)
    except DataError as error:
        chosen = flags.labels or flags.class_level or flags.columns()
        if chosen or not (parts := _readable_parts(root, listing)):
            raise
        with notes_on_error(getattr(error, "__notes__", [])):
            raise DataError(f"{error}; given alone, {parts}") from None


def _readable_parts(root: Path, listing: Listing) -> str:
    """Say which folders of a set that is refused can be read by themselves, and as what; or ""."""
    folders = [PurePosixPath(path).parts[:-1] for path in listing.images]
    depth = 0  # of folders that hold all the others
    while len({each[: depth + 1] for each in folders}) == 1 and folders[0][depth:]:
        depth += 1
    tops = sorted({each[: depth + 1] for each in folders if each[depth:]})
    if not 1 < len(tops) <= MOST_TRIED:
        return ""
    found = {}
    for top in tops:
        part = "/".join(top)
        try:
            layout = _read(root / part, list_files(root / part), ReadingFlags())
        except (DataError, UsageError):
            continue
        if len(layout.classes) > 1:
            found[part] = first_names(class_order(layout.classes))
    names = [each[-1] for each in tops]
    if splits_among(names).keys() == set(names) and len(set(found.values())) < len(found):
        return ""  # a part of these would be without its test set
    return " and ".join(f"{part} is read with the classes {of}" for part, of in found.items())


def _read(root: Path, listing: Listing, flags: ReadingFlags) -> SetLayout:
    """Tell class, split and group of each image of a listing; see `read_layout`."""
    twins = find_twins(root, listing.images)
    no_pictures = {name for names in twins.left_out.values() for name in names}
    images = [path for path in listing.images if path not in no_pictures]
    folders = understand_folders(images, listing.folders, flags)
    folders.refusal = folders.refusal or (twins.refusal if flags.labels != FOLDERS else "")
    left_out: LeftOut = defaultdict(list)
    for each in (listing.left_out, twins.left_out, folders.left_out):
        for kind, names in each.items():
            left_out[kind] += names
    apart = {*left_out[MASKS], *left_out[PREVIEWS], *left_out[COPIES]}
    index = FileIndex([path for path in listing.images if path not in apart])
    places = [] if folders.refusal else folders.places
    found = _find_tables(root, listing, index, places, flags)
    try:
        layout = _decide(root, listing, folders, found, index, flags)
    except DataError as error:
        for note in [*found.notes, *left_out_notes(left_out)]:
            error.add_note(note)
        raise
    read = {entry.name for entry in layout.entries}  # a table may name what the folders left out
    for kind, names in left_out.items():
        left_out[kind] = [name for name in names if name not in read]
    for kind, names in layout.left_out.items():
        left_out[kind] += names
    layout.left_out = left_out
    layout.notes[:0] = found.notes
    return layout


def left_out_notes(left_out: LeftOut) -> list[str]:
    """Count what was left out, by kind, with the first names."""
    return [
        f"left out {kind} ({len(names)}): {first_names(names)}"
        for kind, names in left_out.items()
        if names
    ]


def _find_tables(
    root: Path, listing: Listing, index: FileIndex, places: list[Place], flags: ReadingFlags
) -> FoundTables:
    """Find the tables that may count; UsageError if a flag names a column of none."""
    if flags.labels == FOLDERS or flags.class_level:
        return FoundTables()
    if flags.labels:
        beside = other_tables(root, listing.others, index, ReadingFlags())
        return with_siblings(named_table(root, flags, index), beside, places, index)
    found = metadata_tables(root, listing.others, index, flags)
    if not found.tables:
        beside = other_tables(root, listing.others, index, flags)
        more = len(beside.tables + beside.lists) > len(found.lists)
        found = beside if more or not found.is_metadata else found
    files = (root, listing.images, listing.others)
    if not found.tables and (table := class_files(*files) or tagged_images(*files)):
        found.tables.append(NamedTable(table, Columns("file_name", "label")))
    columns = flags.columns()
    if columns and not found.tables and not found.lists:
        role, name = next(iter(columns.items()))
        raise UsageError(
            f"--{role}-column {name}: no table in {root} names images and has it: name one with "
            "--labels"
        )
    if columns and found.tables and not found.is_metadata:  # tables without the column add splits
        paths = {each.table.path for each in found.tables}
        beside = other_tables(root, listing.others, index, ReadingFlags())
        found.lists = [each for each in beside.lists if each.table.path not in paths]
    return found


def _decide(
    root: Path,
    listing: Listing,
    folders: FolderLayout,
    found: FoundTables,
    index: FileIndex,
    flags: ReadingFlags,
) -> SetLayout:
    """Choose between the folders and the tables."""
    labels = {place.path: place.label for place in folders.places}
    folders_tell = len(set(labels.values())) > 1 and not folders.refusal
    chosen = found.is_metadata or bool(flags.labels) or "label" in flags.columns()
    if folders_tell and not chosen and not flags.class_level:
        add_test_images(folders, found, index)
        labels = {place.path: place.label for place in folders.places}
    if not chosen:
        drop_labels_of_tests(found)
    if found.tables and folders_tell and not chosen:
        tables = tables_beside_folders(root, found, folders.places, index)
    else:
        tables = chosen_tables(found) if found.tables or folders_tell else called_labels(found)
    of_folders = folders_tell and not (tables or chosen or flags.class_level)
    if of_folders and (reason := unclear_labels(root, found.twofold, index, labels)):
        raise DataError(reason)
    if not tables and found.lists and folders_tell and chosen:
        tables = found.lists
    if of_folders and (reason := described_folders(found.apart, labels)):
        raise DataError(reason)
    if not listing.images and (reason := unread_images(listing)):
        raise DataError(reason)
    if not tables and (reason := unread_labels(listing, labels, folders, found, flags)):
        raise DataError(reason)
    if tables:
        layout = table_entries(root, tables, index, labels if folders_tell else {}, flags)
        if not found.is_metadata and found.lists:
            found.lists = [each for each in found.lists if each not in tables]
            paths = {entry.name for entry in layout.entries}
            add_facts(layout, folder_facts(root, found, index, paths), flags)
        add_splits_of_names(layout)
        return layout
    if found.is_metadata:
        empty = {"images that a table without rows does not name": sorted(index.images)}
        return SetLayout([], set(), defaultdict(list, empty))
    sheets = [name for name in listing.others if name.lower().endswith(SHEETS)]
    if folders.refusal or not folders.places:
        unread = f"; {first_names(sheets)} may hold the labels: save it as CSV" if sheets else ""
        if folders.refusal or (sheets and listing.images):
            refusal = folders.refusal or "no folders tell the classes"
            raise DataError(f"{root}: {refusal}{unread}")
    facts = folder_facts(root, found, index, set(labels))
    layout = folder_entries(listing, folders, facts, flags)
    if sheets:
        layout.notes.append(
            f"{first_names(sheets)} may hold labels and is not read: save it as CSV if it does"
        )
    named = sorted(name for name in layout.classes if name.lower() in SPLITS)
    if named and not flags.class_level:
        layout.notes.append(f"the folders {', '.join(named)} are taken for classes, not for splits")
    return layout
