"""The options of the commands, each defined once, with its type, group and help."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import create_model

from augment.cli.flags import option, setting_option
from augment.data.layouts.reading_flags import READING_FLAGS
from augment.errors import UsageError
from augment.experiment.recipe import Recipe
from augment.runtime.fork_server import start_server

if TYPE_CHECKING:
    from augment.engine.executors import Executor

# the settings that say how a data set is read, for a command that has no others
_READING: Any = {
    name: (Recipe.model_fields[name].annotation, Recipe.model_fields[name])
    for name in ("task", "size", "fit", *READING_FLAGS, "skip_bad", "drop_small_classes")
}
ReadingSettings = create_model("ReadingSettings", **_READING)
SCHEMAS = Recipe.model_json_schema()["properties"]
RunDir = Annotated[Path, typer.Argument(help="Run folder.", metavar="RUN")]
Source = Annotated[Path, typer.Argument(help="Run folder or results CSV.", metavar="RUN|CSV")]
DataDir = Annotated[
    Path | None,
    option(
        "data", metavar="DIR", help="Cache of data sets (default: $AUGMENT_DATA, or else ./data)."
    ),
]
OtherPreset = Annotated[
    str | None, setting_option("preset", SCHEMAS["preset"], "Preset that replaces the recipe's.")
]
OtherSeeds = Annotated[
    str | None, setting_option("seeds", SCHEMAS["seeds"], "Trials that replace the recipe's.")
]
MoreSeeds = Annotated[
    str | None,
    setting_option(
        "seeds", SCHEMAS["seeds"], "Total number of trials; must include those already run."
    ),
]
Device = Annotated[
    str,
    option(
        "execution",
        metavar="auto|cpu|cuda|cuda:N",
        help="Device; one that is named is never replaced by another (default: auto).",
    ),
]
DryRun = Annotated[
    bool,
    option("execution", "--dry-run", help="Show splits, cells, time and disk, and write nothing."),
]
ShardOf = Annotated[
    str | None,
    option(
        "execution",
        "--shard",
        metavar="I/N",
        help="Run the I-th of N shares of the trials; augment merge joins them.",
    ),
]
Config = Annotated[
    Path | None, option("data", metavar="FILE", help="TOML recipe of settings; flags override it.")
]
Out = Annotated[
    Path | None,
    option("output", metavar="DIR", help="Run folder (default: results/runs/DATASET-GENERATOR)."),
]
Json = Annotated[bool, option("output", "--json", help="Print JSON on stdout instead of a table.")]
ChosenGenerator = Annotated[
    str | None,
    option("generator", "--generator", metavar="NAME", help="Generator, if the run has several."),
]


@dataclasses.dataclass(frozen=True)
class Execution:
    """Where the cells run, and with what."""

    data_dir: DataDir = None
    device: Device = "auto"
    jobs: Annotated[
        int | None,
        option(
            "execution",
            metavar="INTEGER",
            min=1,
            help="Processes on this machine (default: by image size, cores and GPU memory).",
        ),
    ] = None
    executor: Annotated[
        str,
        option(
            "execution",
            metavar="local|ray",
            help="Where cells run: on this machine or on a Ray cluster (default: local).",
        ),
    ] = "local"
    address: Annotated[
        str | None,
        option(
            "execution",
            metavar="ADDRESS",
            help="Ray cluster; local starts one (default: $RAY_ADDRESS, or else one running here).",
        ),
    ] = None
    cpus: Annotated[
        int | None,
        option(
            "execution", metavar="INTEGER", min=1, help="CPU cores per cell on Ray (default: 1)."
        ),
    ] = None
    gpus: Annotated[
        float | None,
        option(
            "execution",
            metavar="FLOAT",
            min=0,
            max=1,
            help="Share of a GPU per cell on Ray (default: 1 if there is a GPU).",
        ),
    ] = None

    def start_workers(self) -> None:
        """Start the server of worker processes: it imports torch while this process does."""
        if self.executor == "local" and self.jobs != 1:
            start_server(self.device)

    def make_executor(self) -> Executor:
        """Make the executor; UsageError where the options do not go together."""
        from augment.engine.executors import make_executor

        return make_executor(
            self.executor,
            self.device,
            jobs=self.jobs,
            address=self.address,
            cpus=self.cpus,
            gpus=self.gpus,
        )


@dataclasses.dataclass(frozen=True)
class Stop:
    """When a run adds no more trials, where their number is not given."""

    until: Annotated[
        float | None,
        option(
            "comparison",
            metavar="POINTS",
            help="Add trials until half the interval of real+classic+synth is so narrow.",
        ),
    ] = None
    budget: Annotated[
        str | None,
        option("execution", metavar="TIME", help="Time in which --until adds trials, e.g. 30m."),
    ] = None


@dataclasses.dataclass(frozen=True)
class Display:
    """What a run prints."""

    as_json: Json = False
    verbose: Annotated[
        int,
        option(
            "output",
            "--verbose",
            "-v",
            count=True,
            help="Print progress every second, not every 15, where there is no terminal.",
        ),
    ] = 0
    quiet: Annotated[bool, option("output", "--quiet", "-q", help="Print results only.")] = False


def run_file(run_dir: Path, name: str) -> Path:
    """Return a file of a run folder; UsageError if there is none."""
    if not (run_dir / name).is_file():
        raise UsageError(f"{run_dir} is no run folder: it has no {name}")
    return run_dir / name
