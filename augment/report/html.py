"""report.html: one file that opens without a network, for people who do not read statistics."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from augment.experiment.arms import ARMS, DECISIVE
from augment.metrics.fidelity import TELLING_FROM
from augment.report.format import interval_text, percent
from augment.report.html_sections import (
    QUALITY_HEAD,
    class_blocks,
    copying,
    cost_lines,
    embedded,
    files_like,
    picture_sheets,
    quality_lines,
    read_optional,
    sample_pairs,
    through_lines,
)
from augment.report.legend import interval_description, legend
from augment.report.measured import the_measure
from augment.report.table import summarise, table_blocks, table_head
from augment.report.verdicts import subject, verdict_lines, verdict_words
from augment.storage.atomic import write_atomic
from augment.storage.run_folder import STATUS_FILE
from augment.storage.tables import read_csv

_ANSWERS = {
    "helps": "Yes: {who} help.",
    "hurts": "No: {who} hurt.",
    "helps?": "Perhaps: {who} help, if this comparison is counted alone.",
    "hurts?": "Perhaps not: {who} hurt, if this comparison is counted alone.",
    "helps on one group": "Yes on this one group of test images: {who} help on it.",
    "hurts on one group": "No on this one group of test images: {who} hurt on it.",
    "can't tell": "Can't tell whether {who} help or hurt.",
    "too few trials": "Can't tell: two trials of {who} do not show how much is chance.",
    "one trial": "Can't tell: a single trial of {who} does not show how much is chance.",
    "no pair": "Not measured: no trial of {who} finished.",
}
_CAPTIONS = {
    "gain.png": (
        "Gain of each arm over its baseline, paired over trials: mean and 95 % interval. Hollow "
        "triangles are verdicts with a question mark, hollow circles too few trials for one."
    ),
    "gain-curves.png": "Gain of the synthetic images along a setting: mean and 95 % interval.",
    "accuracy.png": "Scores on the test set by arm: mean, 95 % interval and the single trials.",
}
_NUMERIC = re.compile(r"[<+-]?\d[\d.,+\-±…()/% ]*")


def write_html(folder: Path, table: pd.DataFrame) -> Path:
    """Write report.html of a run folder from its CSV files and images; returns its path."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["numeric_columns"] = numeric_columns
    summary = summarise(table)
    page = environment.get_template("report.html.j2").render(
        title=f"Do generated images help? {folder.name}",
        folder=folder,
        unfinished=unfinished(folder),
        recipe=(folder / "recipe.toml").read_text(),
        environment=(folder / "environment.json").read_text(),
        **_main_parts(folder, table, summary),
        **_details(folder, table[table["status"] == "ok"]),
    )
    write_atomic(folder / "report.html", page)
    return folder / "report.html"


def _main_parts(folder: Path, table: pd.DataFrame, summary: pd.DataFrame) -> dict[str, Any]:
    """Return verdicts, plots of scores, the table and what is needed to read them."""
    plots = {
        name: embedded(folder / "plots" / name, caption)
        for name, caption in _CAPTIONS.items()
        if (folder / "plots" / name).is_file()
    }
    gains = plots.pop("gain.png", None)
    return {
        "verdicts": _verdict_cards(summary),
        "gains": gains and {**gains, "alt": _gains_in_words(summary)},
        "head": table_head(summary),
        "measure": the_measure(summary["measure"]),
        "decisive": DECISIVE,
        "blocks": [{"title": title, "lines": lines} for title, lines in table_blocks(summary)],
        "legend": legend(summary),
        "plots": list(plots.values()),
        "intervals": interval_description(summary),
        "arms": [(name, arm.about) for name, arm in ARMS.items() if name in set(table["arm"])],
        "notes": notes(folder / "notes.csv"),
    }


def _details(folder: Path, done: pd.DataFrame) -> dict[str, Any]:
    """Return classes, images, their quality, confusion matrices and cost of the finished cells."""
    quality = read_optional(folder / "quality.csv")
    classes = class_blocks(folder)
    return {
        "warnings": warnings(quality),
        "classes": classes,
        "n_classes": sum(block["n"] for block in classes),
        "samples": sample_pairs(folder, done, quality),
        "pictures": picture_sheets(folder, done),
        "quality": quality_lines(quality) + through_lines(quality),
        "quality_head": QUALITY_HEAD,
        "telling_from": TELLING_FROM,
        "confusions": [
            embedded(
                file, f"Rows: true class; columns: predicted class; percent of a row. {file.stem}"
            )
            for file in files_like(folder / "plots", "confusion-*.png")
        ],
        "cost": cost_lines(done),
        "copying": copying(quality),
    }


def _verdict_cards(summary: pd.DataFrame) -> list[dict[str, str]]:
    """Return an answer in plain words and the exact sentence for each contrast that counts."""
    cards = []
    for line, sentence in verdict_lines(summary):
        without = "the pretrained weights" if ARMS[line["arm"]].pretrained else "the transforms"
        what = "the synthetic images" if line["generator"] else without
        who = f"{what} of {subject(line)} on {Path(line['dataset']).name}, {line['asked']},"
        words = verdict_words(line, summary)
        answer = _ANSWERS[words.removesuffix("?") if " on " in words else words or "no pair"]
        kind = line["verdict"] if line["verdict"] in ("helps", "hurts") else ""
        cards.append({"kind": kind, "answer": answer.format(who=who), "exact": sentence})
    return cards


def _gains_in_words(summary: pd.DataFrame) -> str:
    """Describe the plot of gains for those who do not see it."""
    texts = []
    for line in summary[summary["pairs"] > 0].to_dict("records"):
        name = " ".join(filter(None, (line["arm"], line["generator"])))
        interval = interval_text(line["low"], line["high"])
        texts.append(
            f"{name} on {Path(line['dataset']).name}, {line['asked']}: "
            f"{percent(line['difference'], True)} points over {line['against']}"
            + (f" ({interval})" if interval else "")
            + f", {verdict_words(line, summary)}"
        )
    return "Gains with 95 % intervals. " + "; ".join(texts)


def numeric_columns(lines: Sequence[Sequence[str]]) -> list[bool]:
    """Tell for each column whether its cells are numbers, which stand aligned to the right."""
    columns = zip(*lines, strict=True)
    return [
        any(column) and all(_NUMERIC.fullmatch(cell) for cell in column if cell)
        for column in columns
    ]


def unfinished(folder: Path) -> str:
    """Say that cells are missing; empty if none is."""
    if not (folder / STATUS_FILE).is_file():
        return ""
    status = json.loads((folder / STATUS_FILE).read_text(encoding="utf-8"))
    ended = status["done"] + status["failed"]
    if ended >= status["cells"]:
        return ""
    return f"Unfinished: {ended} of {status['cells']} cells; augment resume {folder} goes on."


def warnings(quality: pd.DataFrame) -> list[str]:
    """Collect what the trials' classifiers found odd: a line a generator, of its worst trial."""
    if quality.empty or "warning" not in quality:
        return []
    keys = ["dataset", "asked", "variant"]
    sets = quality.drop_duplicates("synthetic")
    lines = []
    for (dataset, asked, name), trials in sets.groupby(keys, sort=False):
        warned = trials.dropna(subset=["warning"])
        if len(warned):
            worst = warned.loc[warned["agreement"].idxmin()]
            which = f"trial {worst['seed']}"
            if len(trials) > 1:
                which += f", the worst ({len(warned)} of {len(trials)} trials have a warning)"
            lines.append(f"{name} on {Path(dataset).name}, {asked}, {which}: {worst['warning']}")
    return lines


def notes(file: Path) -> list[str]:
    """Read what was noted when the data was read; empty in run folders without such a file."""
    if not file.is_file():
        return []
    lines = read_csv(file, ("dataset", "note")).to_dict("records")
    return [f"{Path(line['dataset']).name}: {line['note']}" for line in lines]
