"""RawDataset: the images that a reader of a folder or an .npz returns, before they are split."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from augment.data.images import pixel_hashes
from augment.data.pictures.mapped import Mapped
from augment.errors import DataError

MAX_NAMES = 3  # file names of each kind listed in a message


@dataclass
class RawDataset:
    """Images as they were read, before the split: one entry an image in every list."""

    images: Tensor  # [N, C, H, W] uint8
    labels: list[int]  # [N], indices into classes
    classes: list[str]  # those without any image among them
    splits: list[str]  # "train", "val", "test", "synthetic", or "" where none is given
    files: list[str]
    groups: list[str] | None = None  # e.g. the patient; a group never straddles a split
    notes: list[str] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)  # file, reason
    layout: str = ""  # what was taken for classes, splits and groups
    mapped: Mapped | None = None  # where the images are mapped from; None: they are in memory

    @cached_property
    def hashes(self) -> list[bytes]:
        """Hash of each image's pixels: [N]."""
        return pixel_hashes(self.images)


def first_names(names: list[str]) -> str:
    """List the first few of many names."""
    return ", ".join(names[:MAX_NAMES]) + (" …" if len(names) > MAX_NAMES else "")


@contextmanager
def notes_on_error(notes: list[str]) -> Iterator[None]:
    """Attach what was noted so far to a DataError: it is told with the error."""
    try:
        yield
    except DataError as error:
        known = getattr(error, "__notes__", [])
        for note in notes:
            if note not in known:
                error.add_note(note)
        raise
