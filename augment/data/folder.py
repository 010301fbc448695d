"""A user's own images: class folders, or tables beside images. Nothing there is changed.

`read_folder(path, size)` understands the layout (`reading`), decodes the images in parallel and
returns a RawDataset. Whatever is left out is counted in its notes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from augment.data.class_shapes import class_shape_notes
from augment.data.layouts.class_level import OUTSIDE
from augment.data.layouts.entries import ImageEntry, SetLayout
from augment.data.layouts.reading import left_out_notes, read_layout
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.pictures.decode import SUFFIXES
from augment.data.pictures.framing import Framing, framing_notes
from augment.data.pictures.mapped import FOLDER
from augment.data.pictures.pages import group_stills, split_pages
from augment.data.pictures.stacking import (
    Decoded,
    conversion_notes,
    decode_all,
    note_blank,
    one_channel_if_grey,
    sizes_of,
)
from augment.data.raw import MAX_NAMES, RawDataset, first_names, notes_on_error
from augment.data.tables.label_values import class_order
from augment.errors import DataError
from augment.runtime.machine import data_dir as default_data_dir

UNREADABLE = "left out unreadable images"  # notes of what --skip-bad does
MISSING = "left out images that do not exist"
NO_FLAGS = ReadingFlags()


def read_folder(
    path: Path,
    size: Framing | int | None,
    *,
    skip_bad: bool = False,
    flags: ReadingFlags = NO_FLAGS,
    data_dir: Path | None = None,
) -> RawDataset:
    """Read a folder of images; DataError names the file at fault, and carries the notes.

    A large set is decoded into the cache of data sets.
    """
    try:
        layout = read_layout(path, flags)
    except OSError as error:
        raise DataError(
            f"{error.filename or path} cannot be read: {error.strerror or error}"
        ) from None
    said = [] if layout.plain else [layout.sentence]
    notes = [*said, *layout.notes, *left_out_notes(layout.left_out)]
    with notes_on_error(notes):
        if layout.missing and not skip_bad:
            _refuse_missing(layout)
        if not layout.entries:
            _refuse_empty(path, layout, notes)
        # a name of other bytes reaches Python with lone surrogates, and no file can hold these
        empty = layout.left_out["folders without images"]
        for name in [*layout.classes, *empty, *(entry.name for entry in layout.entries)]:
            if not _is_text(name):
                raise DataError(f"{path}: the name {name!a} is not UTF-8: rename it")
        classes = class_order(layout.classes)
        if flags.group_by != "none":
            layout.entries = group_stills(layout.entries, notes)
        entries = layout.entries
        if flags.pages == "pictures":
            entries = split_pages(entries, notes)
        sources = [(e.path, None if flags.pages == "channels" else e.page) for e in entries]
        framing = Framing.of(size)
        cache = default_data_dir(data_dir).absolute() / FOLDER  # processes have other folders
        decoded = decode_all(sources, framing, cache)
        raw = _read_entries(entries, classes, decoded, notes, skip_bad=skip_bad, pages=flags.pages)
        sizes = sizes_of(decoded.headers)
        raw.notes += framing_notes(sizes, framing, decoded.frame)
        raw.notes += class_shape_notes(sizes, raw.labels, classes, decoded.frame)
    raw.layout = layout.sentence
    if layout.missing:
        raw.bad[:0] = layout.missing
        names = [name for name, _ in layout.missing]
        raw.notes.append(f"{MISSING} ({len(names)}): {first_names(names)}")
    return raw


def _refuse_empty(path: Path, layout: SetLayout, notes: list[str]) -> NoReturn:
    """Raise DataError for a folder of which no image gets a class."""
    said = "".join(f"; {note}" for note in notes)
    if layout.left_out[OUTSIDE] and layout.sentence:  # no table that was read
        raise DataError(
            f"{path} has its images outside class folders, and a class in their names is not read: "
            f"put each into a folder of its class, or write a metadata.csv with the columns "
            f"file_name and label{said}"
        )
    raise DataError(
        f"{path} holds no images ({' '.join(SUFFIXES)}): expected one folder a class, "
        f"or a metadata.csv{said}"
    )


def _refuse_missing(layout: SetLayout) -> None:
    """Raise DataError for images that a table names and that do not exist."""
    n_all, (name, reason) = len(layout.missing) + len(layout.entries), layout.missing[0]
    raise DataError(
        f"{len(layout.missing)} of {n_all} images of the table do not exist: the first is {name} "
        f"({reason}): mend the table or pass --skip-bad"
    )


def _is_text(name: str) -> bool:
    """Return False for a file name that holds bytes of no character: no report could print it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_entries(
    entries: list[ImageEntry],
    classes: list[str],
    decoded: Decoded,
    notes: list[str],
    *,
    skip_bad: bool,
    pages: str | None,
) -> RawDataset:
    """Stack the images that could be read, at one number of channels."""
    # the headers follow the order of `entries`, so the images do too
    both = [*zip(entries, decoded.headers, strict=True)]
    bad = [(entry.name, reason) for entry, reason in both if isinstance(reason, str)]
    if bad and not skip_bad:
        listed = "; ".join(f"{name} ({reason})" for name, reason in bad[:MAX_NAMES])
        more = f" and {len(bad) - MAX_NAMES} more" if len(bad) > MAX_NAMES else ""
        raise DataError(
            f"{len(bad)} unreadable images: {listed}{more}: mend them or pass --skip-bad"
        )
    readable = [(entry, header) for entry, header in both if not isinstance(header, str)]
    if not readable:
        raise DataError(f"none of {len(bad)} images could be read, the first: {' '.join(bad[0])}")
    good_entries, headers = [entry for entry, _ in readable], [header for _, header in readable]
    images, mapped = decoded.stack(notes)
    note_blank(images, headers, [entry.name for entry in good_entries], notes)
    notes += conversion_notes(headers, "RGB" if images.shape[1] == 3 else "L", pages)
    images, mapped = one_channel_if_grey(images, mapped, notes)
    if bad:
        notes.append(f"{UNREADABLE} ({len(bad)}): {first_names([name for name, _ in bad])}")
    index = {name: k for k, name in enumerate(classes)}
    return RawDataset(
        images,
        [index[entry.label] for entry in good_entries],
        classes,
        [entry.split for entry in good_entries],
        [entry.name for entry in good_entries],
        [e.group for e in good_entries] if any(e.group for e in good_entries) else None,
        notes,
        bad,
        mapped=mapped,
    )
