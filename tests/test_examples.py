"""Each command's own example does what it says, in order, in one folder; and shells complete it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import bars, write_folder
from forkserver import run_forked
from typer.main import get_command

from augment import cli

COMMANDS = get_command(cli.app).commands
TINY = (
    "--preset smoke --per-class 3 --seeds 1 --jobs 1 --ratio 2 --set generator.steps=4 "
    "--set classifier.steps=4 --set classifier.width=8"
).split()
RECIPE = """
per_class = 3
generator = "cvae"
arm = ["real", "real+synth"]
seeds = 2
ratio = 2
preset = "smoke"
set.generator.steps = 4
set.classifier = { steps = 4, width = 8 }
"""


def example(name):
    """The words behind `Example:` in a command's help."""
    return shlex.split(re.search(r"Example: augment (.+)", COMMANDS[name].callback.__doc__)[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A current folder that has what the examples name, all of it tiny."""
    here = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(0)
    arrays = {
        f"{part}_{what}": values
        for part in ("train", "test")
        for what, values in (
            ("images", rng.integers(0, 256, (400, 8, 8, 3), np.uint8)),
            ("labels", np.arange(400) % 10),
        )
    }
    (here / "data").mkdir()
    np.savez(here / "data/cifar10.npz", classes=np.array([str(k) for k in range(10)]), **arrays)
    write_folder(here / "images", bars())
    (here / "pipelines").mkdir()
    (here / "pipelines/ablation.toml").write_text(RECIPE)
    for generator in ("ddpm", "cgan"):
        augment(here, "run", "--generator", generator, *TINY)
    for shard in ("1/2", "2/2"):
        augment(here, "sweep", "pipelines/ablation.toml", "--shard", shard)
    return here


def augment(here, *words):
    """The command in that folder, in a process of its own; it must end well."""
    done = run_forked(words, cwd=here, env={**os.environ, "AUGMENT_DATA": "data"}, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_example_of_a_command(name, folder):
    # the examples of `run` and `advise` are the real thing: made small, they are the same commands
    small = {"run": ("--seeds", "1"), "advise": ("--budget", "20s")}.get(name)
    assert augment(folder, *example(name), *(["--preset", "smoke", *small] if small else []))


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_bash_completes_a_command():
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = (
        'eval "$(augment --show-completion)"; COMP_WORDS=(augment ru); COMP_CWORD=1; '
        '_augment_completion augment; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
        check=True,
    )
    assert done.stdout.split() == ["run"], done.stderr
