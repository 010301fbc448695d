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
    if parts := _one_a_split(tables):
        unused = [each.name for each in tables if not each.split]
        found.notes += [f"not used: {', '.join(unused)}"] if unused else []
        return parts
    told = _labels_of(tables)
    if whole := [each for each in tables if told and _labels_of([each]) == told]:
        best = max(whole, key=lambda each: len(each.table.frame.columns))
        found.lists += [each for each in tables if each is not best]
        return [best]
    kinds = {(each.table.folder, name_without_split(each)): each for each in reversed(tables)}
    shown = list(kinds.values())[::-1] if len(kinds) > 1 else tables
    names = ", ".join(f"{each.place} ({_label_name(each)})" for each in shown[:3])
    example = shlex.quote(shown[0].place)
    raise DataError(
        f"several tables name the images: {names}: choose one with --labels, such as --labels "
        f"{example}"
    )


def _one_a_split(tables: list[NamedTable]) -> list[NamedTable]:
    """Return the tables that are named after a split, one each and train among them; or [].

    All must have the same columns of labels.
    """
    parts = [each for each in tables if each.split]
    splits = [each.split for each in parts]
    alike = len({(each.columns.label, *each.columns.one_hot) for each in tables}) == 1
    return parts if alike and "train" in splits and len(splits) == len(set(splits)) > 1 else []


def _labels_of(tables: list[NamedTable]) -> dict[str, str]:
    """Return the label of each image as tables name it; {} where one has none, or two differ.

    Also for tables of several folders, in which equal names are of other images.
    """
    told: dict[str, str] = {}
    if len({each.table.folder for each in tables}) > 1:
        return {}
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


def name_without_split(named: NamedTable) -> str:
    """Return the name of a table without the split in it: images_variant of images_variant_val."""
    word = split_word(named.table.stem)
    return " ".join(word[1]) if word else named.table.stem


def tables_beside_folders(
    root: Path, found: FoundTables, places: list[Place], index: FileIndex
) -> list[NamedTable]:
    """Choose the tables that give the labels where folders tell classes too; DataError if unsure.

    Those that say the same as the folders become lists, which add groups and splits.
    """
    several = len(found.tables) > 1 and not _one_a_split(found.tables) and _labels_of(found.tables)
    tables = found.tables if several else chosen_tables(found)  # several: the lists of three splits
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
    pairs, named_images, in_paths = label_pairs(tables, labels, index)
    one_to_one = are_one_to_one(pairs)
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


def label_pairs(
    tables: list[NamedTable], labels: dict[str, str], index: FileIndex
) -> tuple[set[tuple[str, str]], set[str], bool]:
    """Return labels of folder and table of one image each, and the images that tables name.

    And whether each label of a table is a folder on the path of its image.
    """
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
    return pairs, named_images, in_paths


def are_one_to_one(pairs: set[tuple[str, str]]) -> bool:
    """Tell whether each first label goes with one second label alone, and the other way round."""
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


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
