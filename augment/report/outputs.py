"""results.csv, and what a person opens in a run folder, made from it and the artefacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.numpy import load_file

from augment.arms import ARMS
from augment.cells import Cell
from augment.errors import UsageError
from augment.metrics.classification import per_class
from augment.store import Store, read_csv, write_atomic, write_csv

RESULTS_COLUMNS = """
    run dataset data_sha asked frac n_labelled seed
    generator closed_set preset guidance strength ratio share mixing filter
    candidates validation_accuracy validation_baseline
    arm classic classifier steps n_real n_synth kept_fraction
    measure accuracy balanced_accuracy macro_precision macro_recall macro_f1 se_test_images
    copy_rate agreement closer_to_train kid fd precision recall density coverage
    generator_seconds sample_seconds classifier_seconds peak_memory_mb device precision_mode
    status error signature version
""".split()
TEXT_COLUMNS = """
    run dataset data_sha asked generator preset mixing filter arm classic classifier measure
    device precision_mode status error signature version
""".split()
_NEW_COLUMNS = ("se_test_images",)  # older tables lack them
_CELL_KEYS = """
    dataset asked seed generator guidance strength ratio share mixing filter candidates arm
""".split()
_ARM_KEYS = ("arm", "share", "mixing", "filter", "candidates")  # cells share a set across these


def write_results(folder: Path, cells: list[Cell], rows: dict[int, dict[str, Any]]) -> pd.DataFrame:
    """Write results.csv of the finished cells, in the recipe's order whatever order they ended in.

    Returns the table.
    """
    lines = [{"run": folder.name, **rows[n]} for n in range(len(cells)) if n in rows]
    table = pd.DataFrame(lines, columns=RESULTS_COLUMNS)
    write_results_table(folder, table)
    return table


def write_results_table(folder: Path, table: pd.DataFrame) -> None:
    """Write results.csv: one row for each finished cell."""
    write_csv(folder / "results.csv", table)


def read_results(file: Path) -> pd.DataFrame:
    """Read a results.csv; UsageError if it is another table."""
    table = read_csv(file, TEXT_COLUMNS)
    missing = set(RESULTS_COLUMNS) - set(table.columns) - set(_NEW_COLUMNS)
    if missing:
        raise UsageError(f"{file} is no results table: it lacks {', '.join(sorted(missing))}")
    _check_results(file, table)
    others = table.columns.difference(RESULTS_COLUMNS, sort=False)
    return table.reindex(columns=[*RESULTS_COLUMNS, *others])


def _check_results(file: Path, table: pd.DataFrame) -> None:
    """Raise UsageError for what no run writes: rows twice, unknown arms, impossible scores."""
    twice = table.duplicated([*_CELL_KEYS, "preset", "classifier"])
    scores = pd.to_numeric(table["accuracy"], errors="coerce")
    impossible = table["status"].eq("ok") & ~scores.between(0, 1)
    unknown = ~table["arm"].isin(ARMS)
    for rows, fault in (
        (twice, "a second row of a cell"),
        (impossible, "an accuracy outside 0…1"),
        (unknown, "an unknown arm"),
    ):
        if rows.any():
            raise UsageError(
                f"{file} line {int(rows.argmax()) + 2}: {fault}; augment resume writes it anew"
            )


def write_beside(file: Path, table: pd.DataFrame) -> None:
    """Write NAME.md, NAME.png and NAME-gain.png beside NAME.csv.

    NAME.png shows the gains with their intervals, where arms are compared; NAME-gain.png the gain
    along a setting, where one takes three values or more.
    """
    from augment.report.figures import save_figure
    from augment.report.gain_plot import gain_intervals
    from augment.report.plots import gain_curves
    from augment.report.table import markdown, summarise

    summary = summarise(table)
    write_atomic(file.with_suffix(".md"), f"# {file.stem}\n\n{markdown(summary)}")
    if gains := gain_intervals(summary):
        save_figure(gains, file.with_suffix(".png"))
    if curves := gain_curves(table[table["status"] == "ok"]):
        save_figure(curves, file.with_name(f"{file.stem}-gain.png"))


def write_outputs(folder: Path, table: pd.DataFrame) -> None:
    """Write per-class scores, histories, samples, plots, the report and the table of a run.

    `table` is results.csv, which is not written here.
    """
    from augment.report.html import write_html
    from augment.report.plots import draw_all
    from augment.report.table import markdown, summarise

    done, summary = table[table["status"] == "ok"], summarise(table)
    if len(done):
        _write_details(folder, done)
    if selections := [json.loads(f.read_text()) for f in _records(folder, "selection")]:
        _write_selection(folder, selections)
    if len(done):
        draw_all(folder, done, summary)
    write_csv(folder / "summary.csv", summary)
    write_html(folder, table)
    write_atomic(folder / "table.md", markdown(summary))  # last: its presence says all is there


def _write_details(folder: Path, done: pd.DataFrame) -> None:
    """Write per_class.csv, history.csv, quality.csv and samples/ from the finished cells."""
    store = Store(folder)
    classes, histories, qualities = [], [], []
    for line in done.to_dict("records"):
        score = store.path("score", line["signature"])
        record = json.loads((score / "about.json").read_text())
        tensors = load_file(score / "predictions.safetensors")
        keys = {k: line[k] for k in _CELL_KEYS}
        scores = per_class(tensors["labels"], tensors["predicted"], record["classes"])
        classes.append(scores.assign(**keys))
        histories.append(_history(score, "score", **keys))
        if record["synthetic"]:
            synthetic = store.path("synthetic", record["synthetic"])
            model = store.path(
                "generator", json.loads((synthetic / "about.json").read_text())["model"]
            )
            histories.append(_history(model, "generator", **{**keys, **dict.fromkeys(_ARM_KEYS)}))
            quality = store.path("quality", record["quality"])
            _copy_samples(folder, model, synthetic, quality, line)
            keys_of_set = {k: v for k, v in keys.items() if k not in _ARM_KEYS}
            qualities.append(_quality_rows(quality, **keys_of_set, synthetic=synthetic.name))
    write_csv(folder / "per_class.csv", pd.concat(classes))
    write_csv(folder / "history.csv", pd.concat(histories).drop_duplicates())
    if qualities:
        write_csv(folder / "quality.csv", pd.concat(qualities).drop_duplicates())


def _write_selection(folder: Path, selections: list[dict[str, Any]]) -> None:
    """Write selection.csv: a row for each candidate of each choice on validation."""
    lines = [{**record, **line} for record in selections for line in record.pop("candidates")]
    order = ["dataset", "asked", "seed", "generator", "arm"]
    write_csv(folder / "selection.csv", pd.DataFrame(lines).sort_values(order, kind="stable"))


def _records(folder: Path, kind: str) -> list[Path]:
    """Return the record files of all finished artefacts of a kind."""
    files = (folder / "artefacts" / kind).glob("*/about.json")
    return sorted(file for file in files if "." not in file.parent.name)  # .partial, .damaged


def _quality_rows(artefact: Path, **keys: Any) -> pd.DataFrame:
    """Return the measures of a synthetic set, a row for each feature space."""
    record = json.loads((artefact / "about.json").read_text())
    spaces = record.pop("spaces") or {"": {}}
    by_class = record.pop("agreement_by_class")
    record["agreement_worst"] = min(share for share in by_class if share is not None)
    lines = [{**keys, **record, "features": name, **space} for name, space in spaces.items()]
    return pd.DataFrame(lines)


def _history(artefact: Path, stage: str, **keys: Any) -> pd.DataFrame:
    """Return an artefact's log with the cell it belongs to."""
    return read_csv(artefact / "history.csv").assign(stage=stage, artefact=artefact.name, **keys)


def _copy_samples(
    folder: Path, model: Path, synthetic: Path, quality: Path, line: dict[str, Any]
) -> None:
    """Copy sample grids into samples/ under names that a person can read."""
    samples = folder / "samples"
    samples.mkdir(exist_ok=True)
    data = f"{line['dataset']}-{line['n_labelled']}".replace("/", "_").lstrip("._")[-100:]
    stem = f"{data}-{line['generator']}".replace("/", "_")[:150]
    name = f"{stem}-seed{line['seed']}-{synthetic.name[:6]}.png"
    real = f"real-{data}-seed{line['seed']}.png"
    sources = {name: synthetic / "grid.png", real: synthetic / "real.png"}
    sources |= {f"{sheet}-{name}": quality / f"{sheet}.png" for sheet in ("closest", "best")}
    sources |= {f"{stem}-seed{line['seed']}-{p.name}": p for p in model.glob("step-*.png")}
    for target, source in sources.items():
        write_atomic(samples / target, source.read_bytes())
