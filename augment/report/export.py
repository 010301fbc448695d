"""Export the augmented data set of a run: images in a format that others load, and a data card."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from augment.data.images import LabelledImages
from augment.data.pictures.framing import AFFORDED_SIDE
from augment.errors import RunFolderError, UsageError, unknown
from augment.experiment.cells import Cell, expand
from augment.experiment.composing import GENERATED, Composition
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.detection import load_pictures
from augment.experiment.records import QualityResult, SyntheticResult
from augment.experiment.results_table import read_results
from augment.experiment.sampling import load_synthetic
from augment.experiment.validation import make_recipe
from augment.report.data_card import CardFacts, data_card
from augment.report.export_boxes import BOXED_EXPORT, ExportPicture, export_pictures
from augment.report.export_formats import EXPORT_FORMATS, ExportFormat, ExportImage
from augment.report.originals import data_folder, original_image, original_pictures
from augment.report.samples import artefacts, chosen_cell
from augment.report.table import summarise, variant_names
from augment.report.verdicts import verdict_lines
from augment.storage.artifacts import Store
from augment.storage.run_folder import kept_side, read_settings


@dataclass(frozen=True)
class ExportRequest:
    """Which images of a run are exported, and how."""

    generator: str | None = None  # None: the first of the run
    seed: int | None = None  # the trial; None: the first
    with_real: bool = True
    original_size: bool = False  # of the labelled images
    format: str = "imagefolder"  # key of EXPORT_FORMATS


@dataclass(frozen=True)
class LabelledSet:
    """The labelled images of a trial, with what is known of their files."""

    images: Any  # LabelledImages, or BoxedImages
    files: list[str]
    groups: list[str]  # empty, or "" or e.g. the patient of each image
    cell: Cell


def export_images(
    run_dir: Path, out: Path, request: ExportRequest, data_dir: Path | None
) -> dict[str, Any]:
    """Write the images, a table of them and a data card to `out`: all or nothing.

    The test set is never exported. Raises UsageError if `out` is not new or empty, or lies in the
    data set.
    """
    row = chosen_cell(run_dir, request.generator, request.seed)
    score, synthetic_dir, _ = artefacts(run_dir, row)
    made = score.pictures and load_pictures(
        Store(run_dir).verified_path("pictures", score.pictures)
    )
    layout = _checked_layout(request, out, boxed=bool(made))
    quality = QualityResult.read(Store(run_dir).verified_path("quality", str(score.quality)))
    synthetic = load_synthetic(synthetic_dir, tuple(score.classes))
    labelled = _labelled_set(run_dir, score.cell, data_dir)
    source = data_folder(labelled.cell.dataset)
    if source and out.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{out} lies in the data set {source}: name another folder")
    if request.original_size and not source:
        raise UsageError(
            f"--original-size: {labelled.cell.dataset} is no folder of image files: leave it out"
        )
    findings = _verdict_sentences(run_dir, row)
    facts = CardFacts(
        row=row,
        sampled=SyntheticResult.read(synthetic_dir),
        n_labelled=len(labelled.images),
        n_synthetic=len(made.images if made else synthetic),
        with_real=request.with_real,
        shape=(made.images if made else synthetic).shape,
        original_size=request.original_size,
        n_groups=len(set(labelled.groups) - {""}),
        classes=score.classes,
        findings=findings + ([f"Warned of: {quality.warning}."] if quality.warning else []),
    )
    root = source if request.original_size else None
    with _whole_or_nothing(out) as folder:
        if made:
            real, new = _labelled_pictures(labelled, root), _composed_pictures(made)
        else:
            real, new = _labelled(labelled, root), _synthetic(synthetic)
        images = itertools.chain(real if request.with_real else (), new)
        head = layout.write(folder, images, score.classes)
        card = data_card(facts, head, layout)
        (folder / "README.md").write_text(card, encoding="utf-8", errors="backslashreplace")
    n_real = len(labelled.images) if request.with_real else 0
    return {"real": n_real, "synthetic": facts.n_synthetic, "found": facts.findings}


def _checked_layout(request: ExportRequest, out: Path, boxed: bool) -> ExportFormat:
    """Return the layout of an export; UsageError if `out` is in use or the flags do not agree."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists: name a new or an empty folder")
    layout = EXPORT_FORMATS.get(request.format)
    if layout is None:
        raise unknown("--format", request.format, EXPORT_FORMATS)
    if boxed:
        if request.format != ExportRequest.format:
            raise UsageError("--format is for images with classes, and these have boxes")
        return BOXED_EXPORT
    if request.original_size and not layout.own_sizes:
        raise UsageError(
            f"--format {request.format} holds images of one size: leave out --original-size"
        )
    return layout


@contextlib.contextmanager
def _whole_or_nothing(out: Path) -> Iterator[Path]:
    """Yield a folder to fill, whose content is moved to `out` once it is whole."""
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    # inside `out`, which may be a file system of its own, and hidden from readers of images
    partial = out / ".partial"
    partial.mkdir()
    try:
        yield partial
        for item in sorted(partial.iterdir()):
            item.rename(out / item.name)
        partial.rmdir()
    except BaseException:  # an interrupt too must leave no part of a data set
        for item in list(out.iterdir()):  # which was empty before
            shutil.rmtree(item) if item.is_dir() else item.unlink()
        if made:
            out.rmdir()
        raise


def _labelled(labelled: LabelledSet, root: Path | None) -> Iterator[ExportImage]:
    """Yield the labelled images; from `root` they are read again, at the size of their files."""
    groups = labelled.groups or [""] * len(labelled.files)
    for k, (pixels, label) in enumerate(_pairs(labelled.images)):
        file = labelled.files[k]
        if root:
            pixels = original_image(root, file, len(pixels), labelled.cell.reading.pages)
        yield ExportImage(pixels, label, "real", k, file, groups[k])


def _synthetic(data: LabelledImages) -> Iterator[ExportImage]:
    """Yield the synthetic images."""
    for k, (pixels, label) in enumerate(_pairs(data)):
        yield ExportImage(pixels, label, "synthetic", k)


def _labelled_pictures(labelled: LabelledSet, root: Path | None) -> Iterator[ExportPicture]:
    """Yield the labelled pictures with their boxes; from `root` both are read again, unscaled."""
    data, files = labelled.images, labelled.files
    pictures = export_pictures(data, "real", files=files, groups=labelled.groups)
    if root is None:
        yield from pictures
        return
    originals = original_pictures(root, files, data, labelled.cell.reading)
    for picture, (pixels, boxes) in zip(pictures, originals, strict=True):
        made = [False] * len(boxes)
        yield dataclasses.replace(picture, pixels=pixels, boxes=boxes, synthetic=made)


def _composed_pictures(made: Composition) -> Iterator[ExportPicture]:
    """Yield the composed pictures; boxes of generated objects are synthetic."""
    return export_pictures(made.images, "synthetic", synthetic=made.origins == GENERATED)


def _pairs(data: LabelledImages) -> Iterator[tuple[Tensor, int]]:
    """Pair each image [C, H, W] with its label."""
    return zip(data.images, data.labels.tolist(), strict=True)


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


def _labelled_set(run_dir: Path, cell: dict[str, Any], data_dir: Path | None) -> LabelledSet:
    """Select the labelled images of a cell again.

    Raises RunFolderError if the data are not the same.
    """
    settings = read_settings(run_dir / "settings.json")
    same = [
        c
        for c in expand(make_recipe(**settings))
        if (c.dataset, c.seed, c.frac, c.per_class)
        == (cell["dataset"], cell["seed"], cell["frac"], cell["per_class"])
    ]
    first = same[0]  # all arms of a trial have the same subset
    data = DatasetCache(data_dir, kept_side(run_dir, AFFORDED_SIDE)).of(first)
    shas = set(read_results(run_dir / "results.csv")["data_sha"].dropna())
    if data.sha not in shas:
        raise RunFolderError(f"{first.dataset} has changed since {run_dir} was run: run it again")
    indices = first.labelled_indices(data)
    files, groups = (
        [values[i] for i in indices.tolist()] if values else []
        for values in (data.pool_files, data.pool_groups)
    )
    return LabelledSet(data.pool.select(indices), files, groups, first)
