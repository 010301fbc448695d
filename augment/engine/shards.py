"""Shards of a sweep for several machines, and their merge into one run folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from augment.engine.finish import finish_run
from augment.engine.status import Status
from augment.errors import RunFolderError, UsageError
from augment.experiment.cells import Cell, expand
from augment.experiment.results_table import identity, read_results, write_results
from augment.experiment.synthetic_use import USE_COLUMNS
from augment.experiment.validation import make_recipe
from augment.storage.artifacts import Store
from augment.storage.atomic import write_atomic, writing
from augment.storage.run_folder import NOT_OF_RECIPE, STATUS_FILE, differences, open_run
from augment.storage.tables import read_csv, write_csv

Shard = tuple[int, int]  # number, from 1; count

KEY = ("dataset", "asked", "seed", "generator", "candidates", "arm")


def parse_shard(text: str | None) -> Shard | None:
    """Parse `2/8` to (2, 8); UsageError if it is not of that form."""
    if text is None:
        return None
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"--shard {text}: write I/N, e.g. 1/4 … 4/4")
    return int(number), int(count)


def shard_of(cells: list[Cell], shard: Shard | None) -> list[Cell]:
    """Select every n-th trial, whole: arms that are paired or share stages stay together."""
    if shard is None:
        return cells
    number, count = shard
    trials = list(dict.fromkeys(cell.trial for cell in cells))  # unique, in order
    if count > len(trials):
        raise UsageError(
            f"--shard {number}/{count}: there are {len(trials)} trials to share out; "
            f"take {len(trials)} shards at most"
        )
    selected = set(trials[number - 1 :: count])
    return [cell for cell in cells if cell.trial in selected]


def merge(folders: list[Path], out: Path, *, partial: bool = False) -> pd.DataFrame:
    """Join the run folders of shards into that of one run; return its table.

    Raises RunFolderError if the shards are of different runs or `out` holds something else,
    UsageError if one is given twice, or (unless `partial`) is missing or unfinished.
    """
    shards = [(folder, _read_shard(folder)) for folder in folders]
    settings = _common_settings(shards)
    _check_complete([tuple(recorded["shard"]) for _, recorded in shards], partial)
    cells = expand(make_recipe(**{k: v for k, v in settings.items() if k not in NOT_OF_RECIPE}))
    numbers = {_row_key(identity(cell)): number for number, cell in enumerate(cells)}
    rows: dict[int, dict[str, Any]] = {}
    for folder, recorded in shards:
        shard_rows = _finished_rows(folder, len(shard_of(cells, tuple(recorded["shard"]))), partial)
        rows |= {numbers[_row_key(row)]: row for row in shard_rows}
    versions = {row["version"] for row in rows.values()}
    if len(versions) > 1:
        raise RunFolderError(
            f"the shards were made by augment {' and '.join(sorted(versions))}: run them again "
            "with one version"
        )
    lock = open_run(out, settings)
    try:
        for folder in folders:
            _join_artefacts(folder / "artefacts", out / "artefacts")
        shutil.copyfile(folders[0] / "recipe.toml", out / "recipe.toml")
        machines = [json.loads((folder / "environment.json").read_text()) for folder in folders]
        write_atomic(out / "environment.json", json.dumps({"shards": machines}, indent=1))
        write_csv(out / "manifest.csv", _join_manifests(folders))
        notes = [read_csv(folder / "notes.csv", ("dataset", "note")) for folder in folders]
        write_csv(out / "notes.csv", pd.concat(notes).drop_duplicates())
        table = write_results(out, cells, rows)
        bad = sum(row["status"] != "ok" for row in rows.values())
        status = Status(len(cells), failed=bad, found=len(rows), ended=set(rows))
        write_atomic(out / STATUS_FILE, status.record(going=False))
        table = finish_run(out, table)
    finally:
        lock.release()
    return table


def _read_shard(folder: Path) -> dict[str, Any]:
    """Read the settings of a shard; UsageError if the folder is no shard."""
    file = folder / "settings.json"
    if not file.is_file():
        raise UsageError(f"{folder} is no run folder: it has no settings.json")
    settings = json.loads(file.read_text(encoding="utf-8"))
    if "shard" not in settings:
        raise UsageError(f"{folder} is a whole run: merge joins folders made with --shard I/N")
    return settings


def _common_settings(shards: list[tuple[Path, dict[str, Any]]]) -> dict[str, Any]:
    """Return the common settings with the data of all; RunFolderError where shards differ."""
    (first, settings), *others = shards
    data = dict(settings["data"])
    plain = {k: v for k, v in settings.items() if k not in ("data", "shard")}
    for folder, other in others:
        other_plain = {k: v for k, v in other.items() if k not in ("data", "shard")}
        shared = {name: sha for name, sha in data.items() if name in other["data"]}
        difference = differences(
            {**plain, "shards": settings["shard"][1], "data": shared},
            {
                **other_plain,
                "shards": other["shard"][1],
                "data": {k: other["data"][k] for k in shared},
            },
        )
        if difference:
            raise RunFolderError(
                f"{folder} was made by other settings than {first} ({difference}): "
                "merge shards of one run"
            )
        data |= other["data"]
    return {**plain, "data": data}


def _check_complete(given: list[Shard], partial: bool) -> None:
    """Raise UsageError for a shard given twice or, unless `partial`, a missing one."""
    numbers, count = [number for number, _ in given], given[0][1]
    twice = sorted({n for n in numbers if numbers.count(n) > 1})
    if twice:
        raise UsageError(f"shard {twice[0]}/{count} is given twice: give each folder once")
    missing = [f"{n}/{count}" for n in range(1, count + 1) if n not in numbers]
    if missing and not partial:
        raise UsageError(
            f"shards are missing ({', '.join(missing)}): give their folders too, or --partial"
        )


def _row_key(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return the key that distinguishes the rows of a run."""
    # settings chosen on validation are a result, not part of the request
    columns = KEY if pd.notna(row["candidates"]) else (*KEY, *USE_COLUMNS)
    return tuple(None if pd.isna(row[k]) else row[k] for k in columns)


def _finished_rows(folder: Path, wanted: int, partial: bool) -> list[dict[str, Any]]:
    """Read the rows of a shard; UsageError if it is unfinished, unless `partial`."""
    file = folder / "results.csv"
    rows = read_results(file).drop(columns="run").to_dict("records") if file.is_file() else []
    if len(rows) < wanted and not partial:
        raise UsageError(
            f"{folder} has {len(rows)} of its {wanted} cells: augment resume {folder}, "
            "or merge with --partial"
        )
    return rows


def _join_artefacts(source: Path, merged: Path) -> None:
    """Link complete artefacts into the merged folder; copy them from another disk."""
    for artefact in sorted(source.glob("*/*")):
        destination = merged / artefact.parent.name / artefact.name
        if "." in artefact.name or destination.exists():  # unfinished or damaged; shared
            continue
        Store(source.parent).verified_path(artefact.parent.name, artefact.name)
        # complete or absent: the folder gets its name when all files are in it
        partial = destination.with_name(f"{destination.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with writing(destination):
            shutil.copytree(artefact, partial, copy_function=_link_or_copy)
            partial.rename(destination)


def _link_or_copy(source: str, target: str) -> None:
    """Hard-link a file that is never written to again; copy it from another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _join_manifests(folders: list[Path]) -> pd.DataFrame:
    """Join manifests to one row per image, with all trials in which it is labelled."""
    columns = ["dataset", "file", "sha256", "group", "label", "split"]
    manifests = [read_csv(folder / "manifest.csv", [*columns, "seeds"]) for folder in folders]
    lines = pd.concat(manifests).reindex(columns=[*columns, "seeds"]).astype(object).fillna("")
    seeds = lines.groupby(columns, sort=False)["seeds"].agg(lambda s: set(" ".join(s).split()))
    joined = seeds.map(lambda s: " ".join(sorted(s, key=int))).reset_index()
    return joined.sort_values(["dataset", "split"], kind="stable")
