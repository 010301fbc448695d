"""Commands that give images of a run: sample and export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from augment.cli.console import talk
from augment.cli.flags import option, with_options
from augment.cli.options import ChosenGenerator, DataDir, Device, Json, RunDir, run_file
from augment.errors import UsageError


@with_options
def sample_command(
    run_dir: RunDir,
    label: Annotated[
        str | None, option("data", metavar="CLASS", help="Class to sample, e.g. 7.")
    ] = None,
    random: Annotated[bool, option("data", "--random", help="Sample random classes.")] = False,
    n: Annotated[
        int, option("data", "-n", metavar="INTEGER", min=1, help="Number of images (default: 16).")
    ] = 16,
    generator: ChosenGenerator = None,
    seed: Annotated[
        int | None,
        option(
            "generator",
            metavar="INTEGER",
            help="Seed of the images (default: a new one, which is printed).",
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        option(
            "generator",
            metavar="FLOAT",
            min=0,
            help="Scale of classifier-free guidance; 1 is no guidance (default: the run's).",
        ),
    ] = None,
    device: Device = "auto",
    out: Annotated[
        Path | None,
        option("output", metavar="DIR", help="Folder of the PNG files (default: RUN/samples/…)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Sample images from a run's trained generator, as PNG files and one sheet.

    Example: augment sample results/runs/digits-ddpm --label 7 -n 16
    """
    if (label is None) == (not random):
        raise UsageError("give one of --label CLASS and --random")
    run_file(run_dir, "settings.json")
    from augment.report.samples import SampleRequest, draw_samples
    from augment.storage.atomic import writing
    from augment.storage.run_folder import reading

    with writing(out or run_dir), reading(run_dir):
        request = SampleRequest(label, n, generator, seed, guidance)
        samples = draw_samples(run_dir, request, out, device)
    if as_json:
        print(json.dumps(samples))
    else:
        print(samples["sheet"])
        talk(
            f"{n} images of {samples['generator']} with seed {samples['seed']} are in "
            f"{samples['folder']}"
        )


@with_options
def export_command(
    run_dir: RunDir,
    out: Annotated[Path, typer.Argument(help="New folder for the data set.", metavar="OUT")],
    data_dir: DataDir = None,
    generator: ChosenGenerator = None,
    seed: Annotated[
        int | None,
        option(
            "generator",
            metavar="INTEGER",
            help="Trial whose images are exported (default: the first).",
        ),
    ] = None,
    synthetic_only: Annotated[
        bool, option("output", "--synthetic-only", help="Leave out the labelled images.")
    ] = False,
    original_size: Annotated[
        bool,
        option(
            "output",
            "--original-size",
            help="Labelled images at the size of their files, not at that of the run.",
        ),
    ] = False,
    layout: Annotated[
        str,
        option(
            "output",
            "--format",
            metavar="imagefolder|hf|webdataset|npz",
            help="Layout of the files (default: imagefolder, a folder a class below train/).",
        ),
    ] = "imagefolder",
) -> None:
    """Export the augmented data set in a layout that others load, with a data card.

    Example: augment export results/runs/digits-ddpm ./augmented
    """
    run_file(run_dir, "settings.json")
    from augment.report.export import ExportRequest, export_images
    from augment.storage.atomic import writing
    from augment.storage.run_folder import reading

    request = ExportRequest(generator, seed, not synthetic_only, original_size, layout)
    with writing(out), reading(run_dir):
        counts = export_images(run_dir, out, request, data_dir)
    print(out)
    talk(
        f"{counts['real']} labelled and {counts['synthetic']} synthetic images; "
        f"{out / 'README.md'} says how to load them"
    )
    for sentence in counts["found"]:
        talk(sentence)
