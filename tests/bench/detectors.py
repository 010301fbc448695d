"""Our small detector beside torchvision's SSDLite, both from scratch, SSDLite with thrice the time.

    python tests/bench/detectors.py [--dataset FOLDER_WITH_BOXES] [--labelled 50] [--steps N]
                                    [--seeds 1000,1001,1002] [--out results/bench/detectors.csv]

One thread; seconds are the processor's own, so that other work on the machine costs nothing. Rows
are added to those of other data sets; the table in Markdown stands beside it. SSDLite has the rate
and the batch that were best for it on a development seed (`--tune` tries them, on seed 100).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import pandas as pd
import torch

from augment import __version__
from augment.data.boxed_images import BoxedImages
from augment.data.datasets import load_dataset
from augment.detectors import DETECTORS
from augment.metrics.detection import detection_scores
from augment.metrics.matching import match
from augment.runtime.machine import processor_name
from augment.training.loop import train
from augment.training.precision import pick_precision
from augment.training.training_set import TrainingSet
from augment.transforms.boxed import BOXED
from augment.transforms.geometric import CLASSIC

SSDLITE = {"lr": 3e-3, "batch": 4}  # the best of TRIED on development seed 100
TRIED = [{"lr": lr, "batch": batch} for lr in (1e-3, 3e-3) for batch in (4, 8)]
TRIED += [{"lr": 8e-3, "batch": 4}, {"lr": 3e-3, "batch": 2}, {"lr": 8e-3, "batch": 2}]
CPU = torch.device("cpu")
SIDE = 320  # pixels: the longer side of pictures of a folder


def digits(labelled: int, seed: int) -> tuple[BoxedImages, BoxedImages, str]:
    """Draw digits on canvases of 128 pixels: labelled ones, 200 test ones, and their transform."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from boxed_digits import digits_on_canvas

    return (
        digits_on_canvas(labelled, seed=seed),
        digits_on_canvas(200, seed=seed + 5000),
        "document",
    )


def folder(path: str, labelled: int, seed: int) -> tuple[BoxedImages, BoxedImages, str]:
    """Read pictures with boxes and draw the labelled ones from the pool."""
    data = load_dataset(path, size=SIDE)
    order = torch.randperm(len(data.pool), generator=torch.Generator().manual_seed(seed))
    return data.pool.select(order[:labelled]), data.test, "any-orientation"


def trained(name: str, data: TrainingSet, settings: dict[str, object], precision: str, seed: int):
    """Train a detector from scratch and time it: (detector, seconds)."""
    entry = DETECTORS[name]
    learner = entry(**entry.presets["quick"] | {"epochs": 0} | settings)
    part = data.parts[0]
    learner.prepare(part, seed=seed, device=CPU, precision=precision)  # type: ignore[arg-type]
    start = time.process_time()
    for _ in train(learner, data, seed=seed, device=CPU):
        pass
    return learner, time.process_time() - start


def pace(name: str, data: TrainingSet, settings: dict[str, object], seed: int) -> tuple[float, str]:
    """Time a step in either arithmetic: seconds of the faster one, and its name."""
    offered = {"fp32", pick_precision("auto", CPU, max(data.parts[0].shape[1:]))}
    timed = []
    for precision in sorted(offered):
        trained(name, data, settings | {"steps": 2}, precision, seed)  # chooses kernels
        timed.append(
            (trained(name, data, settings | {"steps": 6}, precision, seed)[1] / 6, precision)
        )
    return min(timed)


def row(
    given: argparse.Namespace, name: str, settings: dict[str, object], seconds: float, seed: int
) -> dict[str, object]:
    """Train a detector for so many seconds, 0 for its preset's steps, and score it."""
    labelled, test, kind = (
        digits(given.labelled, seed)
        if given.dataset == "digits"
        else folder(given.dataset, given.labelled, seed)
    )
    whole = (CLASSIC["none"],)
    data = TrainingSet((labelled,), (1.0,), whole, BOXED[kind], with_replacement=True)
    each, precision = pace(name, data, settings, seed)
    steps = round(seconds / each) if seconds else DETECTORS[name].presets["quick"]["steps"]
    settings = settings | {"steps": max(1, steps) if seconds else given.steps or steps}
    learner, taken = trained(name, data, settings, precision, seed)
    found = match(learner.predict(test.images).numpy(), test.labels.numpy(), len(test.classes))
    scores = detection_scores(found, 0.5)
    made = {
        "data": Path(given.dataset).name,
        "size": "×".join(map(str, test.shape[:0:-1])),
        "labelled": len(labelled),
        "test": len(test),
        "detector": name,
        "precision": precision,
        "steps": learner.steps,
        "batch": learner.batch,
        "lr": learner.lr,
        "seconds": round(taken, 1),
        "map": round(scores["map"], 4),
        "ap50": round(scores["ap50"], 4),
        "seed": seed,
    }
    print(made, flush=True)
    return made


def rows(given: argparse.Namespace) -> list[dict[str, object]]:
    """Train ours with its preset, and SSDLite for `--times` as long, on each seed."""
    found = []
    for seed in given.seeds:
        ours = row(given, "centernet", {}, 0.0, seed)
        allowed = given.times * float(str(ours["seconds"]))
        offered = TRIED if given.tune else (SSDLITE,)
        found += [ours, *(row(given, "ssdlite320", s, allowed, seed) for s in offered)]
    return found


def main() -> None:
    """Train, score and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="digits", help="digits, or a folder with boxes")
    parser.add_argument("--labelled", type=int, default=50)
    parser.add_argument("--steps", type=int, default=0, help="of our detector; 0: its preset's")
    parser.add_argument("--times", type=float, default=3.0, help="as long as ours SSDLite learns")
    parser.add_argument("--seeds", type=lambda s: [int(n) for n in s.split(",")], default=[1000])
    parser.add_argument("--tune", action="store_true", help="try rates and batches of SSDLite")
    parser.add_argument("--out", type=Path, default=Path("results/bench/detectors.csv"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = pd.DataFrame(rows(given))
    if given.out.exists():
        old = pd.read_csv(given.out)
        table = pd.concat([old[old["data"] != Path(given.dataset).name], table])
    table.to_csv(given.out, index=False)
    shown = table.assign(map=100 * table["map"], ap50=100 * table["ap50"])
    shown = shown.round({"map": 1, "ap50": 1})
    given.out.with_suffix(".md").write_text(f"""# Detectors from scratch

Our `centernet` beside torchvision's `ssdlite320_mobilenet_v3_large`, which learns
{given.times:g} times as long: the same labelled pictures, transforms, loop and optimiser, its own
rate and batch (the best of {len(TRIED)} on a development seed), scored on test pictures.
One thread of {processor_name()}, torch {torch.__version__}, augment {__version__};
seconds are the processor's.
`python tests/bench/detectors.py --seeds {",".join(map(str, given.seeds))}`.

{shown.to_markdown(index=False)}
""")
    print(given.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
