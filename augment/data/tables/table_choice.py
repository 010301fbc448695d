"""Which of several tables of a set counts: one, one a split, or none without the user's word.

A choice that could go either way is refused with the flags that make it.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from augment.data.layouts.entries import Place
from augment.data.layouts.file_index import FileIndex
from augment.data.layouts.folder_words import split_word, tokens
from augment.data.layouts.reading_flags import FOLDERS
from augment.data.raw import first_names
from augment.data.tables.one_hot import MOST_CLASSES
from augment.data.tables.table_rows import NamedTable
from augment.data.tables.table_search import FoundTables
from augment.errors import DataError

LAST_WORDS = (["label"], ["class"], ["category"], ["diagnosis"], ["species"])


def chosen_tables(found: FoundTables) -> list[NamedTable]:
    """Choose the tables that give the labels: one, or one a split; DataError where two could.

    One that repeats what all the others say counts, and they may add groups and splits.
    """
    tables = found.tables
    if len(tables) < 2:
        return tables
    families: dict[tuple[str, ...], list[NamedTable]] = defaultdict(list)
    for each in tables:
        families[each.columns.label, *each.columns.one_hot].append(each)
    if len(families) == 1:
        parts = [each for each in tables if each.split]
        splits = [each.split for each in parts]
        if "train" in splits and len(splits) == len(set(splits)) > 1:
            unused = [each.name for each in tables if not each.split]
            found.notes += [f"not used: {', '.join(unused)}"] if unused else []
            return parts
    told = labels_of(tables)
    if whole := [each for each in tables if told and labels_of([each]) == told]:
        best = max(whole, key=lambda each: len(each.table.frame.columns))
        found.lists += [each for each in tables if each is not best]
        return [best]
    kinds = {(each.table.folder, _family(each)): each for each in reversed(tables)}
    shown = list(kinds.values())[::-1] if len(kinds) > 1 else tables
    names = ", ".join(f"{each.place} ({_label_name(each)})" for each in shown[:3])
    example = shlex.quote(shown[0].place)
    raise DataError(
        f"several tables name the images: {names}: choose one with --labels, such as --labels "
        f"{example}"
    )


def labels_of(tables: list[NamedTable]) -> dict[str, str]:
    """Return the label of each image as tables name it; {} where one has none, or two differ."""
    told: dict[str, str] = {}
    for each in tables:
        frame, columns = each.table.frame, each.columns
        if not columns.label:
            return {}
        for image, label in zip(frame[columns.file], frame[columns.label], strict=True):
            if told.setdefault(image.strip(), label.strip()) != label.strip():
                return {}
    return told


def drop_labels_of_tests(found: FoundTables) -> None:
    """Take no labels from tables of test images alone, beside one of what is to be learnt."""
    tests = {each.split for each in found.tables} <= {"val", "test"}
    if tests and any(each.split == "train" for each in found.lists):
        found.lists, found.tables = found.lists + found.tables, []


def _family(named: NamedTable) -> str:
    """Return the name of a table without the split in it: images_variant of images_variant_val."""
    word = split_word(named.table.stem)
    return " ".join(word[1]) if word else named.table.stem


def tables_beside_folders(
    root: Path, found: FoundTables, places: list[Place], index: FileIndex
) -> list[NamedTable]:
    """Choose the tables that give the labels where folders tell classes too; DataError if unsure.

    Those that say the same as the folders become lists, which add groups and splits.
    """
    several = len(found.tables) > 1 and labels_of(found.tables)  # as the lists of three splits
    tables = found.tables if several else chosen_tables(found)
    if _say_the_same(root, tables, places, index):
        found.lists += tables
        return []
    return chosen_tables(found) if several else tables


def _say_the_same(
    root: Path, tables: list[NamedTable], places: list[Place], index: FileIndex
) -> bool:
    """Tell whether folders and tables part the same images in the same way.

    Where a table repeats folders of another level, or names more images, or where no folder is in
    two splits, as those of recordings, it counts alone. Raises DataError where the two contradict
    each other.
    """
    labels = {place.path: place.label for place in places}
    pairs, named_images, in_paths = set(), set(), True
    for named in tables:
        frame, columns = named.table.frame, named.columns
        if not columns.label:
            continue
        for cell, label in zip(frame[columns.file], frame[columns.label], strict=True):
            found = index.find(cell, named.table.folder)
            named_images |= set(found)
            if len(found) == 1 and found[0] in labels:
                pairs.add((labels[found[0]], label.strip()))
                in_paths &= label.strip() in found[0].split("/")[:-1]
    one_to_one = len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    if pairs and (one_to_one or in_paths):
        return one_to_one and named_images <= labels.keys()
    in_one_split = len({(p.split, p.label) for p in places}) == len(set(labels.values()))
    to_learn = {p.path for p in places if p.split == "train"}
    if in_one_split and to_learn and to_learn < labels.keys() and to_learn <= named_images:
        return False
    first = tables[0]
    column = first.columns.label or first_names(first.columns.one_hot)
    way_out = f"pass --labels {FOLDERS}"
    if first.table.path.is_file():  # and not one of many
        way_out += f" or --labels {shlex.quote(first.place)}"
    if not pairs and named_images:
        raise DataError(
            f"{root}: {first.place} (column {column}) labels images outside the class folders, and "
            f"not with their classes ({first_names(sorted(set(labels.values())))}): give both the "
            f"same names, or {way_out}"
        )
    raise DataError(
        f"{root}: the folders ({first_names(sorted(set(labels.values())))}) and "
        f"{first.place} (column {column}) tell different classes: {way_out}"
    )


def called_labels(found: FoundTables) -> list[NamedTable]:
    """Choose the lists with one column that is called the label of something: anomaly_class.

    For a set whose folders tell no class. They are taken from the lists.
    """
    rest, told = [], []
    for each in found.lists:
        frame = each.table.frame
        few = max(MOST_CLASSES, len(frame) // 4)
        names = [n for n in each.columns.unused(frame) if tokens(n)[-1:] in LAST_WORDS]
        names = [n for n in names if 1 < frame[n].nunique() <= few]
        if each.columns.labels or len(names) != 1:
            rest.append(each)
        else:
            told.append(replace(each, columns=replace(each.columns, label=names[0])))
    found.tables, found.lists = told, rest
    return chosen_tables(found)


def with_siblings(found: FoundTables, beside: FoundTables) -> FoundTables:
    """Add to a table of --labels that is named after a split those of the other splits.

    They lie in one folder, and their names and columns differ by the split alone.
    """
    given = found.tables[0]
    place = given.table.path.resolve()
    others = [*beside.tables, *beside.lists]
    own = [each for each in others if each.split and each.table.path.resolve() == place]
    if own and (kin := tables_of_splits(own[0], others)):
        columns = given.columns
        if any(columns.label not in [*each.table.frame, ""] for each in kin):
            columns = replace(columns, label="")  # the folders tell the labels
        found.tables = [replace(each, columns=columns) for each in kin]
    paths = {each.table.path.resolve() for each in found.tables}
    found.lists = [
        each
        for each in beside.lists
        if each.table.path.resolve() not in paths and not (each.split and len(paths) > 1)
    ]
    return found


def tables_of_splits(one: NamedTable, others: list[NamedTable]) -> list[NamedTable]:
    """Return the tables, one a split and train among them, that differ from one by it; or [].

    Their order may be told too: a. Training Labels, b. Testing Labels.
    """
    alike = [
        each
        for each in others
        if each.split and each.table.folder == one.table.folder and _same_columns(each, one)
    ]
    for family in (_family, _family_without_order):
        kin = [each for each in alike if family(each) == family(one)]
        splits = [each.split for each in kin]
        if len(kin) > 1:
            return kin if "train" in splits and len(set(splits)) == len(splits) else []
    return []


def _same_columns(one: NamedTable, other: NamedTable) -> bool:
    """Tell whether two tables have the same columns, but for a label that one may lack."""
    if differ := {*one.table.frame} ^ {*other.table.frame}:
        labels = {one.columns.label, other.columns.label}
        return one.columns.file == other.columns.file and differ <= labels
    return one.columns == other.columns


def _family_without_order(named: NamedTable) -> str:
    """Return the name of a table without the split in it, and without a first letter or number."""
    first, _, rest = _family(named).partition(" ")
    return rest if len(first) == 1 or first.isdecimal() else _family(named)


def _label_name(named: NamedTable) -> str:
    """Name the columns that a table has its labels in."""
    return named.columns.label or f"{len(named.columns.one_hot)} columns"


def split_lists(found: FoundTables) -> dict[str, list[NamedTable]]:
    """Return the lists of images that are named after a split: train.txt, test_list.csv."""
    lists: dict[str, list[NamedTable]] = defaultdict(list)
    for each in found.lists:
        if each.split:
            lists[each.split].append(each)
    return lists if "test" in lists or len(lists) > 1 else {}
