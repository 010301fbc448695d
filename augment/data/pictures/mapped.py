"""Pixels that stay in a file: sets larger than memory are mapped, and selections of them too.

The system reads a page when it is looked at and drops it when memory is short. A process that gets
such a set is sent the name of its file, not its pixels.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from augment.errors import MachineError
from augment.storage.atomic import half_written

LARGE = 512 * 2**20  # bytes; smaller sets are held in memory
BYTES_AT_ONCE = 64 * 2**20  # copied from one file to the next
ABANDONED = 24 * 3600  # seconds after which a file that was not finished belongs to no process
FOLDER = "decoded"  # in the cache of data sets


class Mapped(NamedTuple):
    """Where pixels lie: in a file of whole images, from one of them on."""

    file: Path
    shape: tuple[int, ...]  # [N, C, H, W] of the file
    start: int = 0  # first image
    n: int | None = None  # number of images; None: the rest

    def open(self) -> Tensor:
        """Map the images: [n, C, H, W] uint8. MachineError where the file is gone."""
        try:
            # private: whoever wrote to the tensor would not change the file
            pixels = torch.from_file(
                str(self.file), shared=False, size=math.prod(self.shape), dtype=torch.uint8
            )
        except RuntimeError:
            raise MachineError(
                f"{self.file} is gone or cut: run again, with a --data-dir that all machines see"
            ) from None
        stop = None if self.n is None else self.start + self.n
        return pixels.view(self.shape)[self.start : stop]


def take(images: Tensor, mapped: Mapped | None, index: Tensor) -> tuple[Tensor, Mapped | None]:
    """Select images [N, C, H, W] by index or boolean mask; large selections of mapped ones map too.

    Raises MachineError where the disk has no room.
    """
    if mapped is None:
        return images[index], None
    index = index.nonzero().flatten() if index.dtype == torch.bool else index
    n = len(index)
    if n and torch.equal(index, torch.arange(n) + index[0]):  # a run of images needs no copy
        first = int(index[0])
        return images[first : first + n], mapped._replace(start=mapped.start + first, n=n)
    each = images[0].numel()
    if n * each <= LARGE:
        return images[index], None
    digest = hashlib.sha256((index + mapped.start).numpy().tobytes()).hexdigest()[:16]
    target = Mapped(
        mapped.file.with_name(f"{mapped.file.stem}-{digest}.u8"), (n, *images.shape[1:])
    )
    if not target.file.exists():
        parts = (images[part] for part in index.split(max(1, BYTES_AT_ONCE // each)))
        write_images(target, parts)
    return target.open(), target


def first_channel(images: Tensor, mapped: Mapped) -> tuple[Tensor, Mapped]:
    """Write the first channel of mapped images [N, C, H, W] to a file: [N, 1, H, W]."""
    target = Mapped(mapped.file.with_suffix(".grey.u8"), (len(images), 1, *images.shape[2:]))
    if not target.file.exists():
        parts = images.split(max(1, BYTES_AT_ONCE // images[0].numel()))
        write_images(target, (part[:, :1] for part in parts))
    return target.open(), target


def write_images(target: Mapped, parts: Iterable[Tensor]) -> None:
    """Write images, part by part, to a file that appears when it is whole."""
    place, partial = 0, reserve(target)
    try:
        pixels = np.memmap(partial, np.uint8, "r+", shape=target.shape)
        for part in parts:
            pixels[place : place + len(part)] = part.numpy()
            place += len(part)
        pixels.flush()
        partial.replace(target.file)
    finally:
        partial.unlink(missing_ok=True)


def reserve(target: Mapped) -> Path:
    """Make a file of the size of the images, to be renamed; MachineError where there is no room."""
    partial = target.file.with_name(f".{target.file.name}.{os.getpid()}.partial")
    size = math.prod(target.shape)
    try:
        target.file.parent.mkdir(parents=True, exist_ok=True)
        for leftover in filter(half_written, target.file.parent.glob(".*.partial")):
            with contextlib.suppress(FileNotFoundError):  # another process removes them too
                if time.time() - leftover.stat().st_mtime > ABANDONED:
                    leftover.unlink()
        with partial.open("wb") as file:
            if hasattr(os, "posix_fallocate"):  # a full disk would end whoever writes to the map
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise MachineError(
            f"{target.file.parent} takes no decoded images ({error.strerror}), {size / 1e9:.1f} GB "
            "of them: give another --data-dir or a smaller --size"
        ) from None
    return partial
