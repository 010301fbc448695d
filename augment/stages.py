"""The three stages of a cell, each an artefact: generator, synthetic images, score."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from augment.arms import ARMS, generator_set
from augment.cells import Cell
from augment.classifiers import CLASSIFIERS
from augment.data.images import LabelledImages
from augment.generators import GENERATORS
from augment.learn import SNAPSHOTS, Learner, TrainingSet, as_numbers, train
from augment.metrics.classification import scores
from augment.metrics.copies import copy_finder
from augment.precision import probe_key, safe_precision
from augment.recover import halve_rate, mend
from augment.report.pictures import class_grid, save_picture
from augment.runtime import peak_memory_mb, pick_precision, seed_for
from augment.state import good_state, load_full_state, load_learner, save_learner, save_weights
from augment.store import (
    Store,
    TensorFile,
    file_sha,
    load_checkpoint,
    save_checkpoint,
    signature,
    write_atomic,
    write_csv,
)
from augment.weights import weights_file

CHECKPOINT_SECONDS = 20.0  # what a kill can cost at most, and the steps to the next log point
LOG_POINTS = 50  # values of each metric kept in history.csv
LOG_STEPS = (5, 100)  # between two, at least and at most; what a loss that is no number can cost
SYNTHETIC = "synthetic.safetensors"
DRAWN = 512  # images between two signs of life; whole network calls, as in `rows_at_once`


@dataclass(frozen=True)
class Progress:
    """Where a cell is: yielded after every step."""

    stage: str  # "generator", "synthetic", "quality" or "score"; "cell" when a cell has ended
    cell: str
    step: int
    steps: int
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0  # of training in this stage so far, earlier tries counted in
    changed: dict[str, Any] = field(default_factory=dict)  # by a fault, see `mend`
    warning: str = ""  # something that a person should read now
    number: int | None = None  # of the cell in the run


Steps = Iterator[Progress]


@dataclass(frozen=True)
class Bench:
    """What a cell is run with and on; none of it changes what is asked."""

    store: Store
    device: torch.device
    precision: str  # as asked: auto, fp32 or bf16
    first_seed: int  # the trial whose generators leave pictures of their training


def resolve_precision(
    learner: Learner, data: LabelledImages, at: tuple[str, str], bench: Bench
) -> Generator[Progress, None, str]:
    """fp32 or bf16 for a learner; where bf16 would give wrong numbers here, a warning and fp32.

    Tried once a run folder, which keeps the verdict and the warning; `at` is (stage, cell) to name
    with the warning.
    """
    picked = pick_precision(bench.precision, bench.device, max(data.shape[1:]))
    if picked == "fp32" or bench.device.type != "cpu":
        return picked
    sig = signature({"tried": probe_key(learner, data)})
    path = bench.store.path("precision", sig)
    with bench.store.making("precision", sig) as folder:
        if folder is not None:
            precision, warning = safe_precision(learner, data, picked, bench.device)
            about = {"precision": precision, "warning": warning}
            write_atomic(folder / "about.json", json.dumps(about, indent=1))
            if warning:
                yield Progress(*at, 0, 1, warning=warning)
    return json.loads((path / "about.json").read_text())["precision"]


def fit_generator(
    cell: Cell, labelled: LabelledImages, policy: str, bench: Bench
) -> Generator[Progress, None, Path]:
    """Train the cell's generator on the labelled images alone, unless it is there already."""
    learner = GENERATORS[cell.entry](**cell.generator_settings)
    data = generator_set(labelled, policy, learner.transformed)
    at = ("generator", cell.name)
    precision = yield from resolve_precision(learner, data.parts[0], at, bench)
    sig = signature({**cell.generator_record(labelled.sha, precision), "classic": policy})
    path = bench.store.path("generator", sig)
    with bench.store.making("generator", sig) as folder:
        if folder is None:
            return path
        seed = seed_for(cell.seed, "generator", cell.entry)
        learner.prepare(data.parts[0], seed=seed, device=bench.device, precision=precision)
        grids = grid_steps(learner) if cell.seed == bench.first_seed else set()
        snapshots = snapshot_steps(learner)
        seconds, changed = 0.0, {}
        for progress in trained(learner, data, seed, bench.device, folder, "generator", cell):
            seconds, changed = progress.seconds, progress.changed
            if progress.step in grids:
                shown, seeds = grid_request(len(labelled.classes))
                picture = class_grid(learner.sample(shown, seeds=seeds), 8)
                save_picture(picture, folder / f"step-{progress.step}.png")
            if progress.step in snapshots:
                save_weights(learner, folder, snapshots[progress.step])
            yield progress
        save_learner(learner, cell.entry, data.parts[0], folder, precision)
        about = {
            "cell": cell.trial,
            "generator": cell.generator,
            "closed_set": learner.closed_set,
            "seconds": seconds,
            "precision": precision,
            "device": str(bench.device),
            "images_seen": learner.steps * learner.batch,
            "classic": policy,
            "seed": cell.seed,
            "peak_memory_mb": peak_memory_mb(bench.device),
            **changed,
        }
        write_atomic(folder / "about.json", json.dumps(about, indent=1))
    return path


def grid_steps(learner: Learner) -> set[int]:
    """The steps at which a generator in training is shown, in the first trial."""
    shares = getattr(learner, "shown", SNAPSHOTS)
    return {max(share > 0, round(learner.steps * share)) for share in shares}


def snapshot_steps(learner: Learner) -> dict[int, float]:
    """Steps before the last at which a generator's weights are kept, and their share of all."""
    if "snapshot" not in getattr(learner, "sampling", ()):
        return {}
    return {max(1, round(learner.steps * share)): share for share in SNAPSHOTS if share < 1}


def grid_request(n_classes: int, columns: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and seeds of a grid: a row a class, ten classes at most; the same at every step."""
    labels = torch.arange(min(10, n_classes)).repeat_interleave(columns)
    return labels, torch.tensor([seed_for("grid", i) for i in range(len(labels))])


def synthesise(
    cell: Cell, model: Path, labelled: LabelledImages, policy: str, bench: Bench
) -> Generator[Progress, None, Path]:
    """Draw `ratio` synthetic images for each labelled one, with the same share of classes."""
    sig = signature(cell.synthetic_record(model.name))
    path = bench.store.path("synthetic", sig)
    with bench.store.making("synthetic", sig) as folder:
        if folder is None:
            return path
        sampling = {k: cell.generator_settings[k] for k in GENERATORS[cell.entry].sampling}
        generator = load_learner(GENERATORS, model, bench.device, **sampling)
        labels, seeds = requests(cell, labelled)
        seconds = yield from drawn_into(
            folder / SYNTHETIC, generator, labels, seeds, labelled, policy, cell
        )
        made = load_file(folder / SYNTHETIC)
        images, copy_rate = made["images"], float(made["copied"].float().mean())
        about = json.loads((model / "about.json").read_text())
        seen = sampling.get("snapshot", 1.0)
        about |= {
            "generator_seconds": about.pop("seconds"),
            "sample_seconds": seconds,
            "n": len(labels),
            "generator": cell.generator,
            "copy_rate": copy_rate,
            "ratio": cell.ratio,
            "settings": sampling,
            "images_seen": round(about["images_seen"] * seen),
            "model": model.name,
            "generator_memory_mb": about.pop("peak_memory_mb"),
        }
        write_atomic(folder / "about.json", json.dumps(about, indent=1))
        save_picture(class_grid(*shown_by_class(images, labels)), folder / "grid.png")
        shown = shown_by_class(labelled.images.cpu(), labelled.labels.cpu())
        save_picture(class_grid(*shown), folder / "real.png")
    return path


def drawn_into(
    path: Path,
    generator: Any,
    labels: torch.Tensor,
    seeds: torch.Tensor,
    labelled: LabelledImages,
    policy: str,
    cell: Cell,
) -> Generator[Progress, None, float]:
    """Draw an image for each label and seed into a file, looking for copies on the way.

    No more than DRAWN images are held at once. Returns the seconds that drawing alone took.
    """
    known = labelled.images.cpu()
    find = copy_finder(known, mirrored=policy in ("natural", "any-orientation"))
    n, seconds = len(labels), 0.0
    file = TensorFile(
        path,
        {
            "labels": ("I64", (n,)),
            "seeds": ("I64", (n,)),
            "nearest": ("I64", (n,)),
            "d1_d2": ("F32", (n,)),
            "images": ("U8", (n, *known.shape[1:])),
            "copied": ("BOOL", (n,)),
        },
    )
    with contextlib.closing(file):
        for start in range(0, n, DRAWN):
            yield Progress("synthetic", cell.name, start, n)
            part, keys = labels[start : start + DRAWN], seeds[start : start + DRAWN]
            begun = time.perf_counter()
            images = generator.sample(part, seeds=keys)
            seconds += time.perf_counter() - begun
            copied, ratio, nearest = find(images)
            for name, rows in dict(
                labels=part, seeds=keys, nearest=nearest, d1_d2=ratio, images=images, copied=copied
            ).items():
                file.append(name, rows)
    return seconds


def requests(cell: Cell, labelled: LabelledImages) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels [N] and seeds [N]: image k of a class has the same seed at every ratio.

    As many for each labelled image of every class; balanced, as many as even the classes out.
    """
    labels, seeds = [], []
    counts, ratio = labelled.counts().tolist(), float(cell.ratio or 0)
    even = (1 + ratio) * sum(counts) / len(counts)  # real and synthetic images of each class
    for label, count in enumerate(counts):
        wanted = even - count if cell.balanced else ratio * count
        for k in range(max(1, round(wanted))):
            labels.append(label)
            seeds.append(seed_for(cell.seed, "synthetic", label, k))
    return torch.tensor(labels), torch.tensor(seeds)


def shown_by_class(
    images: torch.Tensor, labels: torch.Tensor, columns: int = 12
) -> tuple[torch.Tensor, int]:
    """The first images of each of the first ten classes, for a grid."""
    rows = []
    for label in labels.unique()[:10]:
        own = images[labels == label][:columns]
        rows.append(torch.cat([own, own.new_full((columns - len(own), *own.shape[1:]), 255)]))
    return torch.cat(rows), columns


def load_images(folder: Path, classes: tuple[str, ...]) -> LabelledImages:
    """The images of a synthetic artefact."""
    tensors = load_file(folder / SYNTHETIC)  # mapped, not read
    return LabelledImages(tensors["images"], tensors["labels"], classes)


def train_and_score(
    cell: Cell,
    learnt: TrainingSet,
    labelled: LabelledImages,
    test: LabelledImages,
    origin: Path | None,
    quality: Path | None,
    bench: Bench,
) -> Generator[Progress, None, Path]:
    """Train the arm's classifier; at its last step, and only then, predict the test set."""
    learner = CLASSIFIERS[cell.classifier](**cell.classifier_settings)
    precision = yield from resolve_precision(learner, labelled, ("score", cell.name), bench)
    record = cell.score_record(labelled.sha, test.sha, origin.name if origin else None, precision)
    record["transform"] = learnt.transforms[0].__name__
    record["weights"] = file_sha(weights_file(cell.weights)) if cell.weights else None
    record["parts"] = [part.sha for part in learnt.parts]  # unlabelled ones among them
    sig = signature(record)
    path = bench.store.path("score", sig)
    with bench.store.making("score", sig) as folder:
        if folder is None:
            return path
        seed = seed_for(cell.seed, "classifier")  # the same in every arm of the trial
        learner.prepare(labelled, seed=seed, device=bench.device, precision=precision)
        if cell.weights:
            learner.adopt(cell.weights, frozen=ARMS[cell.arm].frozen)
        done, seconds, changed = 0, 0.0, {}
        for progress in trained(learner, learnt, seed, bench.device, folder, "score", cell):
            done, seconds, changed = progress.step, progress.seconds, progress.changed
            yield progress
        if done != learner.steps:
            raise AssertionError(f"{cell.name} took {done} steps, not {learner.steps}")
        chances = torch.cat(list(learner.predict(test.images)))
        predicted = chances.argmax(1)
        save_file(
            {"labels": test.labels.cpu(), "predicted": predicted, "probability": chances.half()},
            folder / "predictions.safetensors",
        )
        save_learner(learner, cell.classifier, labelled, folder, precision)
        about = {
            "cell": asdict(cell),
            "steps": done,
            "batch": learner.batch,
            "seconds": seconds,
            "precision": precision,
            "device": str(bench.device),
            "classes": list(labelled.classes),
            "peak_memory_mb": peak_memory_mb(bench.device),
            **changed,
            "synthetic": origin.name if origin else None,
            "quality": quality.name if quality else None,
            **scores(test.labels.cpu().numpy(), predicted.numpy()),
        }
        write_atomic(folder / "about.json", json.dumps(about, indent=1))
    return path


def trained(
    learner: Learner,
    data: TrainingSet,
    seed: int,
    device: torch.device,
    folder: Path,
    stage: str,
    cell: Cell,
) -> Steps:
    """The loop with a log and checkpoints; goes on where an earlier try was stopped.

    A log point whose numbers are all finite is what `mend` goes back to. Checkpoints are taken
    there alone, so that a training that was stopped goes back to the same one.
    """
    saved = load_checkpoint(folder)
    if saved:
        good, about = saved
        load_full_state(learner, good)
    else:
        good, about = good_state(learner, 0), {"step": 0, "seconds": 0.0, "log": []}
        about["changed"] = {"retried": None, "micro_batch": learner.batch}
    changed = about["changed"]
    if changed["retried"] is not None:
        halve_rate(learner)
    every = min(max(learner.steps // LOG_POINTS, LOG_STEPS[0]), LOG_STEPS[1])
    numbers: dict[str, float] = {}
    spent, begun, warning = about["seconds"], time.perf_counter(), ""
    last = begun
    while True:
        step, seconds, micro = about["step"], about["seconds"], changed["micro_batch"]
        at = (stage, cell.name, step, learner.steps)
        yield Progress(*at, numbers, seconds, changed, warning)
        steps = train(learner, data, seed=seed, device=device, start=step, micro_batch=micro)
        try:
            for step, metrics in steps:
                seconds = spent + time.perf_counter() - begun
                if step == 1 or step % every == 0 or step == learner.steps:
                    numbers = as_numbers(step, metrics)
                    good = good_state(learner, step)
                    about |= {"step": step, "seconds": seconds}
                    about["log"] += [[step, name, value] for name, value in numbers.items()]
                    if time.perf_counter() - last > CHECKPOINT_SECONDS:
                        save_checkpoint(folder, good, about)
                        last = time.perf_counter()
                yield Progress(stage, cell.name, step, learner.steps, numbers, seconds, changed)
            break
        except Exception as error:
            warning = mend(learner, changed, error, about["step"])
        load_full_state(learner, good)
        save_checkpoint(folder, good, about)
    log = pd.DataFrame(about["log"], columns=["step", "metric", "value"])
    write_csv(folder / "history.csv", log)
