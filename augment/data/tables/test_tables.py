"""Class folders to learn from, beside a table of test images: GTSRB's GT-final_test.csv."""

from __future__ import annotations

from augment.data.layouts.entries import Place
from augment.data.layouts.file_index import FileIndex
from augment.data.layouts.folder_layout import FolderLayout
from augment.data.tables.columns import is_integer
from augment.data.tables.table_search import FoundTables


def add_test_images(folders: FolderLayout, found: FoundTables, index: FileIndex) -> None:
    """Add to the folders what a table named after test says of images outside them.

    It has the classes of the folders, also as whole numbers: 7 is the folder 00007.
    """
    classes = {place.label: place.label for place in folders.places}
    if all(map(is_integer, classes)):
        classes |= {str(int(name)): name for name in list(classes)}
    inside = {place.path for place in folders.places}
    if len(found.tables) != 1 or any(place.split == "test" for place in folders.places):
        return
    (named,) = found.tables
    if named.split != "test" or not named.columns.label:
        return
    frame, columns = named.table.frame, named.columns
    images = [index.find(cell, named.table.folder) for cell in frame[columns.file]]
    labels = [classes.get(cell.strip(), "") for cell in frame[columns.label]]
    paths = [each[0] for each in images if len(each) == 1]
    if len(paths) < len(images) or not all(labels) or inside & set(paths):
        return
    found.tables = []
    found.notes.append(f"the {len(paths)} test images are those of {named.place}")
    folders.places = [place._replace(split=place.split or "train") for place in folders.places]
    folders.places += [
        Place(path, (), label, split="test") for path, label in zip(paths, labels, strict=True)
    ]
