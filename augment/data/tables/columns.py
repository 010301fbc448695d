"""Which column of a table names the image, its class, its group, its split."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from augment.data.layouts.file_index import FileIndex
from augment.data.layouts.folder_words import MORE_SPLITS
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.tables.label_tables import LabelTable
from augment.data.tables.one_hot import classes_beside, one_hot_columns
from augment.errors import UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd

FILE_NAMES = set(
    "filename file image imageid imagename imagepath imageindex imgid imgname img path filepath "
    "idcode id name picture photo".split()
)
LABEL_NAMES = set(
    "label labels labelname class classes classname classlabel category categories categoryname "
    "target diagnosis diagnostic dx findinglabels finding findings species disease groundtruth "
    "choice tag tags celltype variety level grade breed classid labelid categoryid pathology "
    "y".split()
)
_WHOSE = (  # the first that a table has is its group
    "group",
    "patient|subject|case|participant|person|individual|volunteer|client|donor|mouse|animal|p(?=i)",
    "lesion|specimen|slide|wsi|plant|tree|plot|wafer",
    "video|clip|session|recording|scan|sequence|seq(?=id)|series|study|exam",
)
_NUMBER = "(id|no|nr|num|number|name|index|code|key|uid)?s?"
GROUP_TIERS = [re.compile(f"({words}){_NUMBER}") for words in _WHOSE]
IDS = {"id", "uid"}  # of nobody knows what, and of a group where it repeats
# of a kind, and what may be asked instead of it: the drug that was given to two varieties
KINDS = set("species variety breed level grade".split())
RIVALS = set("treatment condition phenotype outcome malignant".split())
SPLIT_NAMES = set("split set subset partition phase usage dataset datasplit fold kfold".split())
MOST_LISTED = 8  # columns in a message
MOST_COHORTS = 20  # kinds of persons
_SAMPLE = 300  # rows that are looked at to find the column with the names of images


@dataclass
class Columns:
    """The columns of a table by role, "" where it has none."""

    file: str
    label: str = ""
    labels: list[str] = field(default_factory=list)  # all that may be the label, where not one
    one_hot: list[str] = field(default_factory=list)  # a column a class
    group: str = ""
    split: str = ""
    source: str = ""  # tells synthetic images, as in an export of `augment`

    def unused(self, frame: pd.DataFrame) -> list[str]:
        """List the columns without a role; the number of the row is none."""
        roles = {self.file, self.label, self.group, self.split, self.source, *self.one_hot}
        if "1" in frame.columns and frame["1"].nunique() == len(frame):
            roles.add("1")
        return [name for name in frame.columns if name not in roles]


def find_columns(table: LabelTable, index: FileIndex, flags: ReadingFlags) -> Columns | None:
    """Find the columns of a table, None if none names images; UsageError for an unknown flag."""
    named = {role: _named(table, name, role) for role, name in flags.columns().items()}
    file = named.get("file") or _file_column(table, index)
    if not file:
        return None
    found, frame = Columns(file), table.frame
    rest = [name for name in frame.columns if name != file]
    found.split = named.get("split", "") or _split_column(frame, rest, table.stem == "metadata")
    cohort = _cohort_column(frame, [n for n in rest if n != named.get("group")])
    rest = [name for name in rest if name != cohort]
    found.group = named.get("group", "") or _group_column(frame, rest)
    found.source = next(
        (n for n in rest if n.lower() == "source" and "synthetic" in set(frame[n])), ""
    )
    taken = {found.split, found.group, found.source}
    rest = [name for name in rest if name not in taken and plain_name(name) not in SPLIT_NAMES]
    if "x" in map(plain_name, rest):  # coordinates of a box
        rest = [name for name in rest if plain_name(name) not in ("x", "y")]
    found.label = named.get("label", "") or cohort
    if not found.label:
        found.labels = _label_columns(table, rest)
        if len(found.labels) == 1:
            found.label = found.labels[0]
        elif not found.labels:
            found.one_hot = one_hot_columns(frame, rest)
            if found.one_hot and (clean := classes_beside(frame, rest, found.one_hot)):
                found.labels, found.one_hot = clean, []
    return found


def first_columns(names: list[str]) -> str:
    """List the first of many columns."""
    more = " …" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more


def plain_name(name: str) -> str:
    """Return a column's name in lower case, without blanks and signs."""
    return re.sub(r"[\W_]+", "", name.lower())


def _named(table: LabelTable, name: str, role: str) -> str:
    """Return the column that a flag names, in any case."""
    for column in table.frame.columns:
        if column.lower() == name.strip().lower():
            return column
    if not len(table.frame.columns):
        raise UsageError(f"--{role}-column {name}: {table.path} has no columns")
    raise unknown(f"--{role}-column of {table.path}", name, table.frame.columns)


def _file_column(table: LabelTable, index: FileIndex) -> str:
    """Find the column of file names: called so, else the one whose cells name most images."""
    frame = table.frame
    for column in frame.columns:
        if column.lower() == "file_name":
            return column
    sample = frame.iloc[:: max(1, len(frame) // _SAMPLE)]
    found: dict[str, float] = {}
    for column in frame.columns:
        hits = {p for cell in sample[column] for p in index.find(cell, table.folder)[:1] if cell}
        known = plain_name(column) in FILE_NAMES
        found[column] = len(hits) + 0.5 * known
    best = max(found, key=lambda column: found[column], default="")
    return best if best and found[best] >= max(1, 0.3 * len(sample)) else ""


def is_group_name(name: str) -> bool:
    """Tell whether a column is called after whose image it is."""
    return any(tier.fullmatch(plain_name(name)) for tier in GROUP_TIERS)


def _group_column(frame: pd.DataFrame, names: list[str]) -> str:
    """Find the column that says whose image it is; of several alike the one of fewest values."""
    ids = [n for n in names if plain_name(n) in IDS]
    classes = [n for n in names if plain_name(n) in LABEL_NAMES]
    repeated = [
        n
        for n in ids
        if len(frame) / 5 <= frame[n].nunique() < len(frame)
        and not any(_one_to_one(frame, n, label) for label in classes)
    ]
    for tier in GROUP_TIERS:
        found = [name for name in names if tier.fullmatch(plain_name(name))]
        exact = [name for name in found if name.lower() == "group"]
        several = [name for name in found if frame[name].nunique() > 1]
        if exact or several:
            return (exact or sorted(several, key=lambda name: frame[name].nunique()))[0]
    return repeated[0] if repeated else ""


def _cohort_column(frame: pd.DataFrame, names: list[str]) -> str:
    """Return the column Group that tells what persons have, CN or AD, and not who they are; or "".

    Another column says who, with several persons in each group, and no column is called a label.
    """
    group = next((name for name in names if name.lower() == "group"), "")
    if not group or any(plain_name(n) in LABEL_NAMES for n in names):
        return ""
    n_groups = frame[group].nunique()
    for name in names:
        if name != group and (is_group_name(name) or plain_name(name) in IDS):
            n_persons, n_pairs = frame[name].nunique(), len(frame[[name, group]].drop_duplicates())
            if 1 < n_groups <= MOST_COHORTS and 2 * n_groups <= n_persons >= 0.9 * n_pairs:
                return group
    return ""


def _split_column(frame: pd.DataFrame, names: Iterable[str], strict: bool) -> str:
    """Find the column whose cells are words for splits; `strict`: the one called split is it.

    Of another name it must have both train and test, in any language that folders may have.
    """
    for name in names:
        if name.lower() == "split" and strict:
            return name
        cells = {cell.strip().lower() for cell in frame[name]}
        if not cells - {""} or not cells <= MORE_SPLITS.keys() | {""}:
            continue
        given = {MORE_SPLITS[cell] for cell in cells - {""}}
        if plain_name(name) in SPLIT_NAMES or {"train", "test"} <= given:
            return name
    return ""


def _label_columns(table: LabelTable, names: list[str]) -> list[str]:
    """List the columns that may be the label: one if they say the same."""
    frame = table.frame
    names = [n for n in names if not are_records(frame[n])]  # of boxes, or of a tool
    if table.headless:
        return [n for n in names if len(names) == 1 and frame[n].nunique() < max(3, len(frame))]
    for name in names:
        if name.lower() == "label" and not table.headless:
            same = [
                n for n in names if plain_name(n) in LABEL_NAMES and _one_to_one(frame, name, n)
            ]
            texts = [n for n in same if not all(map(is_integer, frame[n]))]
            return texts[:1] if all(map(is_integer, frame[name])) and texts else [name]
    known = [n for n in names if plain_name(n) in LABEL_NAMES and frame[n].nunique() > 1]
    if len(known) > 1 and all(_one_to_one(frame, known[0], other) for other in known[1:]):
        texts = [n for n in known if not all(map(is_integer, frame[n]))]
        return (texts or known)[:1]
    if len(known) == 1 and plain_name(known[0]) in KINDS:
        known += [n for n in names if plain_name(n) in RIVALS and frame[n].nunique() > 1]
    if not known and len(names) == 1 and table.stem != "metadata":
        few = 1 < frame[names[0]].nunique() <= len(frame) / 2
        known = names if few else []  # file and class
    return known


def are_records(cells: Iterable[str]) -> bool:
    """Tell whether all cells are JSON objects, one at least of which says something."""
    found = [cell.strip() for cell in cells]
    return all(c[:1] == "{" and c[-1:] == "}" for c in found) and any(len(c) > 2 for c in found)


def _one_to_one(frame: pd.DataFrame, one: str, other: str) -> bool:
    """Tell whether two columns say the same in other words."""
    pairs = frame[[one, other]].drop_duplicates()
    return len(pairs) == frame[one].nunique() == frame[other].nunique()


def is_integer(cell: str) -> bool:
    """Tell whether a cell is a whole number."""
    return re.fullmatch(r"[+-]?\d+", cell.strip()) is not None


def is_number(cell: str) -> bool:
    """Tell whether a cell is a number or empty."""
    return re.fullmatch(r"([+-]?\d*[.,]?\d+([eE][+-]?\d+)?)?", cell.strip()) is not None
