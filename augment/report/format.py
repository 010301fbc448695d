"""Figures and text as a report writes them: percent, intervals, p values, Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd


def percent(value: float | None, sign: bool = False) -> str:
    """Write a fraction as percent with two decimals; empty where there is none."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{100 * value:+.2f}" if sign else f"{100 * value:.2f}"


def interval_text(low: float | None, high: float | None) -> str:
    """Write an interval of differences, cut at the possible ±100 %; empty where there is none."""
    ends = (None if v is None or math.isnan(v) else max(-1.0, min(1.0, v)) for v in (low, high))
    texts = [percent(end, True) for end in ends]
    return " … ".join(texts) if all(texts) else ""


def probability(p: float | None) -> str:
    """Write p with three decimals, never as 0."""
    if p is None or not math.isfinite(p):
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def settings_text(line: dict[str, Any], names: Iterable[str]) -> list[str]:
    """Write `key=value` for each of the named settings that a row has."""
    return [
        f"{name}={line[name]:.12g}" if isinstance(line[name], float) else f"{name}={line[name]}"
        for name in names
        if pd.notna(line[name])
    ]


def escape(text: str) -> str:
    """Escape text so that it cannot break out of a Markdown table."""
    text = " ".join(text.splitlines()).replace("\\", "\\\\").replace("|", "\\|")
    return text.replace("&", "&amp;").replace("<", "&lt;")


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """Lay out text cells as the lines of a Markdown table."""
    return [
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
        *("| " + " | ".join(escape(cell) for cell in line) + " |" for line in lines),
    ]
