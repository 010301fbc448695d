"""Sections of report.html that are read from a run's CSV files and images."""

from __future__ import annotations

import base64
import glob
from pathlib import Path
from typing import Any

import pandas as pd

from augment.metrics.fidelity import BY_BALLS, TELLING_FROM
from augment.report.format import interval_text, percent
from augment.report.table import VARIANT_SETTINGS, variant_names
from augment.storage.tables import read_csv

_MOST_CLASSES = 30  # lines of the class table, but for _LEAST_CLASSES of each synthetic set
_LEAST_CLASSES = 3
_SHEETS = {
    "best": "the images that the real+classic classifier is surest of, for each class",
    "closest": "the images most like a labelled one, each above that one",
}
_BOX_SHEETS = {
    "boxes": "labelled pictures and their boxes",
    "composed": "composed pictures: labelled boxes green, pasted blue, generated orange",
    "worst": "test pictures with the most wrong or missed boxes: true green, found orange",
}
_HASH = "[0-9a-f]" * 6  # of a synthetic set, at the end of the names of its images
_QUALITY = {
    "agreement": "right class %",
    "trust": "trust %",
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
    text = ("dataset", "asked", "generator", "class", "arm", "warning", "features", "variant")
    table = read_csv(file, text)
    return table if "variant" in table else with_variants(table)


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


def class_blocks(folder: Path) -> list[dict[str, Any]]:
    """Write class_changes.csv as text: a block a synthetic set, worst change first."""
    changes = read_optional(folder / "class_changes.csv")
    if changes.empty:
        return []
    sets = changes.groupby(["dataset", "asked", "variant"], sort=False)
    most = max(_LEAST_CLASSES, _MOST_CLASSES // max(1, sets.ngroups))
    blocks = []
    for (dataset, asked, variant), of_set in sets:
        ordered = of_set.sort_values("change", kind="stable")
        lines = [
            [
                r["class"],
                f"{r['n_test']:.0f}",
                percent(r["before"]),
                percent(r["after"]),
                percent(r["change"], True),
                interval_text(r["low"], r["high"]),
            ]
            for r in ordered.head(most).to_dict("records")
        ]
        title = f"{variant} on {Path(dataset).name}, {asked}"
        sentence = losers_sentence(of_set)
        blocks.append({"title": title, "lines": lines, "n": len(ordered), "sentence": sentence})
    return blocks


def losers_sentence(changes: pd.DataFrame) -> str:
    """Say which classes surely lost by the synthetic images of one set, if any did."""
    trials = int(changes["trials"].max())
    if changes["high"].isna().all():
        return f"Which class gains or loses cannot be told from so few trials ({trials})."
    lost = changes[changes["high"] < 0].sort_values("change", kind="stable")["class"]
    if lost.empty:
        return "No class surely lost."
    return f"Surely lost: {', '.join(map(str, lost))}."


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
    order = {name: number for number, name in enumerate(names)}  # of the table, not of the files
    pairs = []
    for real in files_like(folder / "samples", f"real-*-seed{first['seed'].min()}.png"):
        stem, seed = real.stem.removeprefix("real-").rsplit("-seed", 1)
        alike: dict[bytes, list[Path]] = {}
        grids = files_like(folder / "samples", f"{glob.escape(stem)}-*-seed{seed}-{_HASH}.png")
        for grid in sorted(grids, key=lambda file: order.get(file.stem[-6:], len(order))):
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


def picture_sheets(folder: Path, done: pd.DataFrame) -> list[dict[str, Any]]:
    """Show labelled, composed and worst test pictures of the first trial; empty without boxes."""
    sheets = []
    for sheet, caption in _BOX_SHEETS.items():
        for file in files_like(folder / "samples", f"{sheet}-*-seed{done['seed'].min()}*.png"):
            of_arm = file.stem.removeprefix(f"{sheet}-")
            sheets.append(embedded(file, f"{of_arm}: {caption}"))
    return sheets


def quality_lines(quality: pd.DataFrame) -> list[list[str]]:
    """Write the measures with the floor in brackets, a line a synthetic set and feature space."""
    lines = []
    for r in quality.to_dict("records"):
        cells = []
        for key in _QUALITY:
            value, floor = r.get(key), r.get(f"{key}_floor")
            few = key in BY_BALLS and r.get("n", TELLING_FROM) < TELLING_FROM
            if value is None or pd.isna(value) or few:
                cells.append("")
            elif key in ("kid", "fd"):
                cells.append(f"{value:.4g} ({floor:.3g})")
            else:
                cells.append(_with_floor(value, floor))
        n = r.get("n")
        lines.append(
            [
                f"{Path(r['dataset']).name}, {r['asked']}",
                r["variant"],
                str(r["seed"]),
                r["features"] if isinstance(r["features"], str) else "",
                "" if n is None or pd.isna(n) else f"{n:.0f}",
                *cells,
                _with_floor(r["copy_rate"], r.get("copy_rate_floor")),
                percent(r.get("closer_to_train")),
            ]
        )
    return lines


def through_lines(quality: pd.DataFrame) -> list[list[str]]:
    """Write what judges make of real images passed through an autoencoder, a line a synthetic set.

    A set that is drawn in its latents can hardly do better.
    """
    if "agreement_through" not in quality:  # of an older run, or of none
        return []
    sets = quality.dropna(subset=["agreement_through"]).drop_duplicates("synthetic")
    lines = []
    for r in sets.to_dict("records"):
        cells = dict.fromkeys(QUALITY_HEAD, "")
        cells |= {
            "data": f"{Path(r['dataset']).name}, {r['asked']}",
            "generator": f"real through the autoencoder of {r['variant']}, "
            f"which loses {percent(r['lost'])} % of what varies",
            "trial": str(r["seed"]),
            _QUALITY["agreement"]: _with_floor(r["agreement_through"], r["agreement_floor"]),
        }
        lines.append(list(cells.values()))
    return lines


def copying(quality: pd.DataFrame) -> str:
    """Write the mean copy rate of the synthetic sets in brackets, beside that of real images."""
    if quality.empty:
        return ""
    sets = quality.drop_duplicates("synthetic")
    rate = f"copy rate here: {percent(sets['copy_rate'].mean())} %"
    if "copy_rate_floor" in sets and sets["copy_rate_floor"].notna().any():  # old tables lack it
        rate += f"; of unseen real images {percent(sets['copy_rate_floor'].mean())} %"
    return f" ({rate})"


def _with_floor(rate: float, floor: float | None) -> str:
    """Write a rate with that of real images in brackets, where it is known."""
    return f"{percent(rate)} ({percent(floor)})" if percent(floor) else percent(rate)


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
