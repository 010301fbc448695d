"""How well `ddpm` draws pictures above 32 pixels a side: a row of results/bench/sizes.csv.

    python tests/bench/sizes.py steel ./neu --side 64 --way "latents of its own" \
        --set ddpm.steps=400 --set ddpm.autoencoder=own

FOLDER has a folder of pictures for each class. 20 a class are learnt; up to 150 others train the
judge, as many more are its floor. `--judge` keeps it in a folder, for other rows of these pictures
and seed. The row is printed and, with `--csv`, appended; `--sheet` shows real pictures on the left
and drawn ones on the right.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from augment.classifiers import CLASSIFIERS
from augment.data.grids import class_grid, save_png
from augment.data.images import LabelledImages, resize
from augment.experiment.arms import generator_set
from augment.experiment.hyperparameters import hyperparameters, parse_set
from augment.generators import GENERATORS, latents_of
from augment.generators.autoencoder import lost_by
from augment.metrics.fidelity import kid
from augment.runtime.seeds import seed_for
from augment.training.bf16_guard import safe_precision
from augment.training.loop import fit
from augment.training.serialization import load_learner, save_learner
from augment.training.training_set import TrainingSet
from augment.transforms.geometric import CLASSIC

PER_CLASS, JUDGED, DRAWN, SHOWN = 20, 150, 20, 8  # pictures of a class
JUDGE_SIDE = 64
CPU = torch.device("cpu")


def read(folder: Path, side: int) -> LabelledImages:
    """Read square pictures of classes in folders, grey where all are: [N, C, side, side]."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    files = [sorted((folder / name).iterdir()) for name in classes]
    colour = [np.asarray(Image.open(file).convert("RGB")) for part in files for file in part]
    grey = all((picture == picture[..., :1]).all() for picture in colour)
    pixels = np.stack([picture.transpose(2, 0, 1)[: 1 if grey else 3] for picture in colour])
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(x) for x in files]))
    return LabelledImages(resize(torch.from_numpy(pixels), side), labels, tuple(classes))


def split(pool: LabelledImages, seed: int) -> list[LabelledImages]:
    """Draw labelled pictures, those of the judge, and those of its floor."""
    rng, classes = torch.Generator().manual_seed(seed), []
    for of_class in pool.indices:
        mixed = of_class[torch.randperm(len(of_class), generator=rng)]
        n = min(JUDGED, (len(mixed) - PER_CLASS) // 2)
        classes.append(mixed[: PER_CLASS + 2 * n].split([PER_CLASS, n, n]))
    return [pool.select(torch.cat(parts)) for parts in zip(*classes, strict=True)]


def trained_judge(data: LabelledImages, classic: str, given: argparse.Namespace) -> Any:
    """Train the classifier that judges, or take the one that is kept."""
    if given.judge and given.judge.is_dir():
        return load_learner(CLASSIFIERS, given.judge, CPU)
    judge = CLASSIFIERS["airbench"](**hyperparameters(CLASSIFIERS, "airbench", "quick", {}))
    fit(judge, TrainingSet((data,), (1.0,), (CLASSIC[classic],)), seed=given.seed, device=CPU)
    if given.judge:
        given.judge.mkdir(parents=True)
        save_learner(judge, "airbench", data, given.judge)
    return judge


def right(judge: Any, images: Tensor, labels: Tensor) -> float:
    """Percentage of images that are taken for their class."""
    predicted = torch.cat(list(judge.predict(resize(images, JUDGE_SIDE)))).argmax(1)
    return 100 * float((predicted == labels).float().mean())


def detail(images: Tensor) -> float:
    """Deviation of the mixed difference of neighbouring pixels, white = 1."""
    x = images.float() / 255
    return float((x[..., 1:, 1:] - x[..., 1:, :-1] - x[..., :-1, 1:] + x[..., :-1, :-1]).std())


def trained(labelled: LabelledImages, classic: str, given: argparse.Namespace) -> tuple[Any, str]:
    """Train the generator; return it with its precision."""
    settings = hyperparameters(GENERATORS, "ddpm", "quick", parse_set(given.set).get("ddpm", {}))
    generator: Any = GENERATORS["ddpm"](**settings)
    seed = seed_for(given.seed, "g")
    data = generator_set(labelled, classic, generator.transformed)
    precision, _ = safe_precision(generator, data.parts[0], given.precision, CPU)
    fit(generator, data, seed=seed, device=CPU, precision=precision)
    return generator, precision


def main() -> None:
    """Measure one row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--way", default="small images and detail")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--sheet", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    pool = read(given.folder, given.side)
    classic = "natural" if pool.shape[0] == 3 else "document"
    labelled, judged, others = split(pool, given.seed)
    small = LabelledImages(resize(judged.images, JUDGE_SIDE), judged.labels, judged.classes)
    judge = trained_judge(small, classic, given)
    start = time.process_time()
    generator, precision = trained(labelled, classic, given)
    seconds = time.process_time() - start
    labels = torch.arange(len(pool.classes)).repeat_interleave(DRAWN)
    images = generator.sample(labels, seeds=torch.arange(len(labels)) + given.seed * 10**6)
    real, drawn = (judge.embed(resize(part, JUDGE_SIDE)) for part in (others.images, images))
    row = {
        **dict(images=given.name, side=given.side, steps=generator.steps, way=given.way),
        **dict(precision=precision, train_seconds=f"{seconds:.1f}"),
        **dict(agreement=f"{right(judge, images, labels):.1f}"),
        **dict(floor=f"{right(judge, others.images, others.labels):.1f}"),
        **dict(detail=f"{detail(images):.4f}", detail_real=f"{detail(others.images):.4f}"),
        **dict(kid=f"{kid(real, drawn):.3f}"),
    }
    print(row)
    if latents := latents_of(generator):
        through = right(judge, latents.passed_through(others).images, others.labels)
        lost = lost_by(latents, others, generator.autoencoder)
        print(f"real through the autoencoder: {through:.1f} %, which loses {lost:.1%}")
    if given.csv:
        new = not given.csv.exists()
        with given.csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
    if given.sheet:
        both = [
            part[of_class == k][:SHOWN]
            for k in range(len(pool.classes))
            for part, of_class in ((others.images, others.labels), (images, labels))
        ]
        save_png(class_grid(torch.cat(both), 2 * SHOWN), given.sheet)


if __name__ == "__main__":
    main()
