"""Output of the commands: data on stdout as tables or JSON, messages on stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from augment.engine.run import Result


def show_result(result: Result, as_json: bool, quiet: bool) -> None:
    """Print the table of a run on stdout, then where its files are."""
    if as_json:
        rows = json.loads(result.table.to_json(orient="records"))
        summary = json.loads(result.summary.to_json(orient="records"))
        print(json.dumps({"path": str(result.path), "summary": summary, "results": rows}))
        return
    show_summary(result.summary, as_json, quiet)
    if not quiet:
        talk(f"results.csv, table.md, plots/ and samples/ are in {result.path}")


def show_summary(summary: Any, as_json: bool, quiet: bool = False) -> None:
    """Print a summary as tables with the verdicts below."""
    from augment.report.legend import legend
    from augment.report.table import LEAST_COLUMNS, table_blocks, table_head
    from augment.report.verdicts import verdict_sentences

    if as_json:
        print(summary.to_json(orient="records"))
        return
    whole = table_head(summary)
    for title, lines in table_blocks(summary):
        names, head, least = {line[0] for line in lines} - {""}, whole, LEAST_COLUMNS
        if sys.stdout.isatty():  # for want of room; the BCa interval is in table.md
            lines = [[cell.partition(" (BCa")[0] for cell in line] for line in lines]
            if len(names) == 1:  # a column of one value goes into the title
                title, head, least = f"{title}; {names.pop()}", whole[1:], LEAST_COLUMNS - 1
                lines = [line[1:] for line in lines]
        show_rows(title, lines, list(head), least=least)
    for sentence in verdict_sentences(summary):
        print(sentence)
    for sentence in [] if quiet else legend(summary):
        talk(sentence)


def show_plan(estimate: dict[str, Any], as_json: bool) -> None:
    """Print what a dry run found."""
    if as_json:
        print(json.dumps(estimate))
        return
    shown = {key: value for key, value in estimate.items() if key != "cells" and value != []}
    rows = [[k.replace("_", " "), plain(v)] for k, v in shown.items()]
    show_rows("plan", rows)
    show_rows("cells", [[c] for c in estimate["cells"]])


def plain(value: Any) -> str:
    """Format a value for people: without brackets, a long list on several lines."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return (
            "\n".join(str(v) for v in value)
            if any(" " in str(v) for v in value)
            else ", ".join(map(str, value))
        )
    return str(value)


def show_rows(
    title: str, rows: list[list[str]], head: list[str] | None = None, least: int = 0
) -> None:
    """Print a table on stdout: tabs in a pipe; on a terminal drawn, or cell by cell if too wide.

    With `least`, a terminal too narrow for all columns shows the leftmost that fit, at least so
    many.
    """
    if not sys.stdout.isatty():
        print(
            "\n".join(
                "\t".join(c.replace("\n", "; ") for c in line)
                for line in [*([head] if head else []), *rows]
            )
        )
        return
    from rich.console import Console

    console = Console()
    wide = console.options.update(width=1000)
    for columns in range(len(rows[0]), (least or len(rows[0])) - 1, -1):
        table = drawn(title, [line[:columns] for line in rows], head and head[:columns], least > 0)
        if not head or console.measure(table, options=wide).minimum <= console.width:
            console.print(table)
            return
    print(f"{title}\n")
    for line in rows:
        cells = zip(head or [], line, strict=True)
        print("\n".join(f"{name}: {cell}" for name, cell in cells if cell), "\n")


def drawn(title: str, rows: list[list[str]], head: list[str] | None, whole: bool) -> Table:
    """Draw rows for a terminal; with `whole`, only cells of the last column may wrap."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=escape(title),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        show_header=bool(head),
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name, *cells in zip(head or rows[0], *rows, strict=True):
        widest = max(map(len, [name, *cells]))
        unbroken = whole and name not in ("generator", (head or [""])[-1])
        table.add_column(name, no_wrap=unbroken, min_width=widest if unbroken else None)
    for line in rows:
        table.add_row(*(escape(cell) for cell in line))
    return table


def talk(sentence: str) -> None:
    """Print a message for the person, not for the pipe: on stderr."""
    print(sentence, file=sys.stderr, flush=True)
