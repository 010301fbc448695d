"""Run folders and artefacts: whole or not at all, checked when read, never written by two.

An artefact is a folder named by the signature of what it depends on. It is built in a sibling
`SIG.partial` and renamed when complete, so that what exists can be trusted and what is missing is
run again.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import functools
import hashlib
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from augment.errors import AugmentError, MachineError, RunFolderError

SEAL = "seal.json"  # sha256 of each file of an artefact, written last
UNWRITABLE = (
    errno.EACCES,
    errno.EROFS,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENAMETOOLONG,
)
NEW_PANDAS = tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)  # exact, and warns if asked
TO_LAST_DIGIT: dict[str, Any] = {} if NEW_PANDAS else {"float_precision": "round_trip"}
WIDTHS = {"I64": 8, "F32": 4, "U8": 1, "BOOL": 1}  # bytes of safetensors' dtypes
RISKY = tuple("=+-@\t\r")  # a spreadsheet would run a text cell that begins so


def signature(record: dict[str, Any]) -> str:
    """16 hex digits that name a record of settings, the same on every machine."""
    text = json.dumps(record, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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


class Store:
    """The artefacts of one run folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, sig: str) -> Path:
        """Where an artefact lies once it is complete."""
        return self.root / "artefacts" / kind / sig

    def has(self, kind: str, sig: str) -> bool:
        """Whether it is complete and undamaged; a damaged one is put aside, to be made again."""
        folder = self.path(kind, sig)
        if not folder.is_dir():
            return False
        fault = damage(folder)
        if fault:
            aside = folder.with_name(f"{sig}.damaged-{time.time_ns()}")
            folder.rename(aside)
            said = f"{aside}: {fault}; this stage is made again\n"
            print(f"warning: {said}", end="", file=sys.stderr)
            with (self.root / "warnings.log").open("a", encoding="utf-8") as log:
                log.write(said)
        return not fault

    def sound(self, kind: str, sig: str) -> Path:
        """Where a complete artefact lies; RunFolderError if it is not there as it was sealed."""
        folder = self.path(kind, sig)
        if fault := damage(folder):
            raise RunFolderError(f"{folder}: {fault}; augment resume {self.root} makes it again")
        return folder

    @contextlib.contextmanager
    def making(self, kind: str, sig: str) -> Iterator[Path | None]:
        """A folder to fill; it becomes the artefact if nothing is raised, else stays to resume.

        None if it is there already. Whoever comes second waits for the first and finds it there.
        """
        if self.has(kind, sig):
            yield None
            return
        final = self.path(kind, sig)
        partial = final.with_name(f"{sig}.partial")
        with room_for(final):
            final.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(final.with_name(f"{sig}.lock"))
        with room_for(final), lock:
            if self.has(kind, sig):  # made by the one that this waited for
                Path(lock.lock_file).unlink()
                yield None
                return
            partial.mkdir(exist_ok=True)
            yield partial
            for leftover in [*partial.glob("checkpoint*"), *partial.glob(".*.partial")]:
                leftover.unlink()
            files = sorted(p for p in partial.rglob("*") if p.is_file() and p.name != SEAL)
            for file in files:
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
            seal = {p.relative_to(partial).as_posix(): file_sha(p) for p in files}
            write_atomic(partial / SEAL, json.dumps(seal, indent=1))
            partial.rename(final)
            sync_folder(final.parent)
            Path(lock.lock_file).unlink()


def damage(folder: Path) -> str | None:
    """What is wrong with an artefact: None if every file is as it was sealed."""
    try:
        seal = dict(json.loads((folder / SEAL).read_text()))
    except (OSError, ValueError, TypeError) as error:
        return f"no readable seal ({error})"
    for name, sha in seal.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if file_sha(folder / name) != sha:
            return f"{name} does not match its checksum"
    return None


def file_sha(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha(folder: Path) -> str:
    """SHA-256 of the names and contents of all files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    about = [
        (p.relative_to(folder).as_posix(), p.stat().st_size, p.stat().st_mtime_ns) for p in files
    ]
    return contents_sha(folder, tuple(about))


@functools.cache
def contents_sha(folder: Path, about: tuple[tuple[str, int, int], ...]) -> str:
    """`folder_sha` of files as they were at that time: gigabytes are read once, not every cell."""
    return signature({name: file_sha(folder / name) for name, _, _ in about})


class TensorFile:
    """A safetensors file that is filled piece by piece: it may be larger than the memory."""

    def __init__(self, path: Path, shapes: dict[str, tuple[str, tuple[int, ...]]]) -> None:
        """`shapes`: name → (safetensors dtype, shape), the widest dtypes first, as readers ask."""
        header: dict[str, Any] = {}
        end = 0
        for name, (dtype, shape) in shapes.items():
            start, end = end, end + WIDTHS[dtype] * math.prod(shape)
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        head = len(text).to_bytes(8, "little") + text
        self.places = {name: len(head) + about["data_offsets"][0] for name, about in header.items()}
        self.file = path.open("wb")
        self.file.write(head)
        self.file.truncate(len(head) + end)

    def append(self, name: str, rows: Any) -> None:
        """Write the next rows of a tensor."""
        raw = rows.contiguous().numpy().tobytes()
        self.file.seek(self.places[name])
        self.file.write(raw)
        self.places[name] += len(raw)

    def close(self) -> None:
        """What is written is on its way to the disk."""
        self.file.close()


def save_checkpoint(folder: Path, tensors: dict[str, Any], about: dict[str, Any]) -> None:
    """State of a stage in the middle; the older one goes only when this one is durable."""
    from safetensors.torch import save

    body = save(tensors, {"about": json.dumps(about)})
    digest = hashlib.sha256(body).digest()
    write_atomic(folder / "checkpoint.safetensors", digest + body)


def load_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The state and its record, or None where there is none; a damaged one is an error."""
    from safetensors.torch import load

    file = folder / "checkpoint.safetensors"
    if not file.is_file():
        return None
    body = file.read_bytes()
    if hashlib.sha256(body[32:]).digest() != body[:32]:
        raise AugmentError(f"{file} is damaged: delete it to train this stage from its start")
    size = int.from_bytes(body[32:40], "little")
    header = json.loads(body[40 : 40 + size])
    return load(body[32:]), json.loads(header["__metadata__"]["about"])


def risky(text: object) -> bool:
    """Whether a spreadsheet might run this cell, or it might be taken for a guarded one."""
    return isinstance(text, str) and text.lstrip("'").startswith(RISKY)


def unguarded(cell: Any) -> Any:
    """A text cell as it was before `write_csv` put an apostrophe before it."""
    return cell[1:] if risky(cell) and cell[0] == "'" else cell


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """A CSV whose text cells no spreadsheet runs; numbers stay numbers, to their last digit."""
    safe, returns = table.copy(), False
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = ["'" + v if risky(v) else v for v in safe[column]]
            returns = returns or any(isinstance(v, str) and "\r" in v for v in safe[column])
    # Python < 3.13 leaves a carriage return unquoted, and a reader then ends the line there
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    write_atomic(path, safe.to_csv(index=False, quoting=quoting, lineterminator="\n"))


def read_csv(path: Path, text: Iterable[str] = ()) -> pd.DataFrame:
    """What `write_csv` wrote, with the guarding apostrophes taken off the `text` columns.

    Only an empty cell is missing: a class may be called `NA` or `None`.
    """
    types = dict.fromkeys(text, str)
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""], **TO_LAST_DIGIT)
    for column in set(text) & set(table.columns):
        table[column] = [unguarded(v) for v in table[column]]
    return table
