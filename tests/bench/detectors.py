"""Our small detector beside torchvision's SSDLite, both from scratch, SSDLite with thrice the time.

    python tests/bench/detectors.py [--dataset FOLDER_WITH_BOXES] [--labelled 50] [--steps 1200]
                                    [--out results/bench/detectors.csv]

One thread; seconds are the processor's own, so that other work on the machine costs nothing. Rows
are added to those of other data sets; the table in Markdown stands beside it.
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

TIMES = {"centernet": 1, "ssdlite320": 3}  # of the seconds that ours takes
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


def trained(name: str, data: TrainingSet, steps: int, precision: str, seed: int):
    """Train a detector from scratch and time it: (detector, seconds)."""
    learner = DETECTORS[name](**DETECTORS[name].presets["quick"] | {"steps": steps, "epochs": 0})
    part = data.parts[0]
    learner.prepare(part, seed=seed, device=CPU, precision=precision)  # type: ignore[arg-type]
    start = time.process_time()
    for _ in train(learner, data, seed=seed, device=CPU):
        pass
    return learner, time.process_time() - start


def pace(name: str, data: TrainingSet, seed: int) -> tuple[float, str]:
    """Time a step in either arithmetic: seconds of the faster one, and its name."""
    offered = {"fp32", pick_precision("auto", CPU, max(data.parts[0].shape[1:]))}
    timed = []
    for precision in sorted(offered):
        trained(name, data, 2, precision, seed)  # the first steps choose kernels
        timed.append((trained(name, data, 6, precision, seed)[1] / 6, precision))
    return min(timed)


def rows(given: argparse.Namespace) -> list[dict[str, object]]:
    """Train the detectors on one data set and score them on its test pictures."""
    source = digits if given.dataset == "digits" else None
    labelled, test, kind = (
        source(given.labelled, given.seed)
        if source
        else folder(given.dataset, given.labelled, given.seed)
    )
    data = TrainingSet((labelled,), (1.0,), (CLASSIC["none"],), mix_batch=BOXED[kind])
    found, ours = [], 0.0
    for name, times in TIMES.items():
        seconds, precision = pace(name, data, given.seed)
        steps = round(times * ours / seconds) if ours else given.steps
        learner, taken = trained(name, data, max(1, steps), precision, given.seed)
        ours = ours or taken
        matches = match(
            learner.predict(test.images).numpy(), test.labels.numpy(), len(test.classes)
        )
        scores = detection_scores(matches, 0.5)
        found.append(
            {
                "data": Path(given.dataset).name,
                "size": "×".join(map(str, test.shape[:0:-1])),
                "labelled": len(labelled),
                "test": len(test),
                "detector": name,
                "precision": precision,
                "steps": steps,
                "batch": learner.batch,
                "seconds": round(taken, 1),
                "map": round(scores["map"], 4),
                "ap50": round(scores["ap50"], 4),
                "seed": given.seed,
            }
        )
        print(found[-1], flush=True)
    return found


def main() -> None:
    """Train, score and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="digits", help="digits, or a folder with boxes")
    parser.add_argument("--labelled", type=int, default=50)
    parser.add_argument("--steps", type=int, default=1200, help="of our detector")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("results/bench/detectors.csv"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = pd.DataFrame(rows(given))
    if given.out.exists():
        old = pd.read_csv(given.out)
        table = pd.concat([old[old["data"] != Path(given.dataset).name], table])
    table.to_csv(given.out, index=False)
    shown = table.assign(map=100 * table["map"], ap50=100 * table["ap50"]).round(1)
    given.out.with_suffix(".md").write_text(f"""# Detectors from scratch

Our `centernet` beside torchvision's `ssdlite320_mobilenet_v3_large`, which has thrice the seconds:
the same labelled pictures, transforms, loop and optimiser, scored on test pictures. One thread of
{processor_name()}, torch {torch.__version__}, augment {__version__}; seconds are the processor's.
`python tests/bench/detectors.py`.

{shown.to_markdown(index=False)}
""")
    print(given.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
