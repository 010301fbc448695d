"""Commands that look at what there is before a run: check, list and doctor."""

from __future__ import annotations

import functools
import gc
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from augment.cli.console import plain, show_rows
from augment.cli.flags import with_options
from augment.cli.options import DataDir, Json, ReadingSettings


@functools.partial(with_options, model=ReadingSettings)
def check_command(
    dataset: Annotated[
        str, typer.Argument(help="Name (see augment list) or path.", metavar="DATASET")
    ],
    data_dir: DataDir = None,
    as_json: Json = False,
    **settings: Any,
) -> None:
    """Check a data set before a run: classes, counts, unreadable files, duplicates.

    Example: augment check ./images
    """
    gc.disable()  # imports make no garbage, and to look for some takes as long as to read folders
    from augment.data.check import inspect
    from augment.data.pictures.framing import Framing
    from augment.experiment.validation import make_recipe

    gc.freeze()
    gc.enable()
    recipe = make_recipe(**settings)
    found = inspect(
        dataset,
        size=Framing(recipe.size, recipe.fit),
        data_dir=data_dir,
        skip_bad=recipe.skip_bad,
        drop_small_classes=recipe.drop_small_classes,
        reading=recipe.reading(),
    )
    if as_json:
        print(json.dumps(found))
    else:
        show_rows("data", [[k.replace("_", " "), plain(v)] for k, v in found.items()])
    if found["problems"]:
        raise typer.Exit(3)


@with_options
def list_command(as_json: Json = False) -> None:
    """List the data sets, generators, classifiers, arms, classic transforms, mixings and filters.

    Example: augment list
    """
    from augment.classifiers import CLASSIFIERS
    from augment.data.datasets import DATASETS
    from augment.detectors import DETECTORS
    from augment.experiment.arms import ARMS
    from augment.experiment.filters import FILTERS
    from augment.experiment.mixing import MIXINGS
    from augment.generators import GENERATORS
    from augment.transforms.geometric import CLASSIC

    def first_line(entry: Any) -> str:
        return (entry.__doc__ or "").strip().splitlines()[0]

    names = {
        "dataset": {k: v.about for k, v in DATASETS.items()},
        "generator": {k: first_line(v) for k, v in GENERATORS.items()},
        "classifier": {k: first_line(v) for k, v in CLASSIFIERS.items()},
        "detector": {k: first_line(v) for k, v in DETECTORS.items()},
        "arm": {k: v.about for k, v in ARMS.items()},
        "classic": {k: first_line(v) for k, v in CLASSIC.items()},
        "mixing": {k: first_line(v) for k, v in MIXINGS.items()},
        "filter": {k: first_line(v) for k, v in FILTERS.items()},
    }
    if as_json:
        print(json.dumps(names))
    else:
        lines = [[f"--{flag}", k, v] for flag, entries in names.items() for k, v in entries.items()]
        show_rows("names that each flag takes", lines)


@with_options
def doctor_command(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Report device, data sets and extras of this machine, and how to get what is missing.

    Example: augment doctor
    """
    import shutil

    from augment.data.datasets import DATASETS
    from augment.runtime.device import pick_device
    from augment.runtime.machine import data_dir as default_data_dir
    from augment.runtime.machine import environment, missing_parts
    from augment.training.precision import cpu_features

    folder = default_data_dir(data_dir).resolve()
    files = {name: named.files(name) for name, named in DATASETS.items()}
    cached = [k for k, v in files.items() if not v or any((folder / file).exists() for file in v)]
    machine = environment(pick_device("auto"))
    machine |= {
        "fast bf16": ", ".join(sorted(cpu_features())) or "none",
        "data folder": str(folder),
        "cached": cached,
        "free GB": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
        "missing": missing_parts([k for k in DATASETS if k not in cached], folder),
    }
    if as_json:
        print(json.dumps(machine))
    else:
        missing = [[f"missing: {k}", v] for k, v in machine.pop("missing").items()]
        show_rows("machine", [*([k, plain(v)] for k, v in machine.items()), *missing])
