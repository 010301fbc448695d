"""What the commands print: data on stdout as tables or JSON, talk on stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from augment.engine import Result


def show_result(result: Result, as_json: bool, quiet: bool) -> None:
    """The table on stdout, then where the files are."""
    if as_json:
        rows = json.loads(result.table.to_json(orient="records"))
        summary = json.loads(result.summary.to_json(orient="records"))
        print(json.dumps({"path": str(result.path), "summary": summary, "results": rows}))
        return
    show_summary(result.summary, as_json, quiet)
    if not quiet:
        talk(f"results.csv, table.md, plots/ and samples/ are in {result.path}")


def show_summary(summary: Any, as_json: bool, quiet: bool = False) -> None:
    """The summary as tables with the verdicts below."""
    from augment.report.table import LEAST_COLUMNS, TABLE_HEAD, table_blocks
    from augment.report.verdicts import legend, verdict_sentences

    if as_json:
        print(summary.to_json(orient="records"))
        return
    for title, lines in table_blocks(summary):
        names, head, least = {line[0] for line in lines} - {""}, TABLE_HEAD, LEAST_COLUMNS
        if sys.stdout.isatty():  # the other interval is in table.md
            lines = [[cell.partition(" (BCa")[0] for cell in line] for line in lines]
            if len(names) == 1:  # a column that says one thing
                title, head, least = f"{title}; {names.pop()}", TABLE_HEAD[1:], LEAST_COLUMNS - 1
                lines = [line[1:] for line in lines]
        show_rows(title, lines, list(head), least=least)
    for sentence in verdict_sentences(summary):
        print(sentence)
    for sentence in [] if quiet else legend(summary):
        talk(sentence)


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


def show_rows(
    title: str, rows: list[list[str]], head: list[str] | None = None, least: int = 0
) -> None:
    """A table on stdout: drawn on a terminal, cell by cell if it is too wide; tabs in a pipe.

    With `least`, a terminal without room for all columns shows as many as it can from the left, but
    no fewer.
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
    """Rows for a terminal; `whole`: no cell but those of the last column is broken into lines."""
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
        kept = whole and name not in ("generator", (head or [""])[-1])
        table.add_column(name, no_wrap=kept, min_width=widest if kept else None)
    for line in rows:
        table.add_row(*(escape(cell) for cell in line))
    return table


def talk(sentence: str) -> None:
    """Something for the person, not for the pipe."""
    print(sentence, file=sys.stderr, flush=True)
