"""Artefacts of a run folder: whole or not at all, checked when read, never written by two.

An artefact is a folder named by the signature of what it depends on. It is built in a sibling
`SIG.partial` and renamed when complete, so that what exists can be trusted and what is missing is
run again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from augment.errors import RunFolderError
from augment.storage.atomic import sync_folder, write_atomic, writing

SEAL = "seal.json"  # sha256 of each file of an artefact, written last


def signature(record: dict[str, Any]) -> str:
    """Hash a record of settings to 16 hex digits, the same on every machine."""
    # changing one character here makes every artefact on disk unknown
    text = json.dumps(record, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Store:
    """The artefacts of one run folder, in `artefacts/KIND/SIGNATURE/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, sig: str) -> Path:
        """Return where an artefact lies once it is complete."""
        return self.root / "artefacts" / kind / sig

    def has(self, kind: str, sig: str) -> bool:
        """Tell whether it is complete and undamaged; put a damaged one aside, to be made again."""
        folder = self.path(kind, sig)
        if not folder.is_dir():
            return False
        fault = find_damage(folder)
        if fault:
            # kept, not deleted: it may be the only copy of days of training
            aside = folder.with_name(f"{sig}.damaged-{time.time_ns()}")
            folder.rename(aside)
            message = f"{aside}: {fault}; this stage is made again\n"
            print(f"warning: {message}", end="", file=sys.stderr)
            with (self.root / "warnings.log").open("a", encoding="utf-8") as log:
                log.write(message)
        return not fault

    def verified_path(self, kind: str, sig: str) -> Path:
        """Return where a complete artefact lies; RunFolderError if it is not as it was sealed."""
        folder = self.path(kind, sig)
        if fault := find_damage(folder):
            raise RunFolderError(f"{folder}: {fault}; augment resume {self.root} makes it again")
        return folder

    def finished(self, kind: str) -> list[Path]:
        """List all complete artefacts of a kind."""
        folders = (self.root / "artefacts" / kind).glob("*/")
        return sorted(p for p in folders if "." not in p.name)  # .partial, .damaged, .lock

    @contextlib.contextmanager
    def making(self, kind: str, sig: str) -> Iterator[Path | None]:
        """Give a folder to fill: the artefact if nothing is raised, else it stays to resume.

        None if it is there already. Whoever comes second waits for the first and finds it there.
        """
        if self.has(kind, sig):
            yield None
            return
        final = self.path(kind, sig)
        partial = final.with_name(f"{sig}.partial")
        with writing(final):
            final.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(final.with_name(f"{sig}.lock"))
        with writing(final), lock:
            if self.has(kind, sig):  # made by the one that this waited for
                Path(lock.lock_file).unlink()
                yield None
                return
            partial.mkdir(exist_ok=True)
            yield partial
            # past here nothing was raised: what only a resumed stage needs goes
            for leftover in [*partial.glob("checkpoint*"), *partial.glob(".*.partial")]:
                leftover.unlink()
            # on the disk before the seal says so, and sealed before it has its name
            files = sorted(p for p in partial.rglob("*") if p.is_file() and p.name != SEAL)
            for file in files:
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
            seal = {p.relative_to(partial).as_posix(): file_sha(p) for p in files}
            write_atomic(partial / SEAL, json.dumps(seal, indent=1))
            partial.rename(final)
            sync_folder(final.parent)
            Path(lock.lock_file).unlink()


def find_damage(folder: Path) -> str | None:
    """Say what is wrong with an artefact: None if every file is as it was sealed."""
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
    """Hash a file by SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha(folder: Path) -> str:
    """Hash the names and contents of all files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    states = [
        (p.relative_to(folder).as_posix(), p.stat().st_size, p.stat().st_mtime_ns) for p in files
    ]
    return _contents_sha(folder, tuple(states))


@functools.cache
def _contents_sha(folder: Path, states: tuple[tuple[str, int, int], ...]) -> str:
    """Hash files of these names, sizes and times: gigabytes are read once, not every cell."""
    return signature({name: file_sha(folder / name) for name, _, _ in states})
