"""Does the advice cost anything? The winner of the race against the ways that it passed over.

    python tests/bench/advise.py --budget 10m --out results/bench/advise.csv --data neu=/images/neu

A row for each data set × amount: the winner, the best free way and the usual one, measured on test
images in trials that the race did not use. The choice costs more than its noise where the winner
is surely worse than the usual way (`low` to `high` is the 95 % interval of the gain). Rows that the
file has are not made again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from augment.engine.advise import execute_advice
from augment.engine.executors import make_executor
from augment.experiment.hyperparameters import parse_set
from augment.experiment.ways import advice_recipe
from augment.runtime.steps import run_to_end
from augment.runtime.units import parse_duration

COMBINATIONS = (  # data set, labelled images a class
    ("digits", 5),
    ("digits", 10),
    ("digits", 30),
    ("mnist", 5),
    ("mnist", 20),
    ("cifar10", 20),
    ("neu", 10),
    ("neu", 20),
    ("cells", 10),
    ("cells", 20),
)
FIRST_SEED = 1000  # of the race; the trials after it are those of the measurement
OWN_SIDE = 32  # pixels of images that are no named data set


def row_of(
    name: str, per_class: int, seed: int, asked: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Run one advice and tabulate what it found."""
    own = dict(part.split("=", 1) for part in asked.data)
    recipe = advice_recipe(
        dataset=own.get(name, name),
        per_class=per_class,
        size=OWN_SIDE if name in own else None,
        preset=asked.preset,
        seeds=range(seed, seed + 1 + asked.trials),
        set=parse_set(asked.set),
    )
    steps = execute_advice(
        recipe,
        parse_duration("--budget", asked.budget),
        out=folder / f"{name}-{per_class}-{seed}",
        data_dir=asked.data_dir,
        executor=make_executor("local", asked.device, jobs=asked.jobs),
    )
    facts = run_to_end(steps).advice
    ways = {way["way"]: way for way in facts["ways"]}
    winner, gain = ways[facts["winner"]], ways[facts["winner"]]["gain"] or {}
    over_free = winner["gain_over_free"] or {}
    return {
        "dataset": name,
        "per_class": per_class,
        "seed": seed,
        "winner": facts["winner"],
        "best_free": facts["best_free"],
        "n": winner["n"],
        "usual": ways[facts["usual"]]["accuracy"],
        "accuracy": winner["accuracy"],
        "best_measured": max(way["accuracy"] for way in ways.values()),
        **{f"gain_{key}": gain.get(key, 0.0) for key in ("mean", "low", "high")},
        **{f"over_free_{key}": over_free.get(key, 0.0) for key in ("mean", "low", "high")},
        "equivalent": (facts["equivalent"] or {}).get("words", ""),
        "left_out": len(facts["left_out"]),
        "seconds": facts["used_seconds"],
    }


def rows(asked: argparse.Namespace, known: set[tuple[str, int, int]]) -> Iterator[dict[str, Any]]:
    """Yield a row for each combination that is not known and whose data are given."""
    own = {part.split("=", 1)[0] for part in asked.data}
    for name, per_class in COMBINATIONS:
        there = name in own or name in ("digits", "mnist", "cifar10")
        if name not in (asked.only or [name]) or not there:
            continue
        for seed in range(FIRST_SEED, FIRST_SEED + 100 * asked.races, 100):
            if (name, per_class, seed) not in known:
                with tempfile.TemporaryDirectory() as folder:
                    yield row_of(name, per_class, seed, asked, Path(folder))


def main() -> None:
    """Add the rows that are missing to the table, and say how often the choice cost something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/bench/advise.csv"))
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--preset", default="auto")
    parser.add_argument("--races", type=int, default=1, help="of each combination")
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--data", nargs="*", default=[], help="NAME=FOLDER of own images")
    parser.add_argument("--only", nargs="*", help="names of data sets")
    parser.add_argument("--set", nargs="*", default=[], help="SECTION.KEY=VALUE")
    asked = parser.parse_args()
    table = pd.read_csv(asked.out) if asked.out.is_file() else pd.DataFrame()
    known = (
        set(zip(*(table[k] for k in ("dataset", "per_class", "seed")), strict=True))
        if len(table)
        else set()
    )
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    for row in rows(asked, known):
        print(row, file=sys.stderr, flush=True)
        table = pd.concat([table, pd.DataFrame([row])])
        table.to_csv(asked.out, index=False)
    worse = table[table["gain_high"] < 0]
    below = table[table["over_free_high"] < 0]
    print(
        f"{len(table)} advices: {len(worse)} surely worse than the usual way, {len(below)} surely "
        f"worse than the best free way; mean gain over the usual way "
        f"{100 * table['gain_mean'].mean():+.2f} points"
    )


if __name__ == "__main__":
    main()
