"""What the commands print: data on stdout as tables or JSON, talk on stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augment.engine import Result


def show_result(result: Result, as_json: bool, quiet: bool) -> None:
    """The table on stdout, then where the files are."""
    if as_json:
        rows = json.loads(result.table.to_json(orient="records"))
        summary = json.loads(result.summary.to_json(orient="records"))
        print(json.dumps({"path": str(result.path), "summary": summary, "results": rows}))
        return
    show_summary(result.summary, as_json)
    if not quiet:
        talk(f"results.csv, table.md, plots/ and samples/ are in {result.path}")


def show_summary(summary: Any, as_json: bool) -> None:
    """The summary as tables with the verdicts below."""
    from augment.report.table import HEAD, blocks, verdicts

    if as_json:
        print(summary.to_json(orient="records"))
        return
    for title, lines in blocks(summary):
        show_rows(title, lines, list(HEAD))
    for sentence in verdicts(summary):
        print(sentence)


def show_plan(about: dict[str, Any], as_json: bool) -> None:
    """What a dry run found."""
    if as_json:
        print(json.dumps(about))
        return
    rows = [[k.replace("_", " "), plain(v)] for k, v in about.items() if k != "cells"]
    show_rows("plan", rows)
    show_rows("cells", [[c] for c in about["cells"]])


def plain(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return (
            "\n".join(str(v) for v in value)
            if any(" " in str(v) for v in value)
            else ", ".join(map(str, value))
        )
    return str(value)


def show_rows(title: str, rows: list[list[str]], head: list[str] | None = None) -> None:
    """A table on stdout: drawn on a terminal, cell by cell if it is too wide; tabs in a pipe."""
    if not sys.stdout.isatty():
        print(
            "\n".join(
                "\t".join(c.replace("\n", "; ") for c in line)
                for line in [*([head] if head else []), *rows]
            )
        )
        return
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=escape(title), box=box.SIMPLE_HEAD, title_justify="left", show_header=bool(head)
    )
    for name in head or rows[0]:
        table.add_column(name)
    for line in rows:
        table.add_row(*(escape(cell) for cell in line))
    console = Console()
    wide = console.options.update(width=1000)
    if head and console.measure(table, options=wide).minimum > console.width:
        print(f"{title}\n")
        for line in rows:
            print("\n".join(f"{name}: {c}" for name, c in zip(head, line, strict=True) if c), "\n")
        return
    console.print(table)


def talk(sentence: str) -> None:
    """Something for the person, not for the pipe."""
    print(sentence, file=sys.stderr, flush=True)
