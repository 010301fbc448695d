"""Commands that read or join the results of runs: status, merge, report and compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from augment.cli.console import show_rows, show_summary, talk
from augment.cli.flags import option, with_options
from augment.cli.options import Json, RunDir, Source, run_file
from augment.errors import UsageError


@with_options
def status_command(run_dir: RunDir, as_json: Json = False) -> None:
    """Show how far a run is, without disturbing it: cells done, failed and left, rate, time left.

    Example: augment status results/runs/digits-ddpm
    """
    from augment.engine.status import read_status, status_lines
    from augment.storage.run_folder import reading

    with reading(run_dir):
        state = read_status(run_dir)
    if as_json:
        print(json.dumps(state))
    else:
        show_rows(str(run_dir), status_lines(state))
        if state["state"] == "stopped":
            talk(f"to continue it: augment resume {run_dir}")


@with_options
def merge_command(
    shards: Annotated[
        list[Path], typer.Argument(help="Run folders of all shards.", metavar="RUN…")
    ],
    out: Annotated[Path, option("output", metavar="DIR", help="New run folder of the whole run.")],
    partial: Annotated[
        bool,
        option(
            "data", "--partial", help="Join what is there, even if shards or cells are missing."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Join the shards of a run into one run folder, equal to that of an undivided run.

    Example: augment merge results/runs/ablation-1-of-2 results/runs/ablation-2-of-2 --out merged
    """
    from augment.engine.shards import merge as join
    from augment.report.table import summarise
    from augment.storage.run_folder import reading

    with reading(shards[0]):
        table = join(shards, out, partial=partial)
    show_summary(summarise(table), as_json)
    talk(f"results.csv, table.md, plots/ and samples/ are in {out}")


@with_options
def report_command(
    source: Source,
    tensorboard: Annotated[
        bool, option("output", "--tensorboard", help="Write the curves as TensorBoard events, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Rebuild table and plots: of a run from its artefacts, of a CSV beside it.

    Example: augment report results/runs/digits-ddpm
    """
    from augment.engine.finish import finish_run
    from augment.experiment.results_table import read_results
    from augment.report.html import unfinished
    from augment.report.run_outputs import write_beside
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
            table = finish_run(source, table)
            if left := unfinished(source):
                talk(left)
        if tensorboard:
            from augment.report.tensorboard import write_events

            talk(f"to see the curves: tensorboard --logdir {write_events(source)}")
    show_summary(summarise(table), as_json)
    talk(f"table and plots are in {source.with_suffix('.md') if csv else source}")


@with_options
def compare_command(
    a: Annotated[Path, typer.Argument(help="Run folder or results CSV.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="Another one on the same data.", metavar="B")],
    sheet: Annotated[
        Path | None,
        option("output", metavar="FILE", help="PNG of images that both generate: A left, B right."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two runs arm by arm, paired over the trials that both have, and their images.

    Example: augment compare results/runs/digits-ddpm results/runs/digits-cgan
    """
    from augment.experiment.results_table import read_results
    from augment.report.comparison import (
        COMPARISON_HEAD,
        IMAGES_HEAD,
        compare_images,
        compare_tables,
        comparison_lines,
        image_lines,
    )
    from augment.report.legend import interval_description
    from augment.storage.run_folder import reading

    files = [
        s if s.suffix == ".csv" and s.is_file() else run_file(s, "results.csv") for s in (a, b)
    ]
    folders = None if a.is_file() or b.is_file() else (a, b)
    with reading(a), reading(b):
        table = compare_tables(read_results(files[0]), read_results(files[1]), folders)
        pictures = compare_images(a, b)
    if as_json:
        both = {"arms": table, "pictures": pictures}
        print(json.dumps({k: json.loads(v.to_json(orient="records")) for k, v in both.items()}))
    else:
        show_rows(f"A: {a}   B: {b}", comparison_lines(table), list(COMPARISON_HEAD))
        talk(interval_description(table))
        if lines := image_lines(pictures):
            show_rows("generated images, mean over trials", lines, list(IMAGES_HEAD))
    if sheet:
        write_sheet(a, b, sheet)


def write_sheet(a: Path, b: Path, sheet: Path) -> None:
    """Draw the image grids of the first trial of two runs side by side."""
    from augment.data.grids import side_by_side
    from augment.report.samples import artefacts, chosen_cell
    from augment.storage.atomic import writing

    runs = [run_file(run, "results.csv").parent for run in (a, b)]
    grids = [artefacts(run, chosen_cell(run, None, None))[1] / "grid.png" for run in runs]
    with writing(sheet):
        side_by_side(grids, sheet)
    talk(f"{sheet}: images of the first trial, one row per class, A left, B right")
