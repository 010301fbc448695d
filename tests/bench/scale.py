"""What ten thousand cells cost besides their training: planning, status, results, each stage.

    python tests/bench/scale.py [--data-dir DIR] [--out results/bench/scale]

No training is measured. Each figure stands beside the limit that it must stay under.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from augment.classifiers import CLASSIFIERS
from augment.data.datasets import load_dataset
from augment.engine.run import check_data
from augment.engine.status import Status
from augment.experiment.arms import training_set
from augment.experiment.cells import Cell, expand
from augment.experiment.context import RunContext, Trial
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.records import SyntheticResult
from augment.experiment.results_table import identity, read_results, write_results
from augment.experiment.sampling import synthesise
from augment.experiment.stages import fit_generator, train_and_score
from augment.experiment.synthetic_use import SyntheticUse
from augment.experiment.validation import make_recipe
from augment.metrics.classification import scores
from augment.runtime.machine import environment
from augment.runtime.seeds import seed_for
from augment.runtime.steps import run_to_end
from augment.storage.artifacts import Store
from augment.storage.run_folder import STATUS_FILE
from augment.training.loop import fit

CPU = torch.device("cpu")
Rows = Iterator[tuple[str, float, float, str]]  # figure, measured, limit, unit


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def resident_mb() -> float:
    """What this process holds now: reading the data took more, so its peak would hide a growth."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def planned(dataset: str, data_dir: Path | None) -> tuple[list[Cell], Rows]:
    """Ten thousand cells from a recipe, and their subsets drawn as a run does before it begins."""
    shelf, found = DatasetCache(data_dir), []
    asked = dict(dataset=dataset, per_class="10", generator="ddpm,cgan,cvae,mix,noise")
    recipe = make_recipe(**asked, seeds="589", preset="smoke").resolved("cpu")
    one = make_recipe(**asked, seeds="1", preset="smoke").resolved("cpu")
    shelf.of(expand(one)[0])  # the data are read before
    before = resident_mb()
    spent = seconds(lambda: found.extend(expand(recipe)))
    spent += seconds(lambda: check_data(found, shelf))
    return found, iter(
        [
            (f"{len(found):,} cells planned", spent, 5.0, "s"),
            ("memory kept by that", resident_mb() - before, 500.0, "MB"),
        ]
    )


def finished(cells: list[Cell], folder: Path) -> Rows:
    """A run folder in which all of them have ended."""
    done = dict(status="ok", accuracy=0.9, signature="0" * 16)
    rows = {number: {**identity(cell), **done} for number, cell in enumerate(cells)}
    status = Status(len(cells))
    status.ended.update(rows)
    (folder / "settings.json").write_text("{}")
    (folder / STATUS_FILE).write_text(status.record(going=False))
    yield (
        "results.csv of all written",
        seconds(lambda: write_results(folder, cells, rows)),
        5.0,
        "s",
    )
    yield "results of all read", seconds(lambda: read_results(folder / "results.csv")), 5.0, "s"
    command = [sys.executable, "-m", "augment", "status", str(folder), "--json"]
    asked = seconds(lambda: subprocess.run(command, check=True, capture_output=True))
    yield "augment status of all, the process too", asked, 2.0, "s"


def overhead(folder: Path) -> Rows:
    """Of the engine in each stage: what it takes beyond the bare function, digits, 10 a class."""
    recipe = make_recipe(generator="noise", arm="real+synth", seeds="1", preset="smoke")
    cell, data = expand(recipe.resolved("cpu"))[0], load_dataset("digits")
    trial, made = Trial.prepare(cell, data, RunContext(Store(folder), CPU, "fp32", -1)), {}

    def staged(name: str, steps: Any) -> float:
        def work() -> None:
            made[name] = run_to_end(steps)

        return seconds(work)

    yield "generator", staged("generator", fit_generator(trial)), 0.3, "s"
    spent = staged("synthetic", synthesise(trial, made["generator"]))
    yield "synthetic", spent - SyntheticResult.read(made["synthetic"]).sample_seconds, 0.3, "s"

    learnt = training_set("real", trial.labelled, None, trial.transform, 0.0)
    learner = CLASSIFIERS[cell.classifier](**cell.classifier_settings)

    def plain() -> None:
        fit(learner, learnt, seed=seed_for(cell.seed, "classifier"), device=CPU)
        list(learner.predict(data.test.images))

    plain()
    scores(data.test.labels.numpy(), data.test.labels.numpy())  # imports scikit-learn
    bare = seconds(plain)
    real = dataclasses.replace(cell, arm="real", generator=None, use=SyntheticUse())
    spent = staged("score", train_and_score(trial.of(real), None))
    yield "score", spent - bare, 0.3, "s"


def main() -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results/bench/scale"))
    asked = parser.parse_args()
    cells, rows = planned(asked.dataset, asked.data_dir)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        found = [*rows, *finished(cells, Path(one))]
        found += [(f"overhead of the stage {name}", *rest) for name, *rest in overhead(Path(other))]
    table = pd.DataFrame(found, columns=["figure", "measured", "limit", "unit"])
    table.to_csv(asked.out.with_suffix(".csv"), index=False)
    about = environment(CPU)
    asked.out.with_suffix(".md").write_text(
        f"# Scale\n\n{about['processor']}, {about['cores']} cores, torch "
        f"{about['versions']['torch']}, {asked.dataset}; one run of `tests/bench/scale.py`.\n\n"
        f"{table.round(3).to_markdown(index=False)}\n"
    )
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
