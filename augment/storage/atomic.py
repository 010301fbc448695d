"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from augment.errors import MachineError

UNWRITABLE = (
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
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with room_for(path):
        try:
            with partial.open("wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def half_written(path: Path) -> bool:
    """Whether this is what a `write_atomic` that was killed has left."""
    return bool(re.fullmatch(r"\..+\.\d+\.partial", path.name)) and path.is_file()


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Turn a full disk or a write-protected folder into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MachineError(f"no space left for {path}: make room and run again") from None
        if error.errno in UNWRITABLE:
            raise MachineError(
                f"{path} cannot be written ({error.strerror}): choose another --out"
            ) from None
        raise
    except Exception as error:  # safetensors and torch wrap the system's error in their own
        if "No space left" in str(error) or "os error 28" in str(error):
            raise MachineError(f"no space left for {path}: make room and run again") from None
        raise
