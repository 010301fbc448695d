"""Two runs side by side: the same cells paired over the trials that both have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from augment.errors import UsageError
from augment.experiment.arms import ARMS
from augment.experiment.results_table import main_score
from augment.metrics.fidelity import BY_BALLS, TELLING_FROM
from augment.metrics.paired import Contrast, holm, paired_contrast
from augment.report.baselines import alpha_of, unit_columns
from augment.report.format import interval_text, percent, probability
from augment.report.table import variant_names
from augment.report.test_set_error import units_of_test_set, variance_between_arms
from augment.storage.tables import read_csv

COMPARISON_HEAD = ("data", "arm", "A", "B", "B − A", "95 % interval", "n", "p (Holm)", "verdict")
_WORDS = {"helps": "B is better", "hurts": "A is better"}  # of B − A, at the verdict's head
IMAGES_HEAD = ("data", "features", "measure", "A", "B", "n")
MEASURES: dict[str, tuple[str, Callable[[float], str]]] = {  # column → name, format
    "agreement": ("right class %", percent),
    "trust": ("trust %", percent),
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
_KEYS = ("dataset", "asked", "arm")


def compare_tables(
    a: pd.DataFrame, b: pd.DataFrame, folders: tuple[Path, Path] | None = None
) -> pd.DataFrame:
    """Compare the scores of two runs, B minus A: a row for each arm of each shared data set.

    Cells are paired by seed. A generator is compared with its namesake, or, where each table has
    just one in that arm, with the other's. With the run folders the interval also covers the
    choice of test images. UsageError if a shared data set differs in its images or if nothing is
    shared.
    """
    _check_data(a, b)
    sides = [dict(list(_scored(table).groupby(list(_KEYS), sort=False))) for table in (a, b)]
    shared = sorted(
        sides[0].keys() & sides[1].keys(), key=lambda k: (k[:2], list(ARMS).index(k[2]))
    )
    units = units_of_test_set(folders[0]) if folders else {}
    alpha = min(alpha_of(a), alpha_of(b))
    rows: list[dict[str, Any]] = []
    contrasts: list[Contrast] = []
    for key in shared:
        for names in _matched(*(list(side[key]["variant"].unique()) for side in sides)):
            cells = [
                side[key][side[key]["variant"] == name]
                for side, name in zip(sides, names, strict=True)
            ]
            scores = [each.set_index("seed")["score"] for each in cells]
            seeds = scores[0].index.intersection(scores[1].index)
            variance = folders and variance_between_arms(
                (folders[1], cells[1]), (folders[0], cells[0]), units[key[0]]
            )
            score_a, score_b = scores[0][seeds], scores[1][seeds]
            contrast = paired_contrast(
                score_b.tolist(), score_a.tolist(), units=variance or None, alpha=alpha
            )
            if contrast.n:
                contrasts.append(contrast)
                named = dict(zip(("generator_a", "generator_b"), names, strict=True))
                means = {"mean_a": score_a.mean(), "mean_b": score_b.mean()}
                rows.append({**dict(zip(_KEYS, key, strict=True)), **named, **means})
    if not rows:
        raise UsageError(
            "the runs share no finished trial of a data set, amount and arm: nothing to compare"
        )
    for row, contrast in zip(rows, holm(contrasts), strict=True):
        row |= {**_difference_columns(contrast), "level": 1 - alpha}
    return pd.DataFrame(rows)


def _difference_columns(contrast: Contrast) -> dict[str, Any]:
    """Return a contrast of two runs as columns, with the verdict in words about A and B."""
    equal = contrast.n > 1 and contrast.mean == contrast.sd == 0
    return {
        "pairs": contrast.n,
        "difference": contrast.mean,
        **unit_columns(contrast),
        "low": contrast.low,
        "high": contrast.high,
        "p": contrast.p,
        "p_holm": contrast.p_holm,
        "p_sign_flip": contrast.p_sign_flip,
        "verdict": "equal" if equal else _about_runs(contrast.verdict),
    }


def _about_runs(verdict: str) -> str:
    """Turn a verdict on B − A into words about A and B."""
    head, _, rest = verdict.partition(" ")
    return f"{_WORDS.get(head, head)} {rest}".strip()


def _check_data(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Raise UsageError if one name means different images: their trials cannot be paired."""
    for name in sorted(set(a["dataset"]) & set(b["dataset"])):
        hashes = [set(t.loc[t["dataset"] == name, "data_sha"].dropna()) for t in (a, b)]
        if all(hashes) and hashes[0] != hashes[1]:
            raise UsageError(
                f"the runs saw different images under the name {name}: run both on the same data"
            )


def _scored(table: pd.DataFrame) -> pd.DataFrame:
    """Return the finished cells with their variant and score."""
    table = table.assign(variant=variant_names(table), score=main_score(table))
    return table[table["status"] == "ok"]


def _matched(a: list[str], b: list[str]) -> list[tuple[str, str]]:
    """Match the variants of both sides that are compared."""
    if len(a) == len(b) == 1:
        return [(a[0], b[0])]
    return [(name, name) for name in a if name in b]


def comparison_lines(table: pd.DataFrame) -> list[list[str]]:
    """Write a comparison as lines of text cells under COMPARISON_HEAD."""
    lines = []
    for r in table.to_dict("records"):
        lines.append(
            [
                f"{r['dataset']}, {r['asked']}",
                r["arm"],
                f"{percent(r['mean_a'])} {r['generator_a']}".strip(),
                f"{percent(r['mean_b'])} {r['generator_b']}".strip(),
                percent(r["difference"], True),
                interval_text(r["low"], r["high"]),
                str(r["pairs"]),
                probability(r["p_holm"]),
                r["verdict"],
            ]
        )
    return lines


def compare_images(a: Path, b: Path) -> pd.DataFrame:
    """Compare the measures of the synthetic images of two run folders, mean of the trials.

    A row for each measure and feature space. Generators are matched as in `compare_tables`; empty
    where a run has no quality.csv.
    """
    files = [run / "quality.csv" for run in (a, b)]
    if not all(file.is_file() for file in files):
        return pd.DataFrame()
    keys = ["dataset", "asked", "features"]
    tables = [read_csv(file, (*keys, "generator", "warning")) for file in files]
    sides = [dict(list(table.groupby(keys, sort=False))) for table in tables]
    rows = []
    for key in (key for key in sides[0] if key in sides[1]):
        for names in _matched(*(list(side[key]["generator"].unique()) for side in sides)):
            rows_of = [
                side[key][side[key]["generator"] == name]
                for side, name in zip(sides, names, strict=True)
            ]
            means = [trials.mean(numeric_only=True) for trials in rows_of]
            names_and_n = dict(zip(keys, key, strict=True)) | {
                f"{what}_{side}": value
                for what, pair in (("generator", names), ("n", map(len, rows_of)))
                for side, value in zip("ab", pair, strict=True)
            }
            rows += [
                {**names_and_n, "measure": measure, "a": means[0][measure], "b": means[1][measure]}
                for measure in MEASURES
                if all(_tells(measure, mean) for mean in means)
            ]
    return pd.DataFrame(rows)


def _tells(measure: str, mean: pd.Series) -> bool:
    """Tell whether a measure is in a run and is of enough images."""
    few = measure in BY_BALLS and mean.get("n", TELLING_FROM) < TELLING_FROM
    return measure in mean and not few


def image_lines(table: pd.DataFrame) -> list[list[str]]:
    """Write a comparison of images as lines of text cells under IMAGES_HEAD."""
    lines = []
    for r in table.to_dict("records"):
        label, text = MEASURES[r["measure"]]
        lines.append(
            [
                f"{Path(r['dataset']).name}, {r['asked']}",
                r["features"],
                label,
                *(f"{text(r[s])} {r[f'generator_{s}']}".strip() for s in "ab"),
                " ".join(dict.fromkeys(str(r[f"n_{s}"]) for s in "ab")),
            ]
        )
    return lines
