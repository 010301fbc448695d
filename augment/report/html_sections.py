"""Sections of report.html that are read from a run's CSV files and images."""

from __future__ import annotations

import base64
import glob
from pathlib import Path
from typing import Any

import pandas as pd

from augment.experiment.arms import DECISIVE
from augment.report.format import percent
from augment.report.table import VARIANT_SETTINGS, variant_names
from augment.storage.tables import read_csv

_MOST_CLASSES = 30  # lines of the class table, but for _LEAST_CLASSES of each synthetic set
_LEAST_CLASSES = 3
_SHEETS = {
    "best": "the images that the real+classic classifier is surest of, for each class",
    "closest": "the images most like a labelled one, each above that one",
}
_HASH = "[0-9a-f]" * 6  # of a synthetic set, at the end of the names of its images
_QUALITY = {
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
    *_QUALITY.values(),
    "copies %",
    "nearer to labelled %",
)


def read_optional(file: Path) -> pd.DataFrame:
    """Read a table of the run, empty if the run has none, with the column `variant`."""
    if not file.is_file():
        return pd.DataFrame()
    table = read_csv(file, ("dataset", "asked", "generator", "class", "arm", "warning", "features"))
    return with_variants(table)


def with_variants(table: pd.DataFrame) -> pd.DataFrame:
    """Add the column `variant`: the generator with the settings that the table varies."""
    missing = dict.fromkeys({*VARIANT_SETTINGS, "candidates"} - set(table.columns))
    return table.assign(variant=variant_names(table.assign(**missing)))


def files_like(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a folder whose names match a pattern, in order."""
    return sorted(folder.glob(pattern))


def embedded(file: Path, caption: str, pixels: bool = False) -> dict[str, Any]:
    """Read a PNG file to be written into the page; `pixels`: enlarge it without blur."""
    data = base64.b64encode(file.read_bytes()).decode()
    return {"data": data, "caption": caption, "alt": caption, "pixels": pixels}


def class_changes(folder: Path, summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Compare recall with and without synthetic images: a block a set, worst change first.

    `summary` says which arm is the one without them.
    """
    classes = read_optional(folder / "per_class.csv")
    if classes.empty:
        return []
    keys = ["dataset", "asked", "class", "seed"]
    decisive = summary[(summary["arm"] == DECISIVE) & (summary["against"] != "")]
    # one baseline in each data set and amount
    baselines = decisive[["dataset", "asked", "against"]].drop_duplicates()
    before = classes.merge(baselines.rename(columns={"against": "arm"}))[[*keys, "recall"]]
    trials = classes[classes["arm"] == DECISIVE].merge(before, on=keys, suffixes=("", "_before"))
    trials["change"] = trials["recall"] - trials["recall_before"]
    sets = trials.groupby(["dataset", "asked", "variant"], sort=False)
    most = max(_LEAST_CLASSES, _MOST_CLASSES // max(1, sets.ngroups))
    blocks = []
    for (dataset, asked, variant), recalls in sets:
        means = recalls.groupby("class", sort=False)[
            ["n_test", "recall_before", "recall", "change"]
        ]
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
    """Put labelled beside synthetic images, then sheets of these, for each set of the first trial.

    Sets whose grids are equal stand once: a larger ratio goes on where a smaller one ends.
    """
    first = done[done["generator"].notna()]
    if first.empty:
        return []
    names = {r["synthetic"][:6]: r["variant"] for r in quality.to_dict("records")}
    pairs = []
    for real in files_like(folder / "samples", f"real-*-seed{first['seed'].min()}.png"):
        stem, seed = real.stem.removeprefix("real-").rsplit("-seed", 1)
        alike: dict[bytes, list[Path]] = {}
        for grid in files_like(folder / "samples", f"{glob.escape(stem)}-*-seed{seed}-{_HASH}.png"):
            alike.setdefault(grid.read_bytes(), []).append(grid)
        for sets in alike.values():
            name = ", ".join(names.get(f.stem[-6:], f.stem.removeprefix(f"{stem}-")) for f in sets)
            pair = [
                embedded(real, f"labelled: {stem}, trial {seed}", True),
                embedded(sets[0], f"synthetic: {name}", True),
            ]
            for sheet, caption in _SHEETS.items():
                for file in files_like(
                    folder / "samples", f"{sheet}-{glob.escape(sets[0].stem)}.png"
                ):
                    pair.append(embedded(file, f"{name}: {caption}", True))
            pairs.append(pair)
    return pairs


def quality_lines(quality: pd.DataFrame) -> list[list[str]]:
    """Write the measures with the floor in brackets, a line a synthetic set and feature space."""
    lines = []
    for r in quality.to_dict("records"):
        cells = []
        for key in _QUALITY:
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
    """Write the mean seconds and memory of each arm."""
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
