"""A run folder: locked for one run, bound to its settings, its damage told in one sentence."""

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
from augment.storage.atomic import half_written, write_atomic, writing

STATUS_FILE = "status.json"
LOOKS_FILE = "looks.json"
AFFORDS = "affords"  # key of settings.json: the side up to which one was chosen
NOT_OF_RECIPE = ("data", "shard", "budget", AFFORDS)  # in settings.json


def open_run(folder: Path, settings: dict[str, Any]) -> FileLock:
    """Lock a run folder for these settings: made now, or the same as those that made it.

    Raises RunFolderError if another process has it or other settings made it, MachineError if it
    cannot be written.
    """
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise MachineError(f"--out {folder} is a file: name a folder")
        folder.mkdir(parents=True, exist_ok=True)
        # held by the process, not by the file: a killed run leaves no stale lock
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunFolderError(
                f"{folder} is in use by another run: wait for it, or choose another --out"
            ) from None
    try:
        _bind_settings(folder, settings)
        for pattern in (".*.partial", "*/.*.partial"):  # of a run killed while it wrote
            for leftover in filter(half_written, folder.glob(pattern)):
                leftover.unlink()
    except BaseException:  # the caller never gets the lock, so nobody else would release it
        lock.release()
        raise
    return lock


def _bind_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings of an empty folder, or check that they are those that made it.

    More trials than it has are no other settings: it goes on with them.
    """
    file = folder / "settings.json"
    if file.exists():
        try:
            old = json.loads(file.read_text(encoding="utf-8"))
            extended = _with_more_trials(old, settings)
            difference = differences(extended, settings)
        except (ValueError, AttributeError, TypeError):
            raise RunFolderError(f"{file} is damaged: choose another --out") from None
        if difference:
            raise RunFolderError(
                f"{folder} was made by other settings ({difference}): choose another --out"
            )
        if extended is not old:  # the table of the fewer trials is no longer that of all
            (folder / "table.md").unlink(missing_ok=True)
            write_atomic(file, json.dumps(settings, indent=1, sort_keys=True))
    elif any(p.name != ".lock" and not half_written(p) for p in folder.iterdir()):
        raise RunFolderError(f"{folder} holds other files: choose an empty or a new --out")
    else:
        write_atomic(file, json.dumps(settings, indent=1, sort_keys=True))


def _with_more_trials(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the old settings, with the new trials where these are the old ones and more.

    Not in a shard, whose trials are a share of a whole.
    """
    more = set(old.get("seeds", ())) < set(new.get("seeds", ()))
    return {**old, "seeds": new["seeds"]} if more and "shard" not in old else old


@contextlib.contextmanager
def reading(run: Path) -> Iterator[None]:
    """Raise RunFolderError where files of a run folder turn out missing, cut or edited."""
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
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise RunFolderError(
            f"{run} is damaged ({reason}): augment resume {run} makes again what it can, a run "
            "into another --out all of it"
        ) from error


def count_look(folder: Path, trials: int, until: float | None = None) -> tuple[int, float | None]:
    """Record that the results of so many finished trials are looked at: (which look, `until`).

    The same number again is no new look. With `until`, trials are added until half the interval is
    so many points wide: all of them are one look, and that it was so is remembered.
    """
    file = folder / LOOKS_FILE
    try:
        kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        looks, before = [int(n) for n in kept.get("trials", ())], kept.get("until")
    except (ValueError, TypeError, AttributeError):
        raise RunFolderError(
            f"{file} is damaged: delete it, and earlier looks at this run are not counted"
        ) from None
    if until is None and trials not in looks:
        looks.append(trials)
    until = before if until is None else until
    write_atomic(file, json.dumps({"trials": looks, "until": until}))
    return len(looks) + (until is not None), until


def kept_side(folder: Path | None, usual: int) -> int | None:
    """Return the longest side that the run in a folder chose by itself, or `usual` without a run.

    None for a run of 0.3, which did not choose.
    """
    file = folder and folder / "settings.json"
    if not file or not file.is_file():
        return usual
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        return settings.get(AFFORDS, usual if "fit" in settings else None)
    except (ValueError, AttributeError):
        return usual  # `open_run` tells of the damage


def read_settings(file: Path) -> dict[str, Any]:
    """Read the recipe in a run folder's settings.json, without what else stands there."""
    settings = json.loads(file.read_text(encoding="utf-8"))
    return {key: value for key, value in settings.items() if key not in NOT_OF_RECIPE}


def differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    """List `key: old → new` for each setting that differs; empty if none does.

    A setting that an older version did not know counts as left out. The images are named where no
    setting that differs explains why they are others.
    """
    changed = {
        key for key in old.keys() | new.keys() if (old.get(key) or None) != (new.get(key) or None)
    }
    if AFFORDS in changed:  # it is the meaning of a size that is not given
        changed = changed - {AFFORDS} | {"size"}
    said = [f"{key}: {_shown(key, old)} → {_shown(key, new)}" for key in sorted(changed - {"data"})]
    if "data" in changed and not changed & {"size", "fit", "dataset"}:
        before, now = (each.get("data") or {} for each in (old, new))
        said += [
            f"other images in {name}"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name)
        ]
    return "; ".join(said)


def _shown(key: str, settings: dict[str, Any]) -> str:
    """Return a setting as the command line has it."""
    value, side = settings.get(key), settings.get(AFFORDS)
    if key == "size" and value is None:
        return f"auto ({side})" if side else "auto"
    if value in (None, [], {}, ""):
        return "not given"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def fresh_folder(parent: Path, name: str, resumable: Callable[[Path], bool]) -> Path:
    """Make `parent/NAME`, or with -2, -3 … behind it: the first that is new, or can be resumed."""
    # a data set may be a path: its slashes and spaces are no part of a folder's name
    stem = re.sub(r"[^\w.-]+", "_", name)[:80]
    number = 1
    while True:
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        with writing(folder):
            parent.mkdir(parents=True, exist_ok=True)
            # mkdir, not exists: of two runs started together each gets a folder of its own
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
        if resumable(folder):
            return folder
        number += 1
