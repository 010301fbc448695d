"""The command line: parse, call, print. stdout is data, stderr is talk; torch is imported inside."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augment import __version__
from augment.errors import AugmentError, UsageError
from augment.show import plain, show_plan, show_result, show_rows, show_summary, talk
from augment.signals import INTERRUPTED, SIGNALLED, end_soon, ended_by_signals, until_signalled

if TYPE_CHECKING:
    from augment.experiment.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Out = Annotated[
    Path | None, typer.Option(help="Run folder; default results/runs/DATASET-GENERATOR.")
]
DataDir = Annotated[
    Path | None, typer.Option(help="Cache of data sets (default: $AUGMENT_DATA, else ./data).")
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda or cuda:N; a named one is never replaced.")
]
Jobs = Annotated[
    int | None, typer.Option(min=1, help="Processes; default: by image size and cores.")
]
ShardOf = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Run the I-th of N shares of the trials; augment merge joins them.",
    ),
]
Executor = Annotated[
    str, typer.Option(metavar="local|ray", help="Where cells run: here, or on a Ray cluster.")
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster (default: RAY_ADDRESS, else one that runs here); local starts one."
    ),
]
Cpus = Annotated[int | None, typer.Option(min=1, help="On Ray: cores of each cell (default: 1).")]
Gpus = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="On Ray: share of a GPU of each cell (default: 1 where there are any)."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of the table.")]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no talk.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show splits, cells, time and disk; write nothing.")
]
RunDir = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]


def version(show: bool) -> None:
    """Print the version and stop."""
    if show:
        print(f"augment {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Do generated images help a classifier of few labelled images, by how much, how surely?"""


@app.command()
def run(
    dataset: Annotated[
        str | None,
        typer.Option(help="Names (see augment list) or paths, by comma (default: digits)."),
    ] = None,
    frac: Annotated[
        str | None, typer.Option(help="Share of the pool that is labelled, 0…1.")
    ] = None,
    per_class: Annotated[
        str | None, typer.Option(help="Labelled images a class (default: 10; own data: all).")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Side in pixels (default: native up to 64, else 32).")
    ] = None,
    generator: Annotated[
        str | None, typer.Option(help="Names by comma; see augment list (default: ddpm).")
    ] = None,
    arm: Annotated[
        str | None,
        typer.Option(
            help="Names by comma; see augment list (default: real, real+classic, the three with synth)."
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="How many paired trials, or which: 6, 100-105, 1,4 (default: 3 trials)."),
    ] = None,
    ratio: Annotated[
        str | None, typer.Option(help="Synthetic images for each labelled one (default: 5).")
    ] = None,
    share: Annotated[
        str | None, typer.Option(help="Synthetic share of mixed batches (default: 0.25).")
    ] = None,
    mixing: Annotated[
        str | None,
        typer.Option(
            help="When and how synthetic images come into a training, by comma; see augment list (default: falling)."
        ),
    ] = None,
    guidance: Annotated[
        str | None, typer.Option(help="Classifier-free guidance, 1 is none.")
    ] = None,
    strength: Annotated[
        str | None,
        typer.Option(help="Noise a sample starts from: 1 is all, less varies a labelled image."),
    ] = None,
    filter_: Annotated[
        str | None,
        typer.Option(
            "--filter",
            help="Which synthetic images are used, by comma; see augment list (default: none).",
        ),
    ] = None,
    balanced: Annotated[
        bool | None, typer.Option("--balanced", help="Synthetic images even out the classes.")
    ] = None,
    select: Annotated[
        bool | None,
        typer.Option(
            "--select",
            help="Choose among ratios, shares, mixings, guidances, strengths and filters, or share 0, on validation.",
        ),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Folds of that validation (default: 3).")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="auto, smoke, quick (CPU) or full (GPU) (default: auto).")
    ] = None,
    classifier: Annotated[
        str | None, typer.Option(help="airbench, resnet or resnet18 (default: airbench).")
    ] = None,
    classic: Annotated[
        str | None,
        typer.Option(
            help="Classic transforms: document, natural, any-orientation, none (default: by data set)."
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="auto, fp32 or bf16 (default: auto).")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="What --arm transfer starts from: a safetensors file, a run, or torchvision."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="SECTION.KEY=VALUE, e.g. generator.lr=1e-3.")
    ] = None,
    skip_bad: Annotated[
        bool | None, typer.Option("--skip-bad", help="Leave out unreadable images.")
    ] = None,
    drop_small_classes: Annotated[
        bool | None,
        typer.Option("--drop-small-classes", help="Leave out classes of too few images."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML recipe; flags go over it.")] = None,
    out: Out = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    jobs: Jobs = None,
    shard: ShardOf = None,
    executor: Executor = "local",
    address: Address = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Compare training on real images alone with real plus synthetic ones.

    Example: augment run --dataset cifar10 --frac 0.05 --generator ddpm
    """
    from augment.engine.shards import parse_shard
    from augment.experiment.hyperparameters import parse_set
    from augment.experiment.recipe import make_recipe, read_recipe

    flags = dict(
        dataset=dataset,
        frac=frac,
        per_class=per_class,
        size=size,
        generator=generator,
        arm=arm,
        seeds=seeds,
        ratio=ratio,
        share=share,
        mixing=mixing,
        guidance=guidance,
        strength=strength,
        filter=filter_,
        balanced=balanced,
        select=select,
        folds=folds,
        preset=preset,
        classic=classic,
        classifier=classifier,
        precision=precision,
        weights=weights,
        skip_bad=skip_bad,
        drop_small_classes=drop_small_classes,
    )
    settings = read_recipe(config) if config else {}
    given = {key: value for key, value in flags.items() if value is not None}
    if given.keys() & {"frac", "per_class"}:  # one flag goes over either key of the file
        settings = {k: v for k, v in settings.items() if k not in ("frac", "per_class")}
    settings |= given
    for section, values in parse_set(set_ or []).items():
        settings["set"] = settings.get("set", {})
        settings["set"][section] = settings["set"].get(section, {}) | values
    how = dict(data_dir=data_dir, shard=parse_shard(shard))
    where = dict(device=device, jobs=jobs, executor=executor, address=address, cpus=cpus, gpus=gpus)
    carry_out(make_recipe(**settings), out, how, where, dry_run, as_json, quiet, verbose)


@app.command()
def sweep(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe, e.g. pipelines/smoke.toml.")],
    preset: Annotated[str | None, typer.Option(help="Another preset than the recipe's.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Other trials than the recipe's.")] = None,
    out: Out = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    jobs: Jobs = None,
    shard: ShardOf = None,
    executor: Executor = "local",
    address: Address = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Run every cell of a recipe.

    Example: augment sweep pipelines/ablation.toml --out results/runs/ablation
    """
    from augment.engine.shards import parse_shard
    from augment.experiment.recipe import make_recipe, read_recipe

    settings = read_recipe(recipe)
    settings |= {k: v for k, v in {"preset": preset, "seeds": seeds}.items() if v is not None}
    own = f"-{shard.replace('/', '-of-')}" if shard else ""
    out = out or Path("results/runs") / (recipe.stem + own)
    how = dict(data_dir=data_dir, shard=parse_shard(shard))
    where = dict(device=device, jobs=jobs, executor=executor, address=address, cpus=cpus, gpus=gpus)
    carry_out(make_recipe(**settings), out, how, where, dry_run, as_json, quiet, verbose)


@app.command()
def resume(
    run_dir: RunDir,
    seeds: Annotated[
        str | None, typer.Option(help="More trials than it had, those it had among them.")
    ] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    jobs: Jobs = None,
    executor: Executor = "local",
    address: Address = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that was stopped, or add trials to it; what is finished is not done again.

    Example: augment resume results/runs/digits-ddpm --seeds 6
    """
    from augment.experiment.recipe import make_recipe
    from augment.storage.run_folder import read_settings, reading

    file = run_file(run_dir, "settings.json")
    with reading(run_dir):
        settings, shard = dict(read_settings(file)), json.loads(file.read_text()).get("shard")
    settings |= {"seeds": seeds} if seeds else {}
    how = dict(data_dir=data_dir, shard=tuple(shard) if shard else None)
    where = dict(device=device, jobs=jobs, executor=executor, address=address, cpus=cpus, gpus=gpus)
    carry_out(make_recipe(**settings), run_dir, how, where, False, as_json, quiet, verbose)


@app.command()
def status(run_dir: RunDir, as_json: Json = False) -> None:
    """Where a run is: cells done, failed and left, rate and time left; it is not disturbed.

    Example: augment status results/runs/digits-ddpm
    """
    from augment.engine.status import read_status, status_lines
    from augment.storage.run_folder import reading

    with reading(run_dir):
        about = read_status(run_dir)
    if as_json:
        print(json.dumps(about))
    else:
        show_rows(str(run_dir), status_lines(about))
        if about["state"] == "stopped":
            talk(f"augment resume {run_dir} goes on")


@app.command()
def merge(
    shards: Annotated[
        list[Path], typer.Argument(help="The run folders of all shards.", metavar="RUN…")
    ],
    out: Annotated[Path, typer.Option(help="The run folder to make of them.")],
    partial: Annotated[
        bool, typer.Option("--partial", help="Join what is there: shards or cells may be missing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Join the shards of a run into one run folder, as if it had been run in one.

    Example: augment merge results/runs/ablation-1-of-2 results/runs/ablation-2-of-2 --out merged
    """
    from augment.engine.shards import merge as join
    from augment.report.table import summarise
    from augment.storage.run_folder import reading

    with reading(shards[0]):
        table = join(shards, out, partial=partial)
    show_summary(summarise(table), as_json)
    talk(f"results.csv, table.md, plots/ and samples/ are in {out}")


@app.command()
def report(
    source: Annotated[
        Path, typer.Argument(help="A run folder, or a results CSV.", metavar="RUN|CSV")
    ],
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Curves as TensorBoard events too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make table and plots again: of a run from its artefacts, of a CSV beside it.

    Example: augment report results/runs/digits-ddpm
    """
    from augment.report.html import unfinished
    from augment.report.run_outputs import read_results, write_beside, write_outputs
    from augment.report.table import summarise
    from augment.storage.artifacts import Store
    from augment.storage.atomic import writing
    from augment.storage.run_folder import reading

    csv = source.suffix == ".csv" and source.is_file()
    if csv and tensorboard:
        raise UsageError("--tensorboard needs a run folder: a results CSV has no curves")
    with writing(source), reading(source):
        if csv:
            table = read_results(source)
            write_beside(source, table)
        else:
            table = read_results(run_file(source, "results.csv"))
            for sig in table.loc[table["status"] == "ok", "signature"]:
                Store(source).verified_path("score", str(sig))
            table = write_outputs(source, table)
            if left := unfinished(source):
                talk(left)
        if tensorboard:
            from augment.report.tensorboard import write_events

            talk(f"tensorboard --logdir {write_events(source)}")
    show_summary(summarise(table), as_json)
    talk(f"table and plots: {source.with_suffix('.md') if source.is_file() else source}")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A run folder, or a results CSV.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="Another on the same data.", metavar="B")],
    sheet: Annotated[
        Path | None, typer.Option(help="PNG of what both runs draw: A left, B right.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two runs, arm by arm, paired over the trials that both have; then their pictures.

    Example: augment compare results/runs/digits-ddpm results/runs/digits-cgan
    """
    from augment.report.comparison import (
        HEAD,
        PICTURES_HEAD,
        compare_pictures,
        compare_tables,
        comparison_lines,
        picture_lines,
    )
    from augment.report.run_outputs import read_results
    from augment.report.table import interval_said
    from augment.storage.run_folder import reading

    files = [
        s if s.suffix == ".csv" and s.is_file() else run_file(s, "results.csv") for s in (a, b)
    ]
    folders = None if a.is_file() or b.is_file() else (a, b)
    with reading(a), reading(b):
        table = compare_tables(read_results(files[0]), read_results(files[1]), folders)
        pictures = compare_pictures(a, b)
    if as_json:
        both = {"arms": table, "pictures": pictures}
        print(json.dumps({k: json.loads(v.to_json(orient="records")) for k, v in both.items()}))
    else:
        show_rows(f"A: {a}   B: {b}", comparison_lines(table), list(HEAD))
        talk(interval_said(table))
        if lines := picture_lines(pictures):
            show_rows("what they draw, mean of the trials", lines, list(PICTURES_HEAD))
    if sheet:
        from augment.data.grids import side_by_side
        from augment.report.export import artefacts, chosen_cell
        from augment.storage.atomic import writing

        runs = [run_file(run, "results.csv").parent for run in (a, b)]
        grids = [artefacts(run, chosen_cell(run, None, None))[1] / "grid.png" for run in runs]
        with writing(sheet):
            side_by_side(grids, sheet)
        talk(f"{sheet}: labelled rows of the first trial, A left, B right")


@app.command()
def sample(
    run_dir: RunDir,
    label: Annotated[str | None, typer.Option(help="Class name, e.g. 7.")] = None,
    random: Annotated[bool, typer.Option("--random", help="Labels drawn at random.")] = False,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 16,
    generator: Annotated[str | None, typer.Option(help="Which, if the run has several.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Other seed, other images (default: drawn, and printed).")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(min=0, help="Classifier-free guidance, 1 is none.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the PNGs (default: RUN/samples/…).")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw images from a run's trained generator: PNG files and one sheet.

    Example: augment sample results/runs/digits-ddpm --label 7 -n 16
    """
    if (label is None) == (not random):
        raise UsageError("give one of --label CLASS and --random")
    run_file(run_dir, "settings.json")
    from augment.report.export import draw_samples
    from augment.storage.atomic import writing
    from augment.storage.run_folder import reading

    with writing(out or run_dir), reading(run_dir):
        drawn = draw_samples(run_dir, label, n, generator, seed, guidance, out, device)
    if as_json:
        print(json.dumps(drawn))
    else:
        print(drawn["sheet"])
        talk(f"{n} images of {drawn['generator']} with seed {drawn['seed']} in {drawn['folder']}")


@app.command()
def export(
    run_dir: RunDir,
    out: Annotated[Path, typer.Argument(help="New folder for the data set.")],
    generator: Annotated[str | None, typer.Option(help="Which, if the run has several.")] = None,
    seed: Annotated[int | None, typer.Option(help="Which trial (default: the first).")] = None,
    synthetic_only: Annotated[
        bool, typer.Option("--synthetic-only", help="Without the labelled images.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Hand over the augmented data set: a folder a class, metadata.csv and a data card.

    Example: augment export results/runs/digits-ddpm ./augmented
    """
    run_file(run_dir, "settings.json")
    from augment.report.export import export_images
    from augment.storage.atomic import writing
    from augment.storage.run_folder import reading

    real = not synthetic_only
    with writing(out), reading(run_dir):
        counts = export_images(run_dir, out, generator, seed, data_dir, with_real=real)
    print(out)
    talk(
        f"{counts['real']} labelled and {counts['synthetic']} synthetic images, in ImageFolder layout"
    )
    for sentence in counts["found"]:
        talk(sentence)


@app.command()
def check(
    dataset: Annotated[str, typer.Argument(help="A name (augment list) or a path.")],
    size: Annotated[int | None, typer.Option(min=8, max=512, help="Side in pixels.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Look at a data set before a run: classes, counts, unreadable files, duplicates.

    Example: augment check ./images
    """
    from augment.data.check import inspect

    found = inspect(dataset, size=size, data_dir=data_dir)
    if as_json:
        print(json.dumps(found))
    else:
        show_rows("data", [[k.replace("_", " "), plain(v)] for k, v in found.items()])
    if found["problems"]:
        raise typer.Exit(3)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Names of data sets, generators, classifiers, arms and classic transforms.

    Example: augment list
    """
    from augment.classifiers.models import CLASSIFIERS
    from augment.data.datasets import DATASETS
    from augment.experiment.arms import ARMS
    from augment.experiment.filters import FILTERS
    from augment.experiment.mixing import MIXINGS
    from augment.generators import GENERATORS
    from augment.transforms.geometric import CLASSIC

    def first_line(thing: Any) -> str:
        return (thing.__doc__ or "").strip().splitlines()[0]

    names = {
        "dataset": {k: v.about for k, v in DATASETS.items()},
        "generator": {k: first_line(v) for k, v in GENERATORS.items()},
        "classifier": {k: first_line(v) for k, v in CLASSIFIERS.items()},
        "arm": {k: v.about for k, v in ARMS.items()},
        "classic": {k: first_line(v) for k, v in CLASSIC.items()},
        "mixing": {k: first_line(v) for k, v in MIXINGS.items()},
        "filter": {k: first_line(v) for k, v in FILTERS.items()},
    }
    if as_json:
        print(json.dumps(names))
    else:
        lines = [[f"--{kind}", k, v] for kind, entries in names.items() for k, v in entries.items()]
        show_rows("what each flag can be given", lines)


@app.command()
def doctor(data_dir: DataDir = None, as_json: Json = False) -> None:
    """What this machine has, and what is missing with the way to get it: device, data, extras.

    Example: augment doctor
    """
    import shutil

    from augment.data.datasets import DATASETS
    from augment.runtime.device import pick_device
    from augment.runtime.machine import data_dir as default_data_dir
    from augment.runtime.machine import environment, missing_parts
    from augment.training.precision import cpu_features

    folder = default_data_dir(data_dir).resolve()
    cached = [k for k, v in DATASETS.items() if not v.torchvision or (folder / f"{k}.npz").exists()]
    about = environment(pick_device("auto"))
    about |= {
        "fast bf16": ", ".join(sorted(cpu_features())) or "none",
        "data folder": str(folder),
        "cached": cached,
        "free GB": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
        "missing": missing_parts([k for k in DATASETS if k not in cached], folder),
    }
    if as_json:
        print(json.dumps(about))
    else:
        missing = [[f"missing: {k}", v] for k, v in about.pop("missing").items()]
        show_rows("machine", [*([k, plain(v)] for k, v in about.items()), *missing])


def run_file(run_dir: Path, name: str) -> Path:
    """A file of a run folder; UsageError if there is none."""
    if not (run_dir / name).is_file():
        raise UsageError(f"{run_dir} is no run folder: it has no {name}")
    return run_dir / name


def carry_out(
    recipe: Recipe,
    out: Path | None,
    how: dict[str, Any],
    where: dict[str, Any],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: int,
) -> None:
    """Run a recipe with a progress display, print its table, exit 4 if cells failed."""
    from augment.engine.executors import make_executor

    there = make_executor(**where)
    if dry_run:
        from augment.engine.estimate import plan

        if not quiet:
            talk("a few steps of each kind of training, to see how fast they are here …")
        show_plan(plan(recipe, device=where["device"], jobs=where["jobs"], **how), as_json)
        return
    from augment.engine.run import execute
    from augment.progress import watch

    def announce(folder: Path, cells: int, notes: list[str]) -> None:
        if not quiet:
            talk("\n".join([*notes, f"{cells} cells into {folder}"]))

    steps = execute(recipe, out=out, executor=there, announce=announce, **how)
    result = watch(until_signalled(steps), quiet=quiet, verbose=verbose)
    show_result(result, as_json, quiet)
    if result.failed:
        for error in result.errors:
            talk(f"error: {error}")
        talk(f"{result.failed} of {len(result.table)} cells failed; the rest is valid")
        raise typer.Exit(4)


def main() -> None:
    """The command `augment`: every error a sentence and an exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an ASCII terminal shows ? for …, and no error
    try:
        with ended_by_signals():
            app()
    except AugmentError as error:
        talk(f"error: {error}")
        sys.exit(error.exit_code)
    except SystemExit:
        if SIGNALLED:
            end_soon()
            talk(INTERRUPTED)
            raise SystemExit(SIGNALLED[0]) from None  # Ray makes it a 1
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
