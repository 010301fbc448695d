"""Commands that run cells: run, sweep and resume."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augment.cli.advice import carry_out_advice
from augment.cli.console import show_plan, show_result, talk
from augment.cli.flags import option, with_options
from augment.cli.options import (
    Config,
    Display,
    DryRun,
    Execution,
    MoreSeeds,
    OtherPreset,
    OtherSeeds,
    Out,
    RunDir,
    ShardOf,
    Stop,
    run_file,
)
from augment.cli.signals import until_signalled
from augment.errors import UsageError
from augment.experiment.hyperparameters import parse_set
from augment.experiment.recipe import Recipe
from augment.runtime.units import parse_duration

if TYPE_CHECKING:
    from augment.engine.until import Until


@with_options
def run_command(
    *,
    config: Config = None,
    stop: Stop,
    execution: Execution,
    shard: ShardOf = None,
    dry_run: DryRun = False,
    out: Out = None,
    display: Display,
    **settings: Any,
) -> None:
    """Compare training on real images alone with training on real and synthetic ones.

    Example: augment run --dataset cifar10 --frac 0.05 --generator ddpm
    """
    execution.start_workers()
    from augment.engine.shards import parse_shard
    from augment.experiment.validation import make_recipe, read_recipe

    recipe = make_recipe(**overridden(read_recipe(config) if config else {}, settings))
    shard_of = parse_shard(shard)
    carry_out(recipe, execution, display, out=out, shard=shard_of, dry_run=dry_run, stop=stop)


def overridden(file: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe's file with those given as flags over them."""
    settings = dict(file)
    if flags.keys() & {"frac", "per_class"}:  # one flag goes over either key of the file
        settings = {k: v for k, v in settings.items() if k not in ("frac", "per_class")}
    sections = settings.get("set", {})
    for section, values in parse_set(flags.get("set", [])).items():
        sections = sections | {section: sections.get(section, {}) | values}
    return settings | flags | {"set": sections}


@with_options
def sweep_command(
    recipe: Annotated[
        Path, typer.Argument(help="TOML recipe, e.g. pipelines/smoke.toml.", metavar="RECIPE")
    ],
    *,
    preset: OtherPreset = None,
    seeds: OtherSeeds = None,
    execution: Execution,
    shard: ShardOf = None,
    dry_run: DryRun = False,
    out: Annotated[
        Path | None,
        option("output", metavar="DIR", help="Run folder (default: results/runs/RECIPE)."),
    ] = None,
    display: Display,
) -> None:
    """Run every cell of a recipe.

    Example: augment sweep pipelines/ablation.toml --out results/runs/ablation
    """
    execution.start_workers()
    from augment.engine.shards import parse_shard
    from augment.experiment.validation import make_recipe, read_recipe

    settings = read_recipe(recipe)
    settings |= {k: v for k, v in {"preset": preset, "seeds": seeds}.items() if v is not None}
    suffix = f"-{shard.replace('/', '-of-')}" if shard else ""
    out = out or Path("results/runs") / (recipe.stem + suffix)
    made = make_recipe(**settings)
    carry_out(made, execution, display, out=out, shard=parse_shard(shard), dry_run=dry_run)


@with_options
def resume_command(
    run_dir: RunDir, *, seeds: MoreSeeds = None, stop: Stop, execution: Execution, display: Display
) -> None:
    """Continue a run that was stopped, or add trials to it; finished cells are kept.

    Example: augment resume results/runs/digits-ddpm --seeds 6
    """
    execution.start_workers()
    from augment.experiment.validation import make_recipe
    from augment.storage.run_folder import read_settings, reading

    file = run_file(run_dir, "settings.json")
    with reading(run_dir):
        settings, others = dict(read_settings(file)), json.loads(file.read_text())
        shard, budget = others.get("shard"), others.get("budget")
    settings |= {"seeds": seeds} if seeds else {}
    recipe = make_recipe(**settings)
    if budget:
        if stop.until or stop.budget:
            raise UsageError(f"{run_dir} is an advice, which has its own budget: leave --until out")
        carry_out_advice(recipe, int(budget), execution, display, run_dir)
        return
    shard = tuple(shard) if shard else None
    carry_out(recipe, execution, display, out=run_dir, shard=shard, stop=stop)


def carry_out(
    recipe: Recipe,
    execution: Execution,
    display: Display,
    *,
    out: Path | None,
    shard: tuple[int, int] | None,
    dry_run: bool = False,
    stop: Stop | None = None,
) -> None:
    """Run a recipe with a progress display, print its table, exit 4 if cells failed."""
    data: dict[str, Any] = dict(data_dir=execution.data_dir, shard=shard)
    executor = execution.make_executor()
    until = stop and stopping_rule(stop, shard)
    if dry_run:
        from augment.engine.estimate import plan
        from augment.engine.until import FIRST, with_trials

        recipe = with_trials(recipe, FIRST) if until else recipe  # how many follow is not known

        if not display.quiet:
            talk("timing a few steps of each kind of training on this machine …")
        estimate = plan(recipe, device=execution.device, jobs=execution.jobs, **data)
        show_plan(estimate, display.as_json)
        return
    from augment.cli.progress import watch
    from augment.engine.run import execute

    common: dict[str, Any] = dict(out=out, executor=executor)
    if until:
        from augment.engine.until import execute_until

        del data["shard"]
        steps = execute_until(until, recipe, **common, **data)
    else:
        steps = execute(recipe, **common, **data)
    result = watch(until_signalled(steps), quiet=display.quiet, verbose=display.verbose)
    show_result(result, display.as_json, display.quiet)
    if result.failed:
        for error in result.errors:
            talk(f"error: {error}")
        talk(f"{result.failed} of {len(result.table)} cells failed; the rest is valid")
        raise typer.Exit(4)


def stopping_rule(stop: Stop, shard: tuple[int, int] | None) -> Until | None:
    """Read --until and --budget; None without them. UsageError where they say nothing together."""
    if stop.until is None:
        if stop.budget is not None:
            raise UsageError("--budget is the time in which --until adds trials: give --until too")
        return None
    if not 0 < stop.until < math.inf:
        raise UsageError(f"--until {stop.until:g}: give half the interval in points, e.g. 0.5")
    if shard:
        raise UsageError("--until looks at all trials together: leave --shard out")
    from augment.engine.until import Until

    seconds = None if stop.budget is None else parse_duration("--budget", stop.budget)
    return Until(stop.until, seconds)
