"""What the documents say can be done is there to be done."""

import itertools
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from augment import cli

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("[!.]*/README.md")]


def commands_in(document):
    """Every `augment …` line of the fenced blocks of a document."""
    blocks = re.findall(r"```(?:sh|console)?\n(.*?)```", document.read_text(), re.S)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("augment ")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_documents_parse(document):
    group = get_command(cli.app)
    for words in commands_in(document):
        name, *rest = words[1:]
        if name.startswith("-"):
            continue
        command = group.commands[name]
        context = command.make_context(name, list(rest), resilient_parsing=False)
        assert not context.args, words  # nothing left over that the command does not know


def test_readme_has_commands_to_check():
    assert len(commands_in(ROOT / "README.md")) >= 8


@pytest.mark.parametrize("name", sorted(get_command(cli.app).commands))
def test_each_command_is_in_the_readme(name):
    assert f"augment {name}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_constraints_pin_every_dependency_without_addresses():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *itertools.chain(*project["optional-dependencies"].values()),
    ]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines if "==" in line}
    names = {re.sub(r"[-_.]+", "-", re.split(r"[<>=\[]", w)[0]).lower() for w in wanted}
    assert names <= pins
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+-]+|#.*|", line) for line in lines)


def test_contributing_is_short():
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 40
