"""Files that are written whole or not at all, and errors of the disk in one sentence."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from augment.errors import MachineError

# of folders that are missing, write-protected, or no folders
UNWRITABLE_ERRNOS = (
    errno.EACCES,
    errno.EROFS,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENAMETOOLONG,
)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file or nothing: temporary sibling, fsync, rename, fsync the folder."""
    # a file name that is no UTF-8 reaches Python with lone surrogates
    raw = data.encode(errors="backslashreplace") if isinstance(data, str) else data
    # a sibling, so that the rename stays on one file system; by process, so that two never share it
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(path):
        try:
            with partial.open("wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:  # an interrupt too must leave no half file
            partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def half_written(path: Path) -> bool:
    """Recognise what a `write_atomic` that was killed has left."""
    return bool(re.fullmatch(r"\..+\.\d+\.partial", path.name)) and path.is_file()


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    # a rename is an entry of the folder: without this a power cut can undo it
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise MachineError, one sentence, for a full disk or a write-protected folder."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MachineError(f"no space left for {path}: make room and run again") from None
        if error.errno in UNWRITABLE_ERRNOS:
            raise MachineError(
                f"{path} cannot be written ({error.strerror}): choose another --out"
            ) from None
        raise
    except Exception as error:  # safetensors and torch wrap the system's error in their own
        if "No space left" in str(error) or "os error 28" in str(error):
            raise MachineError(f"no space left for {path}: make room and run again") from None
        raise
