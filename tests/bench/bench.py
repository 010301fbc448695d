"""`make bench`: augment beside what a user would take instead, interleaved in one run.

Writes bench.csv, .md and .png into results/bench. Every figure is a median over interleaved repeats
on this machine; compare ratios, not seconds. `--only speed` leaves out the runs to equal CAS.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import peers
import torch
from estimates import estimates
from peers import (
    CPU,
    DEVICE,
    PEERS,
    TEXTBOOK,
    Contender,
    DiffusersLoop,
    Fast,
    Ours,
    Plain,
    ResNet18,
)
from shares import shares
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from augment.classifiers.models import Airbench
from augment.data.datasets import load_dataset
from augment.data.images import LabelledImages
from augment.data.split import Dataset
from augment.data.subset import labelled_subset
from augment.experiment.cells import expand
from augment.experiment.context import RunContext, Trial
from augment.experiment.quality import assess
from augment.experiment.records import QualityResult
from augment.experiment.sampling import SYNTHETIC_FILE, synthesise
from augment.experiment.stages import fit_generator, train_and_score
from augment.experiment.validation import make_recipe
from augment.generators.ddpm import DDPM
from augment.runtime.device import peak_memory_mb
from augment.runtime.machine import environment
from augment.runtime.steps import run_to_end
from augment.storage.artifacts import Store
from augment.training.loop import fit, train
from augment.training.precision import pick_precision
from augment.training.training_set import TrainingSet
from augment.transforms.geometric import CLASSIC

AMOUNTS = {"digits": 10, "mnist": 50, "cifar10": 100}  # labelled images a class
CALLS = 10  # of the sections that compare networks


def now() -> float:
    """Seconds: with one thread the processor's own, so that other work on the machine costs nothing
    (they equal wall time on an idle core); with several, and on a GPU, wall time."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def contenders(data: LabelledImages) -> dict[str, Contender]:
    """Name → what builds it; ours in the precision that `--precision auto` takes here."""
    precision = pick_precision("auto", DEVICE, max(data.shape[1:]))
    ours = {
        "augment (lean)": partial(Ours, precision=precision),
        "augment (lean, fp32)": partial(Ours, precision="fp32"),
        "augment (unet2d)": partial(Ours, network="unet2d", precision=precision),
        "augment (unet2d, fp32)": partial(Ours, network="unet2d", precision="fp32"),
    }
    # the peers' networks halve the side once and norm in groups of 32 channels: 8×8 is too small
    return ours | ({"diffusers": PEERS["diffusers"]} if data.shape[1] < 28 else PEERS)


def timed(work: Callable[[], Any], seconds: float) -> float:
    """Runs a second of `work`, repeated for at least so long."""
    begun, runs = now(), 0
    passed = time.perf_counter if DEVICE.type == "cuda" else now  # `now` waits for the GPU
    while passed() - begun < seconds:
        work()
        runs += 1
    return runs / (now() - begun)


Rows = Iterator[dict[str, Any]]


def speed(name: str, data: LabelledImages, policy: str, repeats: int, seconds: float) -> Rows:
    """Images a second in training and images × calls a second in sampling, interleaved."""
    rivals = {key: build(data, policy, seed=0) for key, build in contenders(data).items()}
    first, flops = {}, {}
    labels = torch.arange(256) % len(data.classes)
    for key, rival in rivals.items():
        begun = now()
        rival.step()
        first[key] = now() - begun
        with FlopCounterMode(display=False) as counter:
            rival.forward(1)
        flops[key] = counter.get_total_flops() / 1e9  # a multiply-add is two
        rival.sample(labels[:16], 2)
    for repeat in range(repeats):
        peaks = {"fp32": convolution_peak(torch.float32), "bf16": convolution_peak(torch.bfloat16)}
        for key, rival in rivals.items():
            trained = timed(rival.step, seconds) * rival.batch
            sampled = timed(partial(rival.sample, labels, CALLS), seconds) * len(labels) * CALLS
            precision = rival.model.precision if isinstance(rival, Ours) else "fp32"
            yield dict(
                figure="speed",
                dataset=name,
                contender=key,
                repeat=repeat,
                precision=precision,
                train_images_per_second=trained,
                call_images_per_second=sampled,
                gflop_per_image=flops[key],
                first_step_seconds=first[key],
                train_share_of_peak=3 * flops[key] * trained / peaks[precision],
                sampling_share_of_peak=flops[key] * sampled / peaks[precision],
            )


def convolution_peak(dtype: torch.dtype, channels: int = 64, side: int = 16) -> float:
    """GFLOP/s of a 3×3 convolution on a batch of 256, channels-last: the best of five timings."""
    x = torch.randn(256, channels, side, side, dtype=dtype, device=DEVICE)
    x = x.contiguous(memory_format=torch.channels_last)
    conv = nn.Conv2d(channels, channels, 3, padding=1, dtype=dtype, device=DEVICE)
    conv = conv.to(memory_format=torch.channels_last)
    work = 2 * x.numel() * channels * 9 / 1e9
    with torch.inference_mode():
        return max(timed(lambda: conv(x), 0.3) * work for _ in range(5))


def memory(dataset: str, data_dir: Path | None) -> Rows:
    """Peak resident memory of three steps and one sampling, each contender in its own process."""
    data, _ = trial_images(load_dataset(dataset, data_dir=data_dir), AMOUNTS[dataset], 0)
    for key in contenders(data):
        command = [sys.executable, __file__, "--memory-of", key, "--dataset", dataset]
        command += ["--data-dir", str(data_dir)] if data_dir else []
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        yield dict(
            figure="memory", dataset=dataset, contender=key, peak_memory_mb=json.loads(done.stdout)
        )


def memory_of(key: str, dataset: str, data_dir: Path | None) -> float:
    """In a process of its own: MB after three steps and 256 images."""
    source = load_dataset(dataset, data_dir=data_dir)
    data, _ = trial_images(source, AMOUNTS[dataset], 0)
    rival = contenders(data)[key](data, source.classic, seed=0)
    for _ in range(3):
        rival.step()
    rival.sample(torch.zeros(256, dtype=torch.int64), CALLS)
    return peak_memory_mb(CPU)


def stream(dataset: str, data_dir: Path | None) -> Rows:
    """Drawing to disk with the `noise` control: memory at a hundred thousand images and a million.

    RssAnon: what the kernel cannot drop again, unlike the pages of the file being written.
    """
    for n in (100_000, 1_000_000):
        command = [sys.executable, __file__, "--stream", str(n), "--dataset", dataset]
        command += ["--data-dir", str(data_dir)] if data_dir else []
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        yield dict(
            figure="stream", dataset=dataset, contender=f"{n:,} images", **json.loads(done.stdout)
        )


def stream_of(n: int, dataset: str, data_dir: Path | None) -> dict[str, float]:
    """In a process of its own: the synthetic stage of a cell that asks for n images."""
    recipe = make_recipe(
        dataset=dataset,
        per_class="10",
        generator="noise",
        arm="synth",
        seeds="1",
        ratio=str(n / 100),
        preset="smoke",
    )
    cell, data = expand(recipe)[0], load_dataset(dataset, data_dir=data_dir)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        trial = Trial.prepare(cell, data, RunContext(Store(Path(folder)), CPU, "fp32", cell.seed))
        sampling = synthesise(trial, run_to_end(fit_generator(trial)))
        peak = max(anonymous_mb() for _ in sampling)
        size = next(Path(folder).rglob(SYNTHETIC_FILE)).stat().st_size / 1e6
    seconds = time.perf_counter() - begun
    return dict(anonymous_mb=peak, file_mb=size, images_per_second=n / seconds)


def judging(dataset: str, data_dir: Path | None) -> Rows:
    """What the look at a synthetic set costs: 50,000 images against 5,000 labelled ones."""
    command = [sys.executable, __file__, "--judge", "50000", "--dataset", dataset]
    command += ["--data-dir", str(data_dir)] if data_dir else []
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    yield dict(
        figure="judging",
        dataset=dataset,
        contender="50,000 images against 5,000",
        **json.loads(done.stdout),
    )


def judge_of(n: int, dataset: str, data_dir: Path | None) -> dict[str, float]:
    """In a process of its own: the quality stage, with a classifier that is barely trained."""
    recipe = make_recipe(
        dataset=dataset,
        per_class="500",
        generator="noise",
        arm="synth",
        seeds=1,
        ratio=str(n / 5000),
        preset="quick",
        set={"classifier": {"steps": 1, "epochs": 0}},
    )
    cell, data = expand(recipe)[0], load_dataset(dataset, data_dir=data_dir)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        trial = Trial.prepare(cell, data, RunContext(Store(Path(folder)), CPU, "auto", cell.seed))
        synthetic = run_to_end(synthesise(trial, run_to_end(fit_generator(trial))))
        run_to_end(train_and_score(trial.baseline, None))
        begun = time.perf_counter()
        quality = run_to_end(assess(trial, synthetic))
        seconds = time.perf_counter() - begun
        spaces = QualityResult.read(quality).spaces
    return dict(
        seconds=seconds,
        peak_memory_mb=peak_memory_mb(CPU),
        anonymous_mb=anonymous_mb(),
        measured_at_n=next(iter(spaces.values()))["n"],
    )


def anonymous_mb() -> float:
    """The process's own memory, pages of files left out (Linux)."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) * 1024 / 1e6


def trial_images(
    source: Dataset, per_class: int, seed: int
) -> tuple[LabelledImages, LabelledImages]:
    """Labelled images, and 10,000 others of the pool: nothing here looks at test images."""
    chosen = labelled_subset(source.pool, per_class=per_class, seed=seed)
    others = torch.ones(len(source.pool), dtype=torch.bool)
    others[chosen] = False
    places = others.nonzero().flatten()
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(0))
    return source.pool.select(chosen), source.pool.select(places[order[:10_000]])


def cas(
    images: Tensor,
    labels: Tensor,
    judges: LabelledImages,
    policy: str,
    seed: int,
    precision: str = "auto",
) -> float:
    """Accuracy of the quick classifier trained on these images alone, in percent."""
    classifier = Airbench(**Airbench.presets["quick"])
    synthetic = LabelledImages(images, labels, judges.classes)
    fit(
        classifier,
        TrainingSet((synthetic,), (1.0,), (CLASSIC[policy],)),
        seed=seed,
        device=CPU,
        precision=pick_precision(precision, CPU, max(judges.shape[1:])),
    )
    guessed = torch.cat(list(classifier.predict(judges.images))).argmax(1)
    return 100 * float((guessed == judges.labels).float().mean())


def race(dataset: str, minutes: float, seeds: list[int], data_dir: Path | None) -> Rows:
    """CAS against wall time: training, then drawing two images for each labelled one."""
    source = load_dataset(dataset, data_dir=data_dir)
    for seed in seeds:
        data, judges = trial_images(source, AMOUNTS[dataset], seed)
        build = contenders(data) | TEXTBOOK
        for key in RACERS:
            on_the_way = ours_on_the_way if key.startswith("augment") else peer_on_the_way
            budget = minutes / 10 if key in TEXTBOOK else minutes  # they are done by then
            for trained, rival, calls in on_the_way(build[key], data, source, seed, budget):
                labels = data.labels.repeat(2)
                begun = now()
                images = rival.sample(labels, calls)
                drawn = now() - begun
                yield dict(
                    figure="race",
                    dataset=dataset,
                    contender=key,
                    seed=seed,
                    train_seconds=trained,
                    sample_seconds=drawn,
                    seconds=trained + drawn,
                    cas=cas(images, labels, judges, source.classic, seed),
                )


def networks(dataset: str, seconds: float, seeds: list[int], data_dir: Path | None) -> Rows:
    """CAS of four networks after equal seconds of training, 10 calls; widths are equal."""
    source = load_dataset(dataset, data_dir=data_dir)
    for seed in seeds:
        data, judges = trial_images(source, AMOUNTS[dataset], seed)
        ours = partial(Ours, precision=pick_precision("auto", CPU, max(data.shape[1:])))
        for key, build in {
            "UNet2DModel as it comes": partial(DiffusersLoop, fold=1),
            "UNet2DModel, our loop": partial(ours, network="unet2d", patch=1),
            "UNet2DModel, our loop, 2×2 folded": partial(ours, network="unet2d", patch=2),
            "lean, 2×2 folded": partial(ours, patch=2),
        }.items():
            rate = timed(build(data, source.classic, seed=seed).step, 5)
            steps = int(seconds * rate)
            told = {} if key == "UNet2DModel as it comes" else {"steps": steps}
            rival = build(data, source.classic, seed=seed, **told)
            trained, labels = take(rival, steps), data.labels.repeat(2)
            images = rival.sample(labels, CALLS)
            yield dict(
                figure="networks",
                dataset=dataset,
                contender=key,
                seed=seed,
                steps=steps,
                train_seconds=trained,
                cas=cas(images, labels, judges, source.classic, seed),
            )


def precisions(dataset: str, steps: int, seeds: list[int], data_dir: Path | None) -> Rows:
    """fp32 and bf16 after equal steps: CAS of the ddpm's samples, accuracy on labelled images."""
    source = load_dataset(dataset, data_dir=data_dir)
    for seed, precision in itertools.product(seeds, ("fp32", "bf16")):
        data, judges = trial_images(source, AMOUNTS[dataset], seed)
        common = dict(figure="precisions", dataset=dataset, seed=seed)
        rival = Ours(data, source.classic, seed=seed, steps=steps, precision=precision)
        trained, labels = take(rival, steps), data.labels.repeat(2)
        images = rival.sample(labels, DDPM.calls)
        yield dict(
            **common,
            contender=f"ddpm, {precision}",
            train_seconds=trained,
            cas=cas(images, labels, judges, source.classic, seed),
        )
        begun = now()
        right = cas(data.images, data.labels, judges, source.classic, seed, precision)
        yield dict(
            **common,
            contender=f"classifier, {precision}",
            train_seconds=now() - begun,
            accuracy=right,
        )


def samplers(dataset: str, steps: int, seeds: list[int], data_dir: Path | None) -> Rows:
    """CAS of one trained ddpm by sampler and number of calls, two images a labelled one."""
    source = load_dataset(dataset, data_dir=data_dir)
    for seed in seeds:
        data, judges = trial_images(source, AMOUNTS[dataset], seed)
        precision = pick_precision("auto", CPU, max(data.shape[1:]))
        ours = Ours(data, source.classic, seed=seed, steps=steps, precision=precision)
        take(ours, steps)
        labels = data.labels.repeat(2)
        for calls, sampler in itertools.product((5, 8, 10, 15, 20, 50, 250), ("dpm++", "ddim")):
            ours.model.sampler = sampler
            begun = now()
            images = ours.sample(labels, calls)
            yield dict(
                figure="samplers",
                dataset=dataset,
                contender=f"{sampler}, {calls} calls",
                seed=seed,
                sample_seconds=now() - begun,
                cas=cas(images, labels, judges, source.classic, seed),
            )


RACERS = ("augment (lean)", "diffusers", "denoising-diffusion-pytorch", *TEXTBOOK)
Points = Iterator[tuple[float, Any, int]]  # seconds trained, who, sampler calls


def ours_on_the_way(
    build: Contender, data: LabelledImages, source: Dataset, seed: int, minutes: float
) -> Points:
    """Trained anew for each time: the learning rate falls towards the end that it is told."""
    rate = timed(build(data, source.classic, seed=seed).step, 5)
    for part in (1 / 32, 1 / 16, 1 / 8, 1 / 4):
        steps = max(1, int(60 * minutes * part * rate))
        rival = build(data, source.classic, seed=seed, steps=steps)
        yield take(rival, steps), rival, DDPM.calls


def peer_on_the_way(
    build: Contender, data: LabelledImages, source: Dataset, seed: int, minutes: float
) -> Points:
    """One training, judged at doubling times; 50 DDIM calls, the peers' usual number.

    denoising-diffusion-pytorch gets 20 and is judged at the end alone: drawing takes it so long.
    """
    rival = build(data, source.classic, seed=seed)
    slow = build is PEERS["denoising-diffusion-pytorch"]
    for part in (1,) if slow else (1 / 4, 1):
        yield until(rival, 60 * minutes * part), rival, 20 if slow else 50


def take(rival: Any, steps: int) -> float:
    """Seconds of so many training steps."""
    begun = now()
    for _ in range(steps):
        rival.step()
    return now() - begun


def until(rival: Any, budget: float) -> float:
    """Train a peer on until its whole training took `budget` seconds; the seconds it took."""
    begun = now()
    while rival.trained + now() - begun < budget:
        rival.step()
    rival.trained += now() - begun
    return rival.trained


def plain_loops(dataset: str, source: Dataset, repeats: int, seconds: float) -> Rows:
    """cgan and cvae against the same networks in a plain loop (NCHW fp32, DataLoader, Adam), and
    against the fully connected ones of textbooks, which do a fraction of the work."""
    data, _ = trial_images(source, AMOUNTS[dataset], 0)
    precision = pick_precision("auto", CPU, max(data.shape[1:]))
    loops: dict[str, Any] = {
        key: build(data, source.classic, seed=0, batch=32) for key, build in TEXTBOOK.items()
    }
    for name in ("cgan", "cvae"):
        loops[f"augment ({name})"] = Fast(name, data, source.classic, precision)
        loops[f"plain loop ({name})"] = Plain(name, data, source.classic)
    for loop in loops.values():
        loop.step()
    for repeat in range(repeats):
        for key, loop in loops.items():
            rate = timed(loop.step, seconds) * 32
            yield dict(
                figure="plain",
                dataset=dataset,
                contender=key,
                repeat=repeat,
                train_images_per_second=rate,
            )


def classifier_race(source: Dataset, per_class: int, seeds: list[int], minutes: float) -> Rows:
    """Accuracy against training time: the quick classifier, and torchvision's ResNet-18."""
    for seed in seeds:
        data, judges = trial_images(source, per_class, seed)
        precision = pick_precision("auto", CPU, max(data.shape[1:]))
        learner = Airbench(**Airbench.presets["quick"])
        begun = now()
        learner.prepare(data, seed=seed, device=CPU, precision=precision)
        learnt = TrainingSet((data,), (1.0,), (CLASSIC[source.classic],))
        for _ in train(learner, learnt, seed=seed, device=CPU):
            pass
        ours = now() - begun
        guessed = torch.cat(list(learner.predict(judges.images))).argmax(1)
        common = dict(figure="classifier", dataset=source.name, seed=seed)
        yield dict(
            **common,
            contender="augment (airbench)",
            seconds=ours,
            accuracy=100 * float((guessed == judges.labels).float().mean()),
        )
        rival = ResNet18(data, source.classic, seed=seed)
        for fraction in (1 / 8, 1 / 4, 1 / 2, 1):
            spent = until(rival, 60 * minutes * fraction)
            yield dict(
                **common,
                contender="torchvision resnet18",
                seconds=spent,
                accuracy=rival.accuracy(judges),
            )


def scaling(source: Dataset, repeats: int) -> Rows:
    """What doubling steps, images or calls costs, and ten times the classes or the pool."""
    data, _ = trial_images(source, AMOUNTS["mnist"], 0)
    precision = pick_precision("auto", CPU, max(data.shape[1:]))
    classes = tuple(str(k) for k in range(100))
    many = LabelledImages(data.images, data.labels, classes)
    tenfold = LabelledImages(data.images.repeat(10, 1, 1, 1), data.labels.repeat(10), data.classes)
    build = partial(Ours, policy=source.classic, seed=0, precision=precision)
    one = build(data)
    labels = torch.arange(512) % 10
    others = {"classes x10": build(many), "pool x10": build(tenfold)}
    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "steps x2": (lambda: take(one, 20), lambda: take(one, 40)),
        "images x2": (lambda: one.sample(labels, 10), lambda: one.sample(labels.repeat(2), 10)),
        "calls x2": (lambda: one.sample(labels, 10), lambda: one.sample(labels, 20)),
        "classes x10": (lambda: take(one, 20), lambda: take(others["classes x10"], 20)),
        "pool x10": (lambda: take(one, 20), lambda: take(others["pool x10"], 20)),
    }
    for single, multiple in pairs.values():
        single()
        multiple()
    for repeat in range(repeats):
        for key, (single, multiple) in pairs.items():
            begun = now()
            single()
            middle = now()
            multiple()
            ratio = (now() - middle) / (middle - begun)
            yield dict(figure="scaling", dataset="mnist", contender=key, repeat=repeat, ratio=ratio)


def report(table: pd.DataFrame, about: dict[str, Any]) -> str:
    """Medians of the repeats, and the points of the races, as Markdown."""
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    device = "" if about["device"] == "cpu" else f", {about['device']}"
    lines = [
        "# Bench",
        "",
        f"{about['processor']}, {about['threads']} threads{device}, {versions}. Medians of "
        "interleaved repeats (of seeds for networks and samplers) in one run by `make bench`; "
        "compare ratios, not seconds. CAS and accuracy on pool images that are not labelled.",
        "",
    ]
    for (figure, dataset), part in table.groupby(["figure", "dataset"], sort=False):
        numbers = part.dropna(axis=1, how="all").drop(columns=["figure", "dataset"])
        if figure in ("race", "classifier"):  # points of a curve, not repeats
            medians = numbers
        else:
            medians = numbers.drop(columns=["repeat", "seed"], errors="ignore")
            medians = medians.groupby(
                ["contender", *({"precision"} & set(medians))], sort=False
            ).median()
            medians = medians.reset_index()
        lines += [f"## {figure}, {dataset}", "", medians.round(3).to_markdown(index=False), ""]
    return "\n".join(lines)


def main() -> None:
    """Run the sections asked for and write their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(SECTIONS), nargs="*", default=list(SECTIONS))
    parser.add_argument("--datasets", nargs="*", default=["digits", "mnist", "cifar10"])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each timing")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the longest training")
    parser.add_argument("--seeds", type=int, nargs="*", default=[100, 101, 102])
    parser.add_argument("--widths", type=int, nargs=2, default=[32, 64], help="of the networks")
    parser.add_argument("--threads", type=int, help="1: timed by the processor's own seconds")
    parser.add_argument("--out", type=Path, default=Path("results/bench/bench"))
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--stream", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--judge", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--dataset", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.memory_of:
        print(json.dumps(memory_of(asked.memory_of, asked.dataset, asked.data_dir)))
        return
    if asked.stream:
        print(json.dumps(stream_of(asked.stream, asked.dataset, asked.data_dir)))
        return
    if asked.judge:
        print(json.dumps(judge_of(asked.judge, asked.dataset, asked.data_dir)))
        return
    if asked.threads:
        torch.set_num_threads(asked.threads)
    peers.WIDTHS = tuple(asked.widths)
    rows: list[dict[str, Any]] = []
    for section in asked.only:
        for row in SECTIONS[section](asked):
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    table.to_csv(asked.out.with_suffix(".csv"), index=False)
    asked.out.with_suffix(".md").write_text(report(table, environment(DEVICE)))
    if "race" in asked.only:
        plot(table[table["figure"] == "race"], asked.out.with_suffix(".png"))


def plot(race: pd.DataFrame, path: Path) -> None:
    """CAS against wall time, a panel a data set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * race["dataset"].nunique(), 4.6), layout="constrained")
    panels = figure.subplots(1, race["dataset"].nunique(), squeeze=False)[0]
    for panel, (dataset, part) in zip(panels, race.groupby("dataset", sort=False), strict=True):
        for name, own in part.groupby("contender", sort=False):
            place = own.groupby("seed").cumcount()
            means = own.groupby(place)[["seconds", "cas"]].mean()
            panel.plot(means["seconds"], means["cas"], marker="o", label=name)
        panel.set(
            title=dataset, xscale="log", xlabel="seconds, training and drawing", ylabel="CAS %"
        )
    handles, names = panel.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=130)


def each_dataset(section: Callable[[str, argparse.Namespace], Rows]) -> Section:
    """A section that is run for each data set asked for."""

    def run(asked: argparse.Namespace) -> Rows:
        for name in asked.datasets:
            yield from section(name, asked)

    return run


def loaded(name: str, asked: argparse.Namespace) -> Dataset:
    """A named data set."""
    return load_dataset(name, data_dir=asked.data_dir)


def shares_of(name: str, asked: argparse.Namespace) -> Rows:
    """`shares` of our ddpm on one data set."""
    source = loaded(name, asked)
    data, _ = trial_images(source, AMOUNTS[name], 0)
    ours = contenders(data)["augment (lean)"]
    return shares(name, data, source.classic, ours, convolution_peak)


def race_of(name: str, asked: argparse.Namespace) -> Rows:
    """`race` on one data set; the peers' networks are too large for digits."""
    if name == "digits":
        return iter(())
    return race(name, asked.minutes, asked.seeds, asked.data_dir)


def speed_of(name: str, asked: argparse.Namespace) -> Rows:
    """`speed` on one data set."""
    source = loaded(name, asked)
    data, _ = trial_images(source, AMOUNTS[name], 0)
    return speed(name, data, source.classic, asked.repeats, asked.seconds)


Section = Callable[[argparse.Namespace], Rows]
SECTIONS: dict[str, Section] = {
    "speed": each_dataset(speed_of),
    "profile": each_dataset(shares_of),
    "estimate": lambda asked: estimates(asked.data_dir),
    "memory": lambda asked: memory("mnist", asked.data_dir),
    "stream": lambda asked: stream("mnist", asked.data_dir),
    "judging": lambda asked: judging("cifar10", asked.data_dir),
    "plain": lambda asked: plain_loops(
        "mnist", loaded("mnist", asked), asked.repeats, asked.seconds
    ),
    "scaling": lambda asked: scaling(loaded("mnist", asked), asked.repeats),
    "classifier": lambda asked: classifier_race(
        loaded("cifar10", asked), 250, asked.seeds, asked.minutes
    ),
    "networks": lambda asked: networks("mnist", 6 * asked.minutes, asked.seeds, asked.data_dir),
    "precisions": lambda asked: precisions("mnist", 1200, asked.seeds, asked.data_dir),
    "samplers": lambda asked: samplers("mnist", 1200, asked.seeds, asked.data_dir),
    "race": each_dataset(race_of),
}

if __name__ == "__main__":
    main()
