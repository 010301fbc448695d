"""The command advise: what to do with a few labelled images, within a time budget."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import create_model

from augment.cli.console import show_rows, talk
from augment.cli.flags import option, with_options
from augment.cli.options import Display, Execution
from augment.cli.signals import until_signalled
from augment.experiment.recipe import Recipe
from augment.experiment.setting_types import NAMES, Many, setting
from augment.experiment.synthetic_use import USE_SETTINGS

# decided by the race, or given as the argument
_DECIDED = ("question", "dataset", "arm", "seeds", "select", *USE_SETTINGS)
_FIELDS: Any = {
    name: (field.annotation, field)
    for name, field in Recipe.model_fields.items()
    if name not in _DECIDED
}
_FIELDS["generator"] = (
    Many,
    setting(
        [],
        "generator",
        "Generators to race.",
        metavar=NAMES,
        listed=True,
        unset="ddpm, mix, cvae, cgan, and the controls duplicate and noise",
    ),
)
AdviceSettings = create_model("AdviceSettings", **_FIELDS)


@functools.partial(with_options, model=AdviceSettings)
def advise_command(
    dataset: Annotated[
        str, typer.Argument(help="Name (see augment list) or path.", metavar="DATASET")
    ],
    *,
    budget: Annotated[
        str,
        option(
            "execution",
            "--budget",
            metavar="TIME",
            help="Time for all of it, e.g. 90s, 10m or 2h (default: 10m).",
        ),
    ] = "10m",
    execution: Execution,
    out: Annotated[
        Path | None,
        option("output", metavar="DIR", help="Run folder (default: results/runs/DATASET-advice)."),
    ] = None,
    display: Display,
    **settings: Any,
) -> None:
    """Advise what to do with a few labelled images: a policy, a generator, or neither.

    Example: augment advise ./images --budget 15m
    """
    execution.start_workers()
    from augment.experiment.hyperparameters import parse_set
    from augment.experiment.ways import advice_recipe
    from augment.runtime.units import parse_duration

    settings |= {"set": parse_set(settings.get("set", []))}
    recipe = advice_recipe(dataset=dataset, **settings)
    carry_out_advice(recipe, parse_duration("--budget", budget), execution, display, out)


def carry_out_advice(
    recipe: Recipe, budget: int, execution: Execution, display: Display, out: Path | None
) -> None:
    """Run an advice with a progress display and print its page; exit 4 if a cell failed."""
    from augment.cli.progress import watch
    from augment.engine.advise import execute_advice

    steps = execute_advice(
        recipe, budget, out=out, data_dir=execution.data_dir, executor=execution.make_executor()
    )
    result: Any = watch(until_signalled(steps), quiet=display.quiet, verbose=display.verbose)
    if display.as_json:
        print(json.dumps(result.advice))
    else:
        show_advice(result.advice)
    if not display.quiet:
        talk(f"advice.html, advice.md and the report of the measurement are in {result.path}")
    if result.failed:
        for error in result.errors:
            talk(f"error: {error}")
        talk(f"{result.failed} of {len(result.table)} cells failed; the rest is valid")
        raise typer.Exit(4)


def show_advice(facts: dict[str, Any]) -> None:
    """Print the page: its tables, what was left out, and the answer last."""
    from augment.report.advice_page import (
        RACE_HEAD,
        advice_sentences,
        left_out_lines,
        measured_table,
        next_steps,
        race_lines,
    )

    show_rows("the race, on held-out labelled images", race_lines(facts), list(RACE_HEAD), least=3)
    head, lines = measured_table(facts)
    show_rows("measured on test images", lines, head, least=4)
    for line in left_out_lines(facts):
        print(f"left out: {line}")
    for sentence in [*advice_sentences(facts), *next_steps(facts)]:
        print(sentence)
