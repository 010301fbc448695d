"""A run folder: locked for one run, bound to its settings; its damage is said in one sentence."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from augment.errors import MachineError, RunFolderError
from augment.storage.atomic import half_written, room_for, write_atomic

STATUS_FILE = "status.json"


def open_run(folder: Path, settings: dict[str, Any]) -> FileLock:
    """Lock a run folder for these settings: made now, or the same as those that made it.

    Raises RunFolderError if another process has it or other settings made it, MachineError if it
    cannot be written.
    """
    with room_for(folder):
        if folder.exists() and not folder.is_dir():
            raise MachineError(f"--out {folder} is a file: name a folder")
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunFolderError(
                f"{folder} is in use by another run: wait for it, or choose another --out"
            ) from None
    try:
        claim(folder, settings)
        for place in (".*.partial", "*/.*.partial"):  # of a run killed while it wrote
            for leftover in filter(half_written, folder.glob(place)):
                leftover.unlink()
    except BaseException:
        lock.release()
        raise
    return lock


def claim(folder: Path, settings: dict[str, Any]) -> None:
    """Write down the settings of an empty folder, or see that they are those that made it.

    More trials than it has are no other settings: it goes on with them.
    """
    made_by = folder / "settings.json"
    if made_by.exists():
        try:
            was = json.loads(made_by.read_text(encoding="utf-8"))
            grown = with_more_trials(was, settings)
            difference = differences(grown, settings)
        except (ValueError, AttributeError, TypeError):
            raise RunFolderError(f"{made_by} is damaged: choose another --out") from None
        if difference:
            raise RunFolderError(
                f"{folder} was made by other settings ({difference}): choose another --out"
            )
        if grown is not was:  # the table of the fewer trials is no longer that of all
            (folder / "table.md").unlink(missing_ok=True)
            write_atomic(made_by, json.dumps(settings, indent=1, sort_keys=True))
    elif any(p.name != ".lock" and not half_written(p) for p in folder.iterdir()):
        raise RunFolderError(f"{folder} holds other files: choose an empty or a new --out")
    else:
        write_atomic(made_by, json.dumps(settings, indent=1, sort_keys=True))


def with_more_trials(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The old settings with the trials of the new ones, where these have the old trials and more.

    Not in a shard, whose trials are a share of a whole.
    """
    grown = set(old.get("seeds", ())) < set(new.get("seeds", ()))
    return {**old, "seeds": new["seeds"]} if grown and "shard" not in old else old


@contextlib.contextmanager
def reading(run: Path) -> Iterator[None]:
    """RunFolderError for what files that are missing, cut or edited in a run folder raise."""
    try:
        yield
    except (
        FileNotFoundError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        SafetensorError,
    ) as error:
        why = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise RunFolderError(
            f"{run} is damaged ({why}): augment resume {run} makes again what it can, a run into "
            "another --out all of it"
        ) from error


def read_settings(file: Path) -> dict[str, Any]:
    """The recipe in a run folder's settings.json, without the hashes of its data or its shard."""
    settings = json.loads(file.read_text(encoding="utf-8"))
    return {key: value for key, value in settings.items() if key not in ("data", "shard")}


def differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    """`key: old → new` for each setting that differs."""
    keys = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
    return "; ".join(f"{k}: {old.get(k)} → {new.get(k)}" for k in keys)


def fresh_folder(parent: Path, name: str, resumable: Callable[[Path], bool]) -> Path:
    """`parent/NAME`, or with -2, -3 … behind it: the first that is new, or can be resumed."""
    stem = re.sub(r"[^\w.-]+", "_", name)[:80]
    number = 1
    while True:
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        with room_for(folder):
            parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
        if resumable(folder):
            return folder
        number += 1
