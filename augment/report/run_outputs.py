"""Writes what a person opens in a run folder, all of it from the artefacts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w
from safetensors.numpy import load_file

from augment.data.split import Dataset
from augment.errors import UsageError
from augment.experiment.arms import ARMS
from augment.experiment.cells import Cell
from augment.experiment.recipe import Recipe
from augment.experiment.records import (
    QualityResult,
    ScoreResult,
    SelectionResult,
    SyntheticResult,
    classifier_path,
)
from augment.experiment.rows import ARM_COLUMNS, COLUMNS, KEY_COLUMNS, NEWER_COLUMNS, TEXT_COLUMNS
from augment.metrics.classification import per_class
from augment.storage.artifacts import Store
from augment.storage.atomic import write_atomic
from augment.storage.tables import read_csv, write_csv


def write_start(
    folder: Path, recipe: Recipe, cells: list[Cell], data_of: Callable[[Cell], Dataset]
) -> None:
    """`recipe.toml`, which can be given back as the recipe, `manifest.csv` and `notes.csv`."""
    settings = recipe.model_dump(mode="json", exclude_none=True)
    write_atomic(folder / "recipe.toml", tomli_w.dumps(settings))
    lines, notes = [], []
    for name, trials in group_by_dataset(cells).items():
        data = data_of(trials[0])
        notes += [(name, note) for note in data.notes]
        used: dict[int, set[str]] = {}
        for cell in trials:
            for place in cell.labelled_indices(data.pool).tolist():
                used.setdefault(place, set()).add(str(cell.seed))
        pool = sorted(used)
        for images, files, groups, split, indices in (
            (data.pool, data.pool_files, data.pool_groups, "labelled", pool),
            (data.test, data.test_files, data.test_groups, "test", range(len(data.test))),
        ):
            for place in indices:
                pixels = images.images[place].contiguous().numpy().data
                lines.append(
                    {
                        "dataset": name,
                        "file": files[place],
                        "sha256": hashlib.sha256(pixels).hexdigest(),
                        "group": groups[place] if groups else "",
                        "label": images.classes[int(images.labels[place])],
                        "split": split,
                        "seeds": " ".join(sorted(used[place], key=int))
                        if split == "labelled"
                        else "",
                    }
                )
        for file, why in data.bad:
            lines.append({"dataset": name, "file": file, "split": f"left out: {why}"})
    write_csv(folder / "manifest.csv", pd.DataFrame(lines))
    write_csv(folder / "notes.csv", pd.DataFrame(notes, columns=["dataset", "note"]))


def group_by_dataset(cells: list[Cell]) -> dict[str, list[Cell]]:
    """Cells by data set, one a (seed, amount)."""
    groups: dict[str, dict[tuple[Any, ...], Cell]] = {}
    for cell in cells:
        key = (cell.seed, cell.frac, cell.per_class)
        groups.setdefault(cell.dataset, {})[key] = cell
    return {name: list(group.values()) for name, group in groups.items()}


def write_results(folder: Path, cells: list[Cell], rows: dict[int, dict[str, Any]]) -> pd.DataFrame:
    """results.csv: one row a finished cell, in the recipe's order, whatever order they ended in."""
    lines = [{"run": folder.name, **rows[n]} for n in range(len(cells)) if n in rows]
    table = pd.DataFrame(lines, columns=COLUMNS)
    write_csv(folder / "results.csv", table)
    return table


def read_results(file: Path) -> pd.DataFrame:
    """A results.csv as written; UsageError if it is another table."""
    table = read_csv(file, TEXT_COLUMNS)
    missing = set(COLUMNS) - set(table.columns) - set(NEWER_COLUMNS)
    if missing:
        raise UsageError(f"{file} is no results table: it lacks {', '.join(sorted(missing))}")
    check_rows(file, table)
    return table.reindex(columns=[*COLUMNS, *table.columns.difference(COLUMNS, sort=False)])


def check_rows(file: Path, table: pd.DataFrame) -> None:
    """UsageError if a results.csv says what no run writes: rows twice, unknown arms, odd scores."""
    twice = table.duplicated([*KEY_COLUMNS, "preset", "classifier"])
    scores = pd.to_numeric(table["accuracy"], errors="coerce")
    odd = table["status"].eq("ok") & ~scores.between(0, 1)
    strange = ~table["arm"].isin(ARMS)
    for rows, what in (
        (twice, "a second row of a cell"),
        (odd, "an accuracy outside 0…1"),
        (strange, "an unknown arm"),
    ):
        if rows.any():
            raise UsageError(
                f"{file} line {int(rows.argmax()) + 2}: {what}; augment resume writes it anew"
            )


def write_beside(file: Path, table: pd.DataFrame) -> None:
    """NAME.md, NAME.png and, where a setting varies, NAME-gain.png beside NAME.csv."""
    from augment.report.plots import accuracy_by_arm, gain_curves, save
    from augment.report.table import markdown, summarise

    write_atomic(file.with_suffix(".md"), f"# {file.stem}\n\n{markdown(summarise(table))}")
    done = table[table["status"] == "ok"]
    save(accuracy_by_arm(done), file.with_suffix(".png"))
    if gains := gain_curves(done):
        save(gains, file.with_name(f"{file.stem}-gain.png"))


def write_outputs(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Per-class scores, histories, samples, plots and the table of a run.

    Returns the results with what only all cells together tell, as results.csv has them then.
    """
    from augment.report.html import write_html
    from augment.report.plots import draw_all
    from augment.report.table import markdown, summarise
    from augment.report.test_set_error import with_image_error

    table = with_image_error(folder, table)
    write_csv(folder / "results.csv", table)
    store = Store(folder)
    done = table[table["status"] == "ok"]
    classes, histories, qualities = [], [], []
    for line in done.to_dict("records"):
        score = store.path("score", line["signature"])
        result = ScoreResult.read(score)
        tensors = load_file(score / "predictions.safetensors")
        keys = {k: line[k] for k in KEY_COLUMNS}
        scores = per_class(tensors["labels"], tensors["predicted"], result.classes)
        classes.append(scores.assign(**keys))
        training = classifier_path(store, score)
        histories.append(history(training, "score", artefact=score.name, **keys))
        if result.synthetic:
            synthetic = store.path("synthetic", result.synthetic)
            model = store.path("generator", SyntheticResult.read(synthetic).model)
            of_generator = {"artefact": model.name, **keys, **dict.fromkeys(ARM_COLUMNS)}
            histories.append(history(model, "generator", **of_generator))
            seen = store.path("quality", str(result.quality))
            keep_pictures(folder, model, synthetic, seen, line)
            own = {k: v for k, v in keys.items() if k not in ARM_COLUMNS}
            qualities.append(quality_lines(seen, **own, synthetic=synthetic.name))
    if classes:
        write_csv(folder / "per_class.csv", pd.concat(classes))
        write_csv(folder / "history.csv", pd.concat(histories).drop_duplicates())
        draw_all(folder, done)
    if qualities:
        write_csv(folder / "quality.csv", pd.concat(qualities).drop_duplicates())
    if chosen := [SelectionResult.read(path) for path in store.finished("selection")]:
        lines = [vars(choice) | line for choice in chosen for line in choice.candidates]
        order = ["dataset", "asked", "seed", "generator", "arm"]
        write_csv(
            folder / "selection.csv",
            pd.DataFrame(lines).drop(columns="candidates").sort_values(order, kind="stable"),
        )
    summary = summarise(table)
    write_csv(folder / "summary.csv", summary)
    write_html(folder, table)
    write_atomic(folder / "table.md", markdown(summary))  # last: its presence says all is there
    return table


def quality_lines(artefact: Path, **keys: Any) -> pd.DataFrame:
    """What was measured of a synthetic set, a row a feature space."""
    about = vars(QualityResult.read(artefact)).copy()
    spaces = about.pop("spaces") or {"": {}}
    by_class = about.pop("agreement_by_class")
    about["agreement_worst"] = min(share for share in by_class if share is not None)
    lines = [{**keys, **about, "features": name, **space} for name, space in spaces.items()]
    return pd.DataFrame(lines)


def history(training: Path, stage: str, **keys: Any) -> pd.DataFrame:
    """The log of a training with the cell it belongs to."""
    return read_csv(training / "history.csv").assign(stage=stage, **keys)


def keep_pictures(
    folder: Path, model: Path, synthetic: Path, seen: Path, line: dict[str, Any]
) -> None:
    """Sample grids under names that a person can read."""
    place = folder / "samples"
    place.mkdir(exist_ok=True)
    data = f"{line['dataset']}-{line['n_labelled']}".replace("/", "_").lstrip("._")[-100:]
    stem = f"{data}-{line['generator']}".replace("/", "_")[:150]
    name = f"{stem}-seed{line['seed']}-{synthetic.name[:6]}.png"
    real = f"real-{data}-seed{line['seed']}.png"
    kept = {name: synthetic / "grid.png", real: synthetic / "real.png"}
    kept |= {f"{sheet}-{name}": seen / f"{sheet}.png" for sheet in ("closest", "best")}
    kept |= {f"{stem}-seed{line['seed']}-{p.name}": p for p in model.glob("step-*.png")}
    for target, picture in kept.items():
        write_atomic(place / target, picture.read_bytes())
