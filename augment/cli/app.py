"""The Typer application: commands in their groups, the page without a command, and errors.

Data goes to stdout, messages to stderr.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from augment import __version__
from augment.cli import advice, experiments, images, inspect, results
from augment.cli.console import talk
from augment.cli.flags import PANELS
from augment.cli.signals import INTERRUPTED, SIGNALLED, end_soon, ended_by_signals
from augment.errors import AugmentError, MachineError
from augment.runtime.fork_server import without_allocator_thread

FIRST_STEPS = """\
Do generated images help a classifier of few labelled images?

  augment run                     Run on the built-in digits, about two minutes.
  augment run --dataset ./images  Run on your own images, one folder per class.
  augment export RUN ./augmented  Export the augmented data set of a run.

RUN is the folder that a run prints; its report is RUN/report.html.
augment --help lists all commands."""

RUN_EXAMPLES = """\
One example per group:

  Data        augment run --dataset ./images --per-class 20 --size 32
  Generator   augment run --generator ddpm,cgan --set cgan.lr=1e-4
  Comparison  augment run --ratio 1,5 --seeds 6 --select
  Execution   augment run --device cuda --dry-run
  Output      augment run --out results/runs/first --json --quiet"""


class PlainGroup(TyperGroup):
    """A group of commands whose flags show no type, since they take no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, flags with an empty metavar."""
        params = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class PlainCommand(TyperCommand):
    """A command whose --help stands in its last group of options, and shows no type."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option --help, moved into the group of the output."""
        found = super().get_help_option(ctx)
        if found:
            found.rich_help_panel, found.metavar = PANELS[-1].capitalize(), ""
        return found


app = typer.Typer(
    cls=PlainGroup,
    invoke_without_command=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = {
    "Experiments": {
        "advise": advice.advise_command,
        "run": experiments.run_command,
        "sweep": experiments.sweep_command,
        "resume": experiments.resume_command,
    },
    "Results": {
        "status": results.status_command,
        "merge": results.merge_command,
        "report": results.report_command,
        "compare": results.compare_command,
    },
    "Images": {"sample": images.sample_command, "export": images.export_command},
    "Before a run": {
        "check": inspect.check_command,
        "list": inspect.list_command,
        "doctor": inspect.doctor_command,
    },
}


def register_commands() -> None:
    """Register each command in the group of the help page that it belongs to."""
    for panel, commands in COMMANDS.items():
        for name, command in commands.items():
            epilog = RUN_EXAMPLES if name == "run" else None
            app.command(name, cls=PlainCommand, rich_help_panel=panel, epilog=epilog)(command)


register_commands()


def version(show: bool) -> None:
    """Print the version and stop."""
    if show:
        print(f"augment {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Do generated images help a classifier of few labelled images, by how much, how surely?"""
    if context.invoked_subcommand is None:
        talk(FIRST_STEPS)
        raise typer.Exit(2)  # a script that lost its command has run nothing, and must notice


def program() -> None:
    """Run `main`, then leave at once: to take apart what was imported lasts two seconds."""
    code = [1]  # of an exception that nobody caught

    def leave() -> None:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code[0])

    atexit.register(leave)  # the first that is registered is called last
    try:
        main()
        code[0] = 0
    except SystemExit as end:
        code[0] = end.code if isinstance(end.code, int) else int(bool(end.code))
        raise


def main() -> None:
    """Run the command `augment`; every error is a sentence and an exit code."""
    without_allocator_thread()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an ASCII terminal shows ? for …, and no error
    try:
        with ended_by_signals():
            app()
    except AugmentError as error:
        talk(f"error: {error}")
        for note in getattr(error, "__notes__", []):  # of a folder: what was left out, and the like
            talk(f"note: {note}")
        sys.exit(error.exit_code)
    except (MemoryError, RuntimeError) as error:
        from augment.training.recovery import no_memory, out_of_memory  # what raised it is loaded

        if not out_of_memory(error):
            raise
        talk(f"error: {no_memory(error)}")
        sys.exit(MachineError.exit_code)
    except SystemExit:
        if SIGNALLED:
            end_soon()
            talk(INTERRUPTED)
            raise SystemExit(SIGNALLED[0]) from None  # Ray makes it a 1
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
