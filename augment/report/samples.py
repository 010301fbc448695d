"""Sample new images from a generator that a run has trained."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from augment.data.grids import class_grid, save_png, to_pillow
from augment.errors import UsageError, unknown
from augment.experiment.records import ScoreResult, SyntheticResult
from augment.experiment.results_table import read_results
from augment.generators import GENERATORS
from augment.report.folder_names import folder_names
from augment.runtime.device import pick_device
from augment.runtime.seeds import seed_for
from augment.storage.artifacts import Store
from augment.training.serialization import load_learner


def chosen_cell(run_dir: Path, generator: str | None, seed: int | None) -> dict[str, Any]:
    """Find the first finished row that matches and has synthetic images; UsageError if none."""
    table = read_results(run_dir / "results.csv")
    rows = table[(table["status"] == "ok") & (table["n_synth"] > 0)]
    if rows.empty:
        raise UsageError(f"{run_dir} has no finished cell with a generator")
    if generator is not None:
        if generator not in set(rows["generator"]):
            raise unknown(f"generator in {run_dir}", generator, rows["generator"].unique())
        rows = rows[rows["generator"] == generator]
    if seed is not None:
        if seed not in set(rows["seed"]):
            raise unknown(f"trial in {run_dir}", str(seed), map(str, rows["seed"].unique()))
        rows = rows[rows["seed"] == seed]
    return rows.iloc[0].to_dict()


def artefacts(run_dir: Path, line: dict[str, Any]) -> tuple[ScoreResult, Path, Path]:
    """Locate a cell's artefacts: (score, path of the synthetic set, path of the generator)."""
    store = Store(run_dir)
    score = ScoreResult.read(store.verified_path("score", str(line["signature"])))
    synthetic = store.verified_path("synthetic", str(score.synthetic))
    model = SyntheticResult.read(synthetic).model
    return score, synthetic, store.verified_path("generator", model)


@dataclass(frozen=True)
class SampleRequest:
    """Request for images from a run's generator."""

    label: str | None  # a class; None: labels at random
    n: int
    generator: str | None = None  # None: the first of the run
    seed: int | None = None  # None: at random
    guidance: float | None = None  # None: as in the run


def draw_samples(
    run_dir: Path, request: SampleRequest, out: Path | None, device: str
) -> dict[str, Any]:
    """Sample new images; write PNG files and a sheet; return their paths, labels and seed."""
    row = chosen_cell(run_dir, request.generator, None)
    score, synthetic, model = artefacts(run_dir, row)
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    labels = _labels_of(request, score.classes, seed)
    settings = SyntheticResult.read(synthetic).settings
    if request.guidance is not None:
        if "guidance" not in settings:
            name = score.cell["generator"]
            raise UsageError(f"--guidance: generator '{name}' has none; leave the flag out")
        settings["guidance"] = request.guidance
    learner = load_learner(GENERATORS, model, pick_device(device), **settings)
    seeds = torch.tensor([seed_for(seed, i) for i in range(request.n)])
    images = learner.sample(labels, seeds=seeds)
    if out and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} exists: name a new or an empty folder")
    name_of = dict(zip(score.classes, folder_names(score.classes), strict=True))
    which = "random" if request.label is None else name_of[request.label]
    folder = out or run_dir / "samples" / f"{which}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    names = [score.classes[label] for label in labels.tolist()]
    for i, (image, name) in enumerate(zip(images, names, strict=True)):
        to_pillow(image).save(folder / f"{i:04d}-{name_of[name]}.png")
    sheet = folder / "sheet.png"
    save_png(class_grid(images, min(request.n, 8)), sheet)
    return {
        "sheet": str(sheet),
        "folder": str(folder),
        "generator": score.cell["generator"],
        "seed": seed,
        "labels": names,
    }


def _labels_of(request: SampleRequest, classes: list[str], seed: int) -> torch.Tensor:
    """Choose the class index of each sample: [n]; UsageError for a label that is no class."""
    if request.label is None:
        rng = torch.Generator().manual_seed(seed_for(seed, "labels"))
        return torch.randint(len(classes), (request.n,), generator=rng)
    if request.label not in classes:
        raise unknown("label", request.label, classes)
    return torch.full((request.n,), classes.index(request.label))
