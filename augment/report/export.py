"""Taking things away from a run: images from its generators, and the augmented data set."""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from augment.data.grids import class_grid, save_png, to_pillow
from augment.data.images import LabelledImages
from augment.errors import RunFolderError, UsageError, unknown
from augment.experiment.cells import Cell, expand
from augment.experiment.context import DatasetCache
from augment.experiment.recipe import make_recipe
from augment.experiment.records import QualityResult, ScoreResult, SyntheticResult
from augment.experiment.sampling import load_synthetic
from augment.generators import GENERATORS
from augment.report.run_outputs import read_results
from augment.report.table import escape, summarise, variants, verdict_lines
from augment.runtime.device import pick_device
from augment.runtime.seeds import seed_for
from augment.storage.artifacts import Store
from augment.storage.atomic import write_atomic
from augment.storage.run_folder import read_settings
from augment.storage.tables import write_csv
from augment.training.serialization import load_learner


def chosen_cell(run_dir: Path, generator: str | None, seed: int | None) -> dict[str, Any]:
    """The first finished row with synthetic images that fits; UsageError names what there is."""
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
    """(the cell's score, its synthetic set, its generator)."""
    store = Store(run_dir)
    score = ScoreResult.read(store.verified_path("score", str(line["signature"])))
    synthetic = store.verified_path("synthetic", str(score.synthetic))
    model = SyntheticResult.read(synthetic).model
    return score, synthetic, store.verified_path("generator", model)


def draw_samples(
    run_dir: Path,
    label: str | None,
    n: int,
    generator: str | None,
    seed: int | None,
    guidance: float | None,
    out: Path | None,
    device: str,
) -> dict[str, Any]:
    """PNG files of fresh samples and a sheet of them; without a label the classes are drawn."""
    score, synthetic, model = artefacts(run_dir, chosen_cell(run_dir, generator, None))
    classes = score.classes
    if label is not None and label not in classes:
        raise unknown("label", label, classes)
    seed = secrets.randbelow(2**31) if seed is None else seed
    if label is None:
        rng = torch.Generator().manual_seed(seed_for(seed, "labels"))
        labels = torch.randint(len(classes), (n,), generator=rng)
    else:
        labels = torch.full((n,), classes.index(label))
    settings = SyntheticResult.read(synthetic).settings
    if guidance is not None:
        if "guidance" not in settings:
            name = score.cell["generator"]
            raise UsageError(f"--guidance: generator '{name}' has none; leave the flag out")
        settings["guidance"] = guidance
    learner = load_learner(GENERATORS, model, pick_device(device), **settings)
    images = learner.sample(labels, seeds=torch.tensor([seed_for(seed, i) for i in range(n)]))
    if out and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} exists: name a new or an empty folder")
    folder = out or run_dir / "samples" / f"{label_name(label or 'random')}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    for i, (image, k) in enumerate(zip(images, labels.tolist(), strict=True)):
        to_pillow(image).save(folder / f"{i:04d}-{label_name(classes[k])}.png")
    sheet = folder / "sheet.png"
    save_png(class_grid(images, min(n, 8)), sheet)
    return {
        "sheet": str(sheet),
        "folder": str(folder),
        "generator": score.cell["generator"],
        "seed": seed,
        "labels": [classes[k] for k in labels.tolist()],
    }


def label_name(name: str) -> str:
    """A class as a folder name: letters, digits, `.`, `_`, `-` and spaces; no flag, not hidden."""
    return re.sub(r"[^\w .-]", "_", name).lstrip("-. ")[:80].rstrip(" .") or "_"


def export_images(
    run_dir: Path,
    out: Path,
    generator: str | None,
    seed: int | None,
    data_dir: Path | None,
    *,
    with_real: bool,
) -> dict[str, Any]:
    """`out/CLASS/*.png`, `out/metadata.csv` and a data card; reads back as an ImageFolder.

    The test set is never exported. Raises UsageError if `out` is not new or empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists: name a new or an empty folder")
    line = chosen_cell(run_dir, generator, seed)
    score, synthetic, _ = artefacts(run_dir, line)
    quality = QualityResult.read(Store(run_dir).verified_path("quality", str(score.quality)))
    images = load_synthetic(synthetic, tuple(score.classes))
    folders = folder_names(score.classes)
    lines: list[dict[str, Any]] = []
    labelled, files = labelled_of(run_dir, score.cell, data_dir)
    out.mkdir(parents=True, exist_ok=True)
    if with_real:
        lines += write_images(out, labelled, folders, "real", files)
    lines += write_images(out, images, folders, "synthetic", [""] * len(images))
    write_csv(out / "metadata.csv", pd.DataFrame(lines))
    found = sentences(run_dir, line)
    found += [f"Warned of: {quality.warning}."] if quality.warning else []
    card = data_card(line, SyntheticResult.read(synthetic), len(labelled), with_real, found)
    write_atomic(out / "README.md", card)
    real = len(labelled) if with_real else 0
    return {"real": real, "synthetic": len(images), "found": found}


def sentences(run_dir: Path, line: dict[str, Any]) -> list[str]:
    """The verdict of the run on the generator of a row, where it has one."""
    table = read_results(run_dir / "results.csv")
    own = table.assign(variant=variants(table)).set_index("signature").loc[line["signature"]]
    return [
        said
        for each, said in verdict_lines(summarise(table))
        if (each["dataset"], each["asked"], each["generator"])
        == (own["dataset"], own["asked"], own["variant"])
    ]


def labelled_of(
    run_dir: Path, cell: dict[str, Any], data_dir: Path | None
) -> tuple[LabelledImages, list[str]]:
    """The labelled images of a cell, drawn again, and the files that they are of.

    RunFolderError if the data are not the same.
    """
    settings = read_settings(run_dir / "settings.json")
    same = [
        c
        for c in expand(make_recipe(**settings))
        if (c.dataset, c.seed, c.frac, c.per_class)
        == (cell["dataset"], cell["seed"], cell["frac"], cell["per_class"])
    ]
    first: Cell = same[0]
    data = DatasetCache(data_dir).of(first)
    shas = set(read_results(run_dir / "results.csv")["data_sha"].dropna())
    if data.sha not in shas:
        raise RunFolderError(f"{first.dataset} has changed since {run_dir} was run: run it again")
    indices = first.labelled_indices(data.pool)
    return data.pool.select(indices), [data.pool_files[i] for i in indices.tolist()]


def folder_names(classes: list[str]) -> list[str]:
    """A folder name for each class, all different."""
    names: list[str] = []
    for name in map(label_name, classes):
        unique, number = name, 2
        while unique in names:
            unique, number = f"{name}_{number}", number + 1
        names.append(unique)
    return names


def write_images(
    out: Path, data: LabelledImages, folders: list[str], source: str, files: list[str]
) -> list[dict[str, Any]]:
    """PNG files by class, and their rows of metadata.csv."""
    lines = []
    for place, (image, label) in enumerate(zip(data.images, data.labels.tolist(), strict=True)):
        file = out / folders[label] / f"{source}-{place:06d}.png"
        file.parent.mkdir(exist_ok=True)
        to_pillow(image).save(file)
        lines.append(
            {
                "file_name": file.relative_to(out).as_posix(),
                "label": data.classes[label],
                "source": source,
                "original": files[place],
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            }
        )
    return lines


def data_card(
    line: dict[str, Any],
    sampled: SyntheticResult,
    n_labelled: int,
    with_real: bool,
    found: list[str],
) -> str:
    """What a user of the exported set must know, in Markdown."""
    what = f"{n_labelled} labelled images and " if with_real else ""
    learnt = f"trained on those {n_labelled} labelled images alone"
    if not sampled.closed_set:
        learnt = "trained elsewhere, on data that this card does not know"
    said = "".join(f"- {escape(sentence)}\n" for sentence in found)
    return f"""# Augmented data set

{what}{sampled.n} synthetic images, a folder a class; `metadata.csv` says which is which.

- Made by `augment` {line["version"]} from `{line["dataset"]}`, trial {line["seed"]}: generator
  `{line["generator"]}` (preset {line["preset"]}), {line["ratio"]:g} synthetic images for each
  labelled one, {learnt}
  (closed set: {"yes" if sampled.closed_set else "no"}).
{said}- **Not anonymous.** Synthetic images can repeat labelled ones: copy rate
  {sampled.copy_rate:.1%} (share with d1/d2 < 1/3 in pixels, or nearer to a labelled image than
  99 % of those are to each other; a low rate is no proof of privacy).
- Labels of synthetic images are what the generator was asked for; nobody looked at them.
- No test image is in here. Do not test on synthetic images, and do not test on labelled images
  that trained the generator.
- Licence and terms: those of the source data.
"""
