"""Two runs side by side: the same cells paired over the trials that both have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from augment.errors import UsageError
from augment.experiment.arms import ARMS
from augment.metrics.paired import compare_pairs, holm
from augment.report.table import between, leading, percent, probability, variants
from augment.report.test_set_error import error_between, units_tested
from augment.storage.tables import read_csv

HEAD = ("data", "arm", "A", "B", "B − A", "95 % interval", "n", "p (Holm)", "verdict")
WORDS = {"helps": "B is better", "hurts": "A is better"}  # what a contrast's verdict means here
PICTURES_HEAD = ("data", "features", "measure", "A", "B", "n")
MEASURES: dict[str, tuple[str, Callable[[float], str]]] = {  # column → its name, how it is shown
    "agreement": ("right class %", percent),
    "copy_rate": ("copies %", percent),
    "closer_to_train": ("closer to train %", percent),
    "diversity": ("diversity", "{:.2f}".format),  # of real images: 1 is as diverse
    "twins": ("twins %", percent),  # nearly identical pairs: collapse
    "kid": ("KID", "{:.3g}".format),
    "fd": ("Fréchet distance", "{:.3g}".format),
    "precision": ("precision", "{:.2f}".format),
    "recall": ("recall", "{:.2f}".format),
    "density": ("density", "{:.2f}".format),
    "coverage": ("coverage", "{:.2f}".format),
}
TRIAL = ("dataset", "asked", "arm")


def compare_tables(
    a: pd.DataFrame, b: pd.DataFrame, folders: tuple[Path, Path] | None = None
) -> pd.DataFrame:
    """Accuracy of B minus A, a row for each arm of each data set that both tables hold.

    Cells are paired by seed. A generator is compared with its namesake, or, where each table has
    just one in that arm, with the other's. With the run folders the interval also covers which
    images were tested. UsageError if a shared data set differs in its images
    or if nothing is shared.
    """
    check_data(a, b)
    sides = [dict(list(scored(table).groupby(list(TRIAL), sort=False))) for table in (a, b)]
    shared = sorted(
        sides[0].keys() & sides[1].keys(), key=lambda k: (k[:2], list(ARMS).index(k[2]))
    )
    rows: list[dict[str, Any]] = []
    contrasts = []
    for key in shared:
        for name_a, name_b in matched(*(list(side[key]["variant"].unique()) for side in sides)):
            cells = [
                side[key][side[key]["variant"] == name]
                for side, name in zip(sides, (name_a, name_b), strict=True)
            ]
            own = [each.set_index("seed")["score"] for each in cells]
            seeds = own[0].index.intersection(own[1].index)
            luck = None
            if folders and len(seeds) > 1:
                units = units_tested(folders[0])[key[0]]
                luck = error_between((folders[1], cells[1]), (folders[0], cells[0]), units)
            contrast = compare_pairs(own[1][seeds].tolist(), own[0][seeds].tolist(), se_images=luck)
            if contrast.n:
                contrasts.append(contrast)
                rows.append(
                    {
                        **dict(zip(TRIAL, key, strict=True)),
                        "generator_a": name_a,
                        "generator_b": name_b,
                        "mean_a": own[0][seeds].mean(),
                        "mean_b": own[1][seeds].mean(),
                    }
                )
    if not rows:
        raise UsageError(
            "the runs share no finished pair of data set, amount, arm and seed: nothing to compare"
        )
    for row, contrast in zip(rows, holm(contrasts), strict=True):
        row |= {
            "pairs": contrast.n,
            "difference": contrast.mean,
            "se_test_images": contrast.se_images,
            "low": contrast.low,
            "high": contrast.high,
            "p": contrast.p,
            "p_holm": contrast.p_holm,
            "verdict": "equal"
            if contrast.low == contrast.high == contrast.mean == 0
            else WORDS.get(contrast.verdict, contrast.verdict),
        }
    return pd.DataFrame(rows)


def check_data(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """The same name must mean the same images, or the trials are no pairs."""
    for name in sorted(set(a["dataset"]) & set(b["dataset"])):
        hashes = [set(t.loc[t["dataset"] == name, "data_sha"].dropna()) for t in (a, b)]
        if all(hashes) and hashes[0] != hashes[1]:
            raise UsageError(
                f"the runs saw different images under the name {name}: run both on the same data"
            )


def scored(table: pd.DataFrame) -> pd.DataFrame:
    """Finished cells with their variant and score."""
    table = table.assign(variant=variants(table), score=leading(table))
    return table[table["status"] == "ok"]


def matched(a: list[str], b: list[str]) -> list[tuple[str, str]]:
    """Variants of both sides that are compared."""
    if len(a) == len(b) == 1:
        return [(a[0], b[0])]
    return [(name, name) for name in a if name in b]


def comparison_lines(table: pd.DataFrame) -> list[list[str]]:
    """Lines of text cells under HEAD."""
    lines = []
    for r in table.to_dict("records"):
        lines.append(
            [
                f"{r['dataset']}, {r['asked']}",
                r["arm"],
                f"{percent(r['mean_a'])} {r['generator_a']}".strip(),
                f"{percent(r['mean_b'])} {r['generator_b']}".strip(),
                percent(r["difference"], True),
                between(r["low"], r["high"]),
                str(r["pairs"]),
                probability(r["p_holm"]),
                r["verdict"],
            ]
        )
    return lines


def compare_pictures(a: Path, b: Path) -> pd.DataFrame:
    """What the pictures of two run folders measure, mean of the trials, a row a measure and space.

    Generators are matched as in `compare_tables`; empty where a run has no quality.csv.
    """
    files = [run / "quality.csv" for run in (a, b)]
    if not all(file.is_file() for file in files):
        return pd.DataFrame()
    keys = ["dataset", "asked", "features"]
    tables = [read_csv(file, (*keys, "generator", "warning")) for file in files]
    sides = [dict(list(table.groupby(keys, sort=False))) for table in tables]
    rows = []
    for key in (key for key in sides[0] if key in sides[1]):
        for names in matched(*(list(side[key]["generator"].unique()) for side in sides)):
            own = [
                side[key][side[key]["generator"] == name]
                for side, name in zip(sides, names, strict=True)
            ]
            means = [trials.mean(numeric_only=True) for trials in own]
            said = dict(zip(keys, key, strict=True)) | {
                f"{what}_{side}": value
                for what, pair in (("generator", names), ("n", map(len, own)))
                for side, value in zip("ab", pair, strict=True)
            }
            rows += [
                {**said, "measure": measure, "a": means[0][measure], "b": means[1][measure]}
                for measure in MEASURES
                if all(measure in mean for mean in means)
            ]
    return pd.DataFrame(rows)


def picture_lines(table: pd.DataFrame) -> list[list[str]]:
    """Lines of text cells under PICTURES_HEAD."""
    lines = []
    for r in table.to_dict("records"):
        label, shown = MEASURES[r["measure"]]
        lines.append(
            [
                f"{Path(r['dataset']).name}, {r['asked']}",
                r["features"],
                label,
                *(f"{shown(r[s])} {r[f'generator_{s}']}".strip() for s in "ab"),
                " ".join(dict.fromkeys(str(r[f"n_{s}"]) for s in "ab")),
            ]
        )
    return lines
