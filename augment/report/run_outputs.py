"""What a person opens in a run folder, made from results.csv and the artefacts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

from augment.experiment.classic_choice import ClassicResult
from augment.experiment.records import QualityResult, ScoreResult, SyntheticResult, classifier_path
from augment.experiment.results_table import ARM_COLUMNS, KEY_COLUMNS
from augment.experiment.selection import SelectionResult
from augment.report.measured import the_measure
from augment.storage.artifacts import Store
from augment.storage.atomic import write_atomic
from augment.storage.tables import read_csv, write_csv


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
    from augment.report.class_changes import class_changes
    from augment.report.html import write_html
    from augment.report.plots import draw_all
    from augment.report.table import markdown, summarise

    done, summary = table[table["status"] == "ok"], summarise(table)
    if len(done):
        _write_details(folder, done)
        changes = class_changes(folder, table, summary)
        if len(changes):
            write_csv(folder / "class_changes.csv", changes)
    _write_choices(folder)
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
        result = ScoreResult.read(score)
        keys = {k: line[k] for k in KEY_COLUMNS}
        classes.append(the_measure([line["measure"]]).per_class(score).assign(**keys))
        training = classifier_path(store, score)
        histories.append(_history(training, "score", artefact=score.name, **keys))
        _copy_boxes(folder, score, result, line)
        if result.synthetic:
            synthetic = store.path("synthetic", result.synthetic)
            model = store.path("generator", SyntheticResult.read(synthetic).model)
            of_generator = {"artefact": model.name, **keys, **dict.fromkeys(ARM_COLUMNS)}
            histories.append(_history(model, "generator", **of_generator))
            quality = store.path("quality", str(result.quality))
            _copy_samples(folder, model, synthetic, quality, line)
            keys_of_set = {k: v for k, v in keys.items() if k not in ARM_COLUMNS}
            qualities.append(_quality_rows(quality, **keys_of_set, synthetic=synthetic.name))
    write_csv(folder / "per_class.csv", pd.concat(classes))
    write_csv(folder / "history.csv", pd.concat(histories).drop_duplicates())
    if qualities:
        write_csv(folder / "quality.csv", pd.concat(qualities).drop_duplicates())


def _write_choices(folder: Path) -> None:
    """Write selection.csv and classic.csv: a row for each candidate of each choice on validation.

    The one is of --select, the other of --classic select.
    """
    kinds: list[tuple[str, type[SelectionResult] | type[ClassicResult]]] = [
        ("selection", SelectionResult),
        ("classic", ClassicResult),
    ]
    for kind, result in kinds:
        choices = [result.read(path) for path in Store(folder).finished(kind)]
        keys = [f.name for f in dataclasses.fields(result) if f.name != "candidates"]
        lines = [
            {**{name: getattr(choice, name) for name in keys}, **line}
            for choice in choices
            for line in choice.candidates
        ]
        if lines:
            table = pd.DataFrame(lines).sort_values(keys, kind="stable")
            write_csv(folder / f"{kind}.csv", table)


def _quality_rows(artefact: Path, **keys: Any) -> pd.DataFrame:
    """Return the measures of a synthetic set, a row for each feature space."""
    record = vars(QualityResult.read(artefact)).copy()
    spaces = record.pop("spaces") or {"": {}}
    by_class = record.pop("agreement_by_class")
    record["agreement_worst"] = min(share for share in by_class if share is not None)
    lines = [{**keys, **record, "features": name, **space} for name, space in spaces.items()]
    return pd.DataFrame(lines)


def _history(training: Path, stage: str, **keys: Any) -> pd.DataFrame:
    """Return the log of a training with the cell it belongs to."""
    return read_csv(training / "history.csv").assign(stage=stage, **keys)


def _copy_boxes(folder: Path, score: Path, result: ScoreResult, line: dict[str, Any]) -> None:
    """Copy sheets of pictures with boxes into samples/, where the run has some."""
    data = f"{Path(line['dataset']).name}-{line['n_labelled']}"
    arm = f"{data}-{line['arm']}".replace("+", "-")
    if isinstance(line["generator"], str):
        arm += f"-{line['generator']}".replace("/", "_")[:100]
    sources = {f"worst-{arm}-seed{line['seed']}-{score.name[:6]}.png": score / "worst.png"}
    if result.pictures:
        made = Store(folder).path("pictures", result.pictures)
        sources[f"boxes-{data}-seed{line['seed']}.png"] = made / "labelled.png"
        sources[f"composed-{arm}-seed{line['seed']}-{made.name[:6]}.png"] = made / "pictures.png"
    for target, source in sources.items():
        if source.is_file():
            (folder / "samples").mkdir(exist_ok=True)
            write_atomic(folder / "samples" / target, source.read_bytes())


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
