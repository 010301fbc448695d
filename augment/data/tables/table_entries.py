"""Entries from the tables that give the labels, and the sentence that says what was taken."""

from __future__ import annotations

import os
import shlex
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

from augment.data.layouts.entries import SPLITS, ImageEntry, SetLayout
from augment.data.layouts.file_index import FileIndex
from augment.data.layouts.folder_words import split_word, tokens
from augment.data.layouts.name_groups import (
    clear_groups,
    groups_by_name,
    groups_by_patient_folder,
    series_note,
)
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.raw import MAX_NAMES, first_names
from augment.data.tables.columns import first_columns
from augment.data.tables.label_values import names_beside, unread_names
from augment.data.tables.table_rows import NamedTable, Rows, read_rows
from augment.errors import DataError


def table_entries(
    root: Path,
    tables: list[NamedTable],
    index: FileIndex,
    folder_labels: dict[str, str],
    flags: ReadingFlags,
) -> SetLayout:
    """Read the images that tables name; DataError for a row without a label or an image."""
    rows = read_rows(root, tables, index, folder_labels)
    layout = SetLayout(rows.entries, set(), defaultdict(list))
    _count_unlabelled(rows, layout, tables[0].columns.one_hot, flags)
    _count_missing(rows, layout, index)
    first = tables[0].columns
    source = _label_source(tables)
    beside = _files_beside(root, tables)
    names, file = names_beside((e.label for e in rows.entries), beside, root)
    if not names and (unread := unread_names((e.label for e in rows.entries), beside, root)):
        layout.notes.append(
            f"{unread} may hold the names of the classes and is not in UTF-8: save it as UTF-8"
        )
    if names:
        layout.entries = [replace(e, label=names[e.label]) for e in layout.entries]
        source += f" with the names of {file}"
    how_split = _add_splits(layout, tables)
    how_grouped = _add_groups(layout, first.group, flags)
    layout.classes = {entry.label for entry in layout.entries}
    found = f"{len(layout.entries)} images found" + (" by name" if rows.by_name else "")
    folders = {entry.name.rpartition("/")[0] for entry in layout.entries}
    found += f" in {len(folders)} folders" if len(folders) > 1 else ""
    parts = [f"{len(layout.classes)} classes from {source}", found, how_split, how_grouped]
    layout.sentence = ", ".join(filter(None, parts))
    usual = first.file == "file_name" and first.label == "label"
    layout.plain = (
        usual
        and not rows.by_name
        and not names
        and len(tables) == 1
        and first.group in ("", "group")
        and how_split in ("", "splits from column split")
        and how_grouped in ("", "groups from column group")
    )
    _note_rest(layout, tables, index, rows)
    return layout


def _count_unlabelled(
    rows: Rows, layout: SetLayout, one_hot: list[str], flags: ReadingFlags
) -> None:
    """Raise DataError for rows without a label, unless they are to be left out.

    Those that say no of each class, in `one_hot`, may be of one more class.
    """
    if not rows.unlabelled:
        return
    where, _, name = rows.unlabelled[0].rpartition(": ")
    if not flags.skip_unlabelled:
        more = f" ({len(rows.unlabelled)} rows have none)" if len(rows.unlabelled) > 1 else ""
        if one_hot:
            raise DataError(
                f"{where}: {name} has no label{more}: what is neither of "
                f"{first_names(one_hot)} may be a class: add its column, or pass --skip-unlabelled "
                "to learn without these images"
            )
        raise DataError(f"{where}: {name} has no label{more}: add it or pass --skip-unlabelled")
    names = [each.rpartition(": ")[2] for each in rows.unlabelled]
    layout.left_out["rows without a label"] += names


def _count_missing(rows: Rows, layout: SetLayout, index: FileIndex) -> None:
    """Keep the rows whose image does not exist, with what there is instead."""
    for name, where in rows.missing[:MAX_NAMES]:
        near = index.nearest(name)
        layout.missing.append((name, f"missing; {where}" + (f"; there is {near}" if near else "")))
    layout.missing += [(name, "missing") for name, _ in rows.missing[MAX_NAMES:]]


def _label_source(tables: list[NamedTable]) -> str:
    """Say where the labels come from."""
    first, names = tables[0].columns, " and ".join(each.table.path.name for each in tables[:2])
    if len({each.table.path.name for each in tables}) == 1:
        names = tables[0].table.path.name
    if first.label:
        return f"column {first.label} of {names}"
    if first.one_hot:
        return f"the columns {first_names(first.one_hot)} of {names}"
    return f"the folders, for the images of {names}"


def _files_beside(root: Path, tables: list[NamedTable]) -> list[str]:
    """List the files beside the tables and at the top of the set, relative to it."""
    folders = dict.fromkeys([*(each.table.path.parent for each in tables), root])
    return [
        os.path.relpath(folder / name, root)
        for folder in folders
        for name in sorted(os.listdir(folder))
    ]


def _add_splits(layout: SetLayout, tables: list[NamedTable]) -> str:
    """Take the splits of the paths where no table has them; return what was taken."""
    if column := next((each.columns.split for each in tables if each.columns.split), ""):
        return f"splits from column {column}"
    if len(tables) > 1 and len({each.split for each in tables} - {""}) > 1:
        where = [each.table.folder.rstrip("/") for each in tables]
        if not all(where) or len(set(where)) < len(where):  # all in one folder
            where = [each.name for each in tables]
        return f"splits from {first_names(where)}"
    if len({entry.split for entry in layout.entries} - {"synthetic"}) == 1:  # train.csv alone
        layout.entries = [
            e if e.split == "synthetic" else replace(e, split="") for e in layout.entries
        ]
    words = [_path_split(entry.name) for entry in layout.entries]
    if any(word is None for word in words) or len({word[1] for word in words if word}) > 1:
        return ""
    splits = [word[0] for word in words if word]
    if len(set(splits)) < 2:
        return ""
    layout.entries = [
        e if e.split == "synthetic" else replace(e, split=split)
        for e, split in zip(layout.entries, splits, strict=True)
    ]
    return "splits from the folders of the images"


def _path_split(path: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the split of the first folder on a path that is named after one, and its rest.

    The number of a shard is none: train-000001, val-000000.
    """
    found = (split_word(folder) for folder in path.split("/")[:-1])
    word = next((word for word in found if word and word[0] in SPLITS.values()), None)
    return word and (word[0], tuple(w for w in word[1] if not (w.isdecimal() and len(w) > 2)))


def add_splits_of_names(layout: SetLayout) -> None:
    """Take the splits that all names of images begin with, train_1.bmp, where none is given."""
    names = [entry.path.name for entry in layout.entries]
    words = [tokens(name)[0] if name[:1].isalpha() else "" for name in names]
    splits = [SPLITS.get(word, "") for word in words]
    if any(e.split for e in layout.entries) or not all(splits) or len({*splits}) < 2:
        return
    layout.entries = [replace(e, split=s) for e, s in zip(layout.entries, splits, strict=True)]
    layout.sentence += ", splits from the names of the images"
    layout.plain = False


def _add_groups(layout: SetLayout, column: str, flags: ReadingFlags) -> str:
    """Give each entry its group, by column, flag, patient folder or clear name."""
    entries: list[ImageEntry] = layout.entries
    paths, labels = [e.name for e in entries], [e.label for e in entries]
    if flags.group_by == "none" and not flags.group_column:
        layout.entries = [replace(entry, group="") for entry in entries]
        return ""
    if column and not flags.group_by:
        return f"groups from column {column}" if any(entry.group for entry in entries) else ""
    if flags.group_by == "name":
        groups, how = groups_by_name(paths, labels)
    elif flags.group_by == "folder":
        groups, how = [path.rpartition("/")[0] for path in paths], "groups from folders"
    elif groups := groups_by_patient_folder(paths):
        how = f"groups from folders like {groups[0]}"
    elif groups := clear_groups(paths, labels):
        how = f"groups from names like {paths[0].rpartition('/')[2]}"
    else:
        splits = [entry.split for entry in entries]
        layout.notes += filter(None, [series_note(paths, labels, splits)])
        return ""
    layout.entries = [replace(e, group=g) for e, g in zip(entries, groups, strict=True)]
    return how


def _note_rest(layout: SetLayout, tables: list[NamedTable], index: FileIndex, rows: Rows) -> None:
    """Note the columns and images that were not used, and synthetic images."""
    named = {os.path.normpath(entry.name) for entry in layout.entries}
    kind = f"images that {tables[0].table.path.name} does not name"
    for each in rows.unlabelled:
        named |= set(index.find(each.rpartition(": ")[2]))
    rest = index.images - named
    for column, images in _other_pictures(tables[0], index, rest).items():
        layout.left_out[f"images of the column {column}"] += sorted(images)
        rest -= images
    layout.left_out[kind] += sorted(rest)
    unused = Counter(name for each in tables for name in each.columns.unused(each.table.frame))
    if unused:
        layout.notes.append(f"columns not used: {first_columns(list(unused))}")
    if not any(entry.group for entry in layout.entries) and (
        whose := _repeating(tables[0], len({entry.label for entry in layout.entries}))
    ):
        layout.notes.append(
            f"the column {whose} has one value for several images: pass --group-column "
            f"{shlex.quote(whose)} if it tells whose they are"
        )
    if rows.synthetic:
        layout.notes.append(f"{rows.synthetic} synthetic images are learnt from and never held out")


def _other_pictures(named: NamedTable, index: FileIndex, rest: set[str]) -> dict[str, set[str]]:
    """Find, among images that no row is of, those that other columns name: column → images."""
    found = {}
    for name in named.columns.unused(named.table.frame) if rest else ():
        cells = [*filter(None, map(str.strip, named.table.frame[name]))]
        sample = cells[:: max(1, len(cells) // 20)]
        hits = [bool(index.find(cell, named.table.folder)) for cell in sample]
        if 2 * sum(hits) > len(hits):
            images = {path for cell in cells for path in index.find(cell, named.table.folder)}
            found[name] = images & rest
    return found


def _repeating(named: NamedTable, n_classes: int) -> str:
    """Return the first unused column whose values stand for a few images each, as persons do."""
    frame = named.table.frame
    for name in named.columns.unused(frame):
        n_values = frame[name].nunique()
        if max(2 * n_classes, len(frame) / 10) < n_values <= len(frame) / 1.5:
            return name
    return ""
