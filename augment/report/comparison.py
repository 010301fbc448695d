"""Two runs side by side: the same cells paired over the trials that both have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from augment.arms import ARMS
from augment.errors import UsageError
from augment.report.table import between, leading, percent, probability, variants
from augment.statistics import compare, holm
from augment.store import read_csv

HEAD = ("data", "arm", "A", "B", "B − A", "95 % interval", "n", "p (Holm)", "verdict")
WORDS = {"helps": "B is better", "hurts": "A is better"}  # what a contrast's verdict means here
PICTURES_HEAD = ("run", "data", "generator", "features", "n", "right class %", "diversity",
                 "twins %", "KID", "copies %")  # fmt: skip
TRIAL = ("dataset", "asked", "arm")


def compare_tables(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of B minus A, a row for each arm of each data set that both tables hold.

    Cells are paired by seed. A generator is compared with its namesake, or, where each table has
    just one in that arm, with the other's. UsageError if a shared data set differs in its images
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
            own = [
                side[key][side[key]["variant"] == name].set_index("seed")["score"]
                for side, name in zip(sides, (name_a, name_b), strict=True)
            ]
            seeds = own[0].index.intersection(own[1].index)
            contrast = compare(own[1][seeds].tolist(), own[0][seeds].tolist())
            if contrast.n:
                contrasts.append(contrast)
                rows.append({
                    **dict(zip(TRIAL, key, strict=True)), "generator_a": name_a,
                    "generator_b": name_b, "mean_a": own[0][seeds].mean(),
                    "mean_b": own[1][seeds].mean(),
                })  # fmt: skip
    if not rows:
        raise UsageError(
            "the runs share no finished pair of data set, amount, arm and seed: nothing to compare"
        )
    for row, contrast in zip(rows, holm(contrasts), strict=True):
        row |= {
            "pairs": contrast.n, "difference": contrast.mean, "low": contrast.low,
            "high": contrast.high, "p": contrast.p, "p_holm": contrast.p_holm,
            "verdict": WORDS.get(contrast.verdict, contrast.verdict),
        }  # fmt: skip
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
        lines.append([
            f"{r['dataset']}, {r['asked']}", r["arm"],
            f"{percent(r['mean_a'])} {r['generator_a']}".strip(),
            f"{percent(r['mean_b'])} {r['generator_b']}".strip(),
            percent(r["difference"], True), between(r["low"], r["high"]), str(r["pairs"]),
            probability(r["p_holm"]), r["verdict"],
        ])  # fmt: skip
    return lines


def picture_lines(*runs: Path) -> list[list[str]]:
    """Lines under PICTURES_HEAD from the quality.csv of run folders; empty if one has none.

    Diversity is of real images (1 is as diverse); twins are nearly identical pairs (collapse).
    """
    files = [run / "quality.csv" for run in runs]
    if not all(file.is_file() for file in files):
        return []
    lines = []
    for name, file in zip("AB", files, strict=True):
        quality = read_csv(file, ("dataset", "asked", "generator", "features", "warning"))
        keys = ["dataset", "asked", "generator", "features"]
        for key, trials in quality.groupby(keys, sort=False):
            mean = trials.mean(numeric_only=True)
            lines.append([
                name, f"{Path(key[0]).name}, {key[1]}", key[2], key[3], str(len(trials)),
                percent(mean["agreement"]), f"{mean['diversity']:.2f}", percent(mean["twins"]),
                f"{mean['kid']:.3g}", percent(mean["copy_rate"]),
            ])  # fmt: skip
    return lines
