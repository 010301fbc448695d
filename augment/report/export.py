"""Export the augmented data set of a run: one folder per class, metadata.csv, data card."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from augment.data.grids import to_pillow
from augment.data.images import LabelledImages
from augment.errors import RunFolderError, UsageError
from augment.experiment.cells import Cell, expand
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.records import QualityResult, SyntheticResult
from augment.experiment.results_table import read_results
from augment.experiment.sampling import load_synthetic
from augment.experiment.validation import make_recipe
from augment.report.format import escape
from augment.report.samples import artefacts, chosen_cell, label_name
from augment.report.table import summarise, variant_names
from augment.report.verdicts import verdict_lines
from augment.storage.artifacts import Store
from augment.storage.atomic import write_atomic
from augment.storage.run_folder import read_settings
from augment.storage.tables import write_csv


def export_images(
    run_dir: Path,
    out: Path,
    generator: str | None,
    seed: int | None,
    data_dir: Path | None,
    *,
    with_real: bool,
) -> dict[str, Any]:
    """Write `out/CLASS/*.png`, `out/metadata.csv` and a data card; loads as an ImageFolder.

    The test set is never exported. Raises UsageError if `out` is not new or empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists: name a new or an empty folder")
    line = chosen_cell(run_dir, generator, seed)
    score, synthetic, _ = artefacts(run_dir, line)
    quality = QualityResult.read(Store(run_dir).verified_path("quality", str(score.quality)))
    images = load_synthetic(synthetic, tuple(score.classes))
    folders = _folder_names(score.classes)
    lines: list[dict[str, Any]] = []
    labelled, files = _labelled_images(run_dir, score.cell, data_dir)
    out.mkdir(parents=True, exist_ok=True)
    if with_real:
        lines += _write_images(out, labelled, folders, "real", files)
    lines += _write_images(out, images, folders, "synthetic", [""] * len(images))
    write_csv(out / "metadata.csv", pd.DataFrame(lines))
    findings = _verdict_sentences(run_dir, line)
    findings += [f"Warned of: {quality.warning}."] if quality.warning else []
    card = _data_card(line, SyntheticResult.read(synthetic), len(labelled), with_real, findings)
    write_atomic(out / "README.md", card)
    real = len(labelled) if with_real else 0
    return {"real": real, "synthetic": len(images), "found": findings}


def _verdict_sentences(run_dir: Path, line: dict[str, Any]) -> list[str]:
    """Return the verdict sentences of the run on the generator of a row."""
    table = read_results(run_dir / "results.csv")
    row = table.assign(variant=variant_names(table)).set_index("signature").loc[line["signature"]]
    return [
        sentence
        for each, sentence in verdict_lines(summarise(table))
        if (each["dataset"], each["asked"], each["generator"])
        == (row["dataset"], row["asked"], row["variant"])
    ]


def _labelled_images(
    run_dir: Path, cell: dict[str, Any], data_dir: Path | None
) -> tuple[LabelledImages, list[str]]:
    """Select the labelled images of a cell again, with their file names.

    Raises RunFolderError if the data are not the same.
    """
    settings = read_settings(run_dir / "settings.json")
    same = [
        c
        for c in expand(make_recipe(**settings))
        if (c.dataset, c.seed, c.frac, c.per_class)
        == (cell["dataset"], cell["seed"], cell["frac"], cell["per_class"])
    ]
    first: Cell = same[0]  # all arms of a trial have the same subset
    data = DatasetCache(data_dir).of(first)
    shas = set(read_results(run_dir / "results.csv")["data_sha"].dropna())
    if data.sha not in shas:
        raise RunFolderError(f"{first.dataset} has changed since {run_dir} was run: run it again")
    indices = first.labelled_indices(data.pool)
    return data.pool.select(indices), [data.pool_files[i] for i in indices.tolist()]


def _folder_names(classes: list[str]) -> list[str]:
    """Make a unique folder name for each class."""
    names: list[str] = []
    for name in map(label_name, classes):
        unique, number = name, 2
        while unique in names:
            unique, number = f"{name}_{number}", number + 1
        names.append(unique)
    return names


def _write_images(
    out: Path, data: LabelledImages, folders: list[str], source: str, files: list[str]
) -> list[dict[str, Any]]:
    """Write PNG files by class; return their rows of metadata.csv."""
    lines = []
    for index, (image, label) in enumerate(zip(data.images, data.labels.tolist(), strict=True)):
        file = out / folders[label] / f"{source}-{index:06d}.png"
        file.parent.mkdir(exist_ok=True)
        to_pillow(image).save(file)
        lines.append(
            {
                "file_name": file.relative_to(out).as_posix(),
                "label": data.classes[label],
                "source": source,
                "original": files[index],
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            }
        )
    return lines


def _data_card(
    line: dict[str, Any],
    sampled: SyntheticResult,
    n_labelled: int,
    with_real: bool,
    findings: list[str],
) -> str:
    """Write what a user of the exported set must know, in Markdown."""
    what = f"{n_labelled} labelled images and " if with_real else ""
    training_data = f"trained on those {n_labelled} labelled images alone"
    if not sampled.closed_set:
        training_data = "trained elsewhere, on data that this card does not know"
    findings_list = "".join(f"- {escape(sentence)}\n" for sentence in findings)
    return f"""# Augmented data set

{what}{sampled.n} synthetic images, a folder a class; `metadata.csv` says which is which.

- Made by `augment` {line["version"]} from `{line["dataset"]}`, trial {line["seed"]}: generator
  `{line["generator"]}` (preset {line["preset"]}), {line["ratio"]:g} synthetic images for each
  labelled one, {training_data}
  (closed set: {"yes" if sampled.closed_set else "no"}).
{findings_list}- **Not anonymous.** Synthetic images can repeat labelled ones: copy rate
  {sampled.copy_rate:.1%} (share with d1/d2 < 1/3 in pixels, or nearer to a labelled image than
  99 % of those are to each other; a low rate is no proof of privacy).
- Labels of synthetic images are what the generator was asked for; nobody looked at them.
- No test image is in here. Do not test on synthetic images, and do not test on labelled images
  that trained the generator.
- Licence and terms: those of the source data.
"""
