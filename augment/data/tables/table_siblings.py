"""The tables of the other splits beside the one that --labels names: val.csv and test.csv."""

from __future__ import annotations

from dataclasses import replace

from augment.data.layouts.entries import Place
from augment.data.layouts.file_index import FileIndex
from augment.data.tables.table_choice import are_one_to_one, label_pairs, name_without_split
from augment.data.tables.table_rows import NamedTable
from augment.data.tables.table_search import FoundTables


def with_siblings(
    found: FoundTables, beside: FoundTables, places: list[Place], index: FileIndex
) -> FoundTables:
    """Add to a table of --labels that is named after a split those of the other splits.

    They lie in one folder, and their names and columns differ by the split alone, or one lacks the
    labels, which the folders then tell.
    """
    given = found.tables[0]
    place = given.table.path.resolve()
    others = [*beside.tables, *beside.lists]
    own = [each for each in others if each.split and each.table.path.resolve() == place]
    kin = tables_of_splits(own[0], others) if own else []
    more = tables_of_splits(own[0], others, labels_apart=True) if own else []
    if kin:
        found.tables = [replace(each, columns=given.columns) for each in kin]
    elif more and _folders_tell(more, places, index):
        columns = replace(given.columns, label="")
        found.tables = [replace(each, columns=columns) for each in more]
    paths = {each.table.path.resolve() for each in found.tables}
    found.lists = [
        each
        for each in beside.lists
        if each.table.path.resolve() not in paths and not (each.split and len(paths) > 1)
    ]
    return found


def _folders_tell(tables: list[NamedTable], places: list[Place], index: FileIndex) -> bool:
    """Tell whether the folders are the labels of these tables too, as far as they have some."""
    labels = {place.path: place.label for place in places}
    return len({*labels.values()}) > 1 and are_one_to_one(label_pairs(tables, labels, index)[0])


def tables_of_splits(
    one: NamedTable, others: list[NamedTable], *, labels_apart: bool = False
) -> list[NamedTable]:
    """Return the tables, one a split and train among them, that differ from one by it; or [].

    Their order may be told too: a. Training Labels, b. Testing Labels. `labels_apart`: some may
    lack the column of labels.
    """
    alike = [
        each
        for each in others
        if each.split
        and each.table.folder == one.table.folder
        and (_same_columns(each, one) or (labels_apart and _differ_by_label(each, one)))
    ]
    for family in (name_without_split, _without_order):
        kin = [each for each in alike if family(each) == family(one)]
        splits = [each.split for each in kin]
        if len(kin) > 1:
            return kin if "train" in splits and len(set(splits)) == len(splits) else []
    return []


def _same_columns(one: NamedTable, other: NamedTable) -> bool:
    """Tell whether two tables have the same columns, of the same meaning and in one order."""
    return one.columns == other.columns and [*one.table.frame] == [*other.table.frame]


def _differ_by_label(one: NamedTable, other: NamedTable) -> bool:
    """Tell whether two tables have the same columns, but for a label that one may lack."""
    differ = {*one.table.frame} ^ {*other.table.frame}
    labels = {one.columns.label, other.columns.label}
    return one.columns.file == other.columns.file and differ <= labels


def _without_order(named: NamedTable) -> str:
    """Return the name of a table without the split in it, and without a first letter or number."""
    first, _, rest = name_without_split(named).partition(" ")
    return rest if len(first) == 1 or first.isdecimal() else name_without_split(named)
