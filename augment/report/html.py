"""report.html: one file that opens without a network, for people who do not read statistics."""

from __future__ import annotations

import base64
import glob
import json
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from augment.experiment.arms import ARMS, DECISIVE
from augment.report.table import (
    HEAD,
    SETTINGS,
    blocks,
    interval_said,
    legend,
    percent,
    summarise,
    taken_alone,
    variants,
    verdict_lines,
)
from augment.storage.atomic import write_atomic
from augment.storage.run_folder import STATUS_FILE
from augment.storage.tables import read_csv

MOST_CLASSES = 30  # lines of the class table, but for LEAST_CLASSES of each synthetic set
LEAST_CLASSES = 3
PLAIN = {
    "helps": "Yes{alone}: the synthetic images of {who} help.",
    "hurts": "No{alone}: the synthetic images of {who} hurt.",
    "can't tell": "Can't tell whether the synthetic images of {who} help or hurt.",
    "one trial": "Can't tell: one trial of {who} says nothing about chance.",
    "no pair": "Not measured: no trial of {who} finished.",
}
KINDS = {"helps": "helps", "hurts": "hurts"}
SHEETS = {
    "best": "the images that the real+classic classifier is surest of, for each class",
    "closest": "the images most like a labelled one, each above that one",
}
HASH = "[0-9a-f]" * 6  # of a synthetic set, at the end of its pictures' names
QUALITY = {
    "agreement": "right class %",
    "precision": "precision %",
    "coverage": "coverage %",
    "kid": "KID",
    "fd": "Fréchet distance",
}
QUALITY_HEAD = (
    "data",
    "generator",
    "trial",
    "features",
    "n",
    *QUALITY.values(),
    "copies %",
    "nearer to labelled %",
)


def write_html(folder: Path, table: pd.DataFrame) -> Path:
    """The report of a finished run folder, from its CSV files and pictures; returns its path."""
    summary = summarise(table)
    done = table[table["status"] == "ok"]
    quality = optional(folder / "quality.csv")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    rates = done["copy_rate"].dropna().astype(float)
    page = environment.get_template("report.html.j2").render(
        unfinished=unfinished(folder),
        title=f"Do generated images help? {folder.name}",
        intervals=interval_said(summary),
        verdicts=[
            {
                "kind": KINDS.get(line["verdict"], ""),
                "exact": sentence,
                "plain": PLAIN[line["verdict"] or "no pair"].format(
                    alone=", taken alone" if taken_alone(line, summary) else "",
                    who=f"{line['generator']} on {Path(line['dataset']).name}, {line['asked']},",
                ),
            }
            for line, sentence in verdict_lines(summary)
        ],
        warnings=warnings(quality),
        notes=notes(folder / "notes.csv"),
        arms=[(name, arm.about) for name, arm in ARMS.items() if name in set(table["arm"])],
        head=HEAD,
        legend=legend(summary),
        blocks=[{"title": title, "lines": lines} for title, lines in blocks(summary)],
        plots=[
            picture(
                f,
                "Accuracy: mean, 95 % interval and the single trials"
                if f.stem == "accuracy"
                else "Gain of the synthetic images along a setting",
            )
            for f in shown(folder / "plots", "accuracy.png", "gain.png")
        ],
        classes=(changes := class_changes(folder)),
        n_classes=sum(c["n"] for c in changes),
        samples=sample_pairs(folder, done, quality),
        quality=quality_lines(quality),
        quality_head=QUALITY_HEAD,
        confusions=[
            picture(
                f,
                "Rows: true class; columns: what the classifier said; percent of "
                f"the row. {f.stem}",
            )
            for f in shown(folder / "plots", "confusion-*.png")
        ],
        cost=cost_lines(done),
        copying=f" (copy rate here: {100 * rates.mean():.1f} %)" if len(rates) else "",
        folder=folder,
        recipe=(folder / "recipe.toml").read_text(),
        environment=(folder / "environment.json").read_text(),
    )
    write_atomic(folder / "report.html", page)
    return folder / "report.html"


def unfinished(folder: Path) -> str:
    """That cells are missing, if so."""
    if not (folder / STATUS_FILE).is_file():
        return ""
    about = json.loads((folder / STATUS_FILE).read_text(encoding="utf-8"))
    ended = about["done"] + about["failed"]
    if ended >= about["cells"]:
        return ""
    return f"Unfinished: {ended} of {about['cells']} cells; augment resume {folder} goes on."


def optional(file: Path) -> pd.DataFrame:
    """A table of the run, empty if the run has none."""
    if not file.is_file():
        return pd.DataFrame()
    table = read_csv(file, ("dataset", "asked", "generator", "class", "arm", "warning", "features"))
    return with_variants(table)


def with_variants(table: pd.DataFrame) -> pd.DataFrame:
    """The same rows with the generator and the settings that the table varies under `variant`."""
    missing = dict.fromkeys({*SETTINGS, "candidates"} - set(table.columns))
    return table.assign(variant=variants(table.assign(**missing)))


def shown(folder: Path, *patterns: str) -> list[Path]:
    """Files by name pattern, in that order."""
    return [file for pattern in patterns for file in sorted(folder.glob(pattern))]


def picture(file: Path, caption: str, pixels: bool = False) -> dict[str, Any]:
    """A PNG file to be written into the page."""
    data = base64.b64encode(file.read_bytes()).decode()
    return {"data": data, "caption": caption, "pixels": pixels}


def warnings(quality: pd.DataFrame) -> list[str]:
    """What the trials' own classifiers found odd: a generator a line, of its worst trial."""
    if quality.empty or "warning" not in quality:
        return []
    keys = ["dataset", "asked", "variant"]
    sets = quality.drop_duplicates("synthetic")
    lines = []
    for (dataset, asked, name), own in sets.groupby(keys, sort=False):
        warned = own.dropna(subset=["warning"])
        if len(warned):
            worst = warned.loc[warned["agreement"].idxmin()]
            which = f"trial {worst['seed']}"
            if len(own) > 1:
                which += f", the worst ({len(warned)} of {len(own)} trials are warned of)"
            lines.append(f"{name} on {Path(dataset).name}, {asked}, {which}: {worst['warning']}")
    return lines


def notes(file: Path) -> list[str]:
    """What was noted when the data was read: none in folders of before there was such a file."""
    if not file.is_file():
        return []
    lines = read_csv(file, ("dataset", "note")).to_dict("records")
    return [f"{Path(line['dataset']).name}: {line['note']}" for line in lines]


def class_changes(folder: Path) -> list[dict[str, Any]]:
    """Recall before and after adding synthetic images: a block a set, worst change first."""
    classes = optional(folder / "per_class.csv")
    if classes.empty:
        return []
    keys = ["dataset", "asked", "class", "seed"]
    before = classes[classes["arm"] == ARMS[DECISIVE].against][[*keys, "recall"]]
    pairs = classes[classes["arm"] == DECISIVE].merge(before, on=keys, suffixes=("", "_before"))
    pairs["change"] = pairs["recall"] - pairs["recall_before"]
    sets = pairs.groupby(["dataset", "asked", "variant"], sort=False)
    most = max(LEAST_CLASSES, MOST_CLASSES // max(1, sets.ngroups))
    blocks = []
    for (dataset, asked, variant), own in sets:
        means = own.groupby("class", sort=False)[["n_test", "recall_before", "recall", "change"]]
        ordered = means.mean().sort_values("change", kind="stable").reset_index()
        lines = [
            [
                r["class"],
                f"{r['n_test']:.0f}",
                percent(r["recall_before"]),
                percent(r["recall"]),
                percent(r["change"], True),
            ]
            for r in ordered.head(most).to_dict("records")
        ]
        title = f"{variant} on {Path(dataset).name}, {asked}"
        blocks.append({"title": title, "lines": lines, "n": len(ordered)})
    return blocks


def sample_pairs(
    folder: Path, done: pd.DataFrame, quality: pd.DataFrame
) -> list[list[dict[str, Any]]]:
    """Labelled beside synthetic images, then sheets of these, for each set of the first trial.

    Sets whose grids are equal stand once: a larger ratio goes on where a smaller one ends.
    """
    first = done[done["generator"].notna()]
    if first.empty:
        return []
    names = {r["synthetic"][:6]: r["variant"] for r in quality.to_dict("records")}
    pairs = []
    for real in shown(folder / "samples", f"real-*-seed{first['seed'].min()}.png"):
        stem, seed = real.stem.removeprefix("real-").rsplit("-seed", 1)
        alike: dict[bytes, list[Path]] = {}
        for made in shown(folder / "samples", f"{glob.escape(stem)}-*-seed{seed}-{HASH}.png"):
            alike.setdefault(made.read_bytes(), []).append(made)
        for sets in alike.values():
            name = ", ".join(names.get(f.stem[-6:], f.stem.removeprefix(f"{stem}-")) for f in sets)
            pair = [
                picture(real, f"labelled: {stem}, trial {seed}", True),
                picture(sets[0], f"synthetic: {name}", True),
            ]
            for sheet, said in SHEETS.items():
                for file in shown(folder / "samples", f"{sheet}-{glob.escape(sets[0].stem)}.png"):
                    pair.append(picture(file, f"{name}: {said}", True))
            pairs.append(pair)
    return pairs


def quality_lines(quality: pd.DataFrame) -> list[list[str]]:
    """Measures with the floor in brackets, a line a synthetic set and feature space."""
    lines = []
    for r in quality.to_dict("records"):
        cells = []
        for key in QUALITY:
            value, floor = r.get(key), r.get(f"{key}_floor")
            if value is None or pd.isna(value):
                cells.append("")
            elif key in ("kid", "fd"):
                cells.append(f"{value:.4g} ({floor:.3g})")
            else:
                cells.append(f"{percent(value)} ({percent(floor)})")
        n = r.get("n")
        lines.append(
            [
                f"{Path(r['dataset']).name}, {r['asked']}",
                r["variant"],
                str(r["seed"]),
                r["features"] if isinstance(r["features"], str) else "",
                "" if n is None or pd.isna(n) else f"{n:.0f}",
                *cells,
                percent(r["copy_rate"]),
                percent(r.get("closer_to_train")),
            ]
        )
    return lines


def cost_lines(done: pd.DataFrame) -> list[list[str]]:
    """Mean seconds and memory of each arm."""
    columns = ["generator_seconds", "sample_seconds", "classifier_seconds", "peak_memory_mb"]
    keys = ["dataset", "asked", "variant", "arm", "device"]
    means = with_variants(done).groupby(keys, sort=False)[columns].mean().reset_index()
    return [
        [
            f"{Path(r['dataset']).name}, {r['asked']}",
            r["variant"],
            r["arm"],
            *("" if pd.isna(r[c]) else f"{r[c]:.1f}" for c in columns),
            r["device"],
        ]
        for r in means.to_dict("records")
    ]
