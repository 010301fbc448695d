"""The plot of gains: each contrast with its 95 % interval around zero (a forest plot)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from augment.experiment.arms import DECISIVE
from augment.report.format import percent
from augment.report.verdicts import is_uncorrected, verdict_words

_ROW = 0.26  # inches
_AXIS_WIDTH = 4.6  # inches
_PANEL_GAP = 0.5  # inches: the ticks of a panel and the title of the next
_SECTION_GAP = 0.6  # rows
_LABEL_WIDTH = 46  # characters, then a label goes on in a second line
_REACH = 3  # the axis shows at most so many times what the decisive contrasts need
_MARGIN = 0.05  # of the axis on each side, for arrows to what lies outside
# verdict → colour, marker; of Okabe and Ito 2008, apart under all kinds of colour blindness
_STYLES = {"helps": ("#0072b2", ">"), "hurts": ("#c04a00", "<")}
_NEUTRAL = ("#595959", "o")


@dataclass(frozen=True)
class _Section:
    """Contrasts of one kind under a heading."""

    heading: str
    decisive: bool
    lines: list[dict[str, Any]]


def gain_intervals(summary: pd.DataFrame) -> Figure | None:
    """Draw the gain of each contrast with its 95 % interval around zero; None without contrasts.

    A panel for each data set and amount, the decisive contrasts first. Verdicts are told by
    colour, marker (hollow: with a question mark) and word. All panels share the axis of points.
    """
    contrasts = summary[summary["pairs"] > 0]
    if contrasts.empty:
        return None
    blocks = [
        (f"{Path(str(dataset)).name}, {n} labelled images ({asked})", _sections(block))
        for (dataset, n, asked), block in contrasts.groupby(
            ["dataset", "n_labelled", "asked"], sort=False
        )
    ]
    heights = [sum(_rows_needed(section) for section in sections) for _, sections in blocks]
    inches = _ROW * sum(heights) + _PANEL_GAP * (len(blocks) - 1)
    figure, axes = plt.subplots(
        len(blocks),
        1,
        figsize=(_AXIS_WIDTH, inches),
        sharex=True,
        squeeze=False,
        height_ratios=heights,
        gridspec_kw={
            "left": 0,
            "right": 1,
            "bottom": 0,
            "top": 1,
            "hspace": _PANEL_GAP * len(blocks) / (_ROW * sum(heights)),
        },
    )
    limits = _axis_limits(contrasts)
    for axis, (title, sections), height in zip(axes.flat, blocks, heights, strict=True):
        axis.set_xlim(*limits)
        axis.set_ylim(height, 0)  # the first line on top
        _draw_sections(axis, sections, summary)
        axis.set_title(title, fontsize=10, loc="left", fontweight="bold", parse_math=False)
    measure = " and ".join(contrasts["measure"].unique())
    arrows = any(isinstance(text, Annotation) for axis in axes.flat for text in axis.texts)
    axes.flat[-1].set_xlabel(
        f"gain in {measure}, percentage points: mean and 95 % interval"
        + ("\n(arrows lead beyond the axis)" if arrows else ""),
        fontsize=9,
    )
    return figure


def _sections(block: pd.DataFrame) -> list[_Section]:
    """Group the contrasts of a panel: each arm with synthetic images, the other arms by baseline.

    The decisive arm stands first.
    """
    sections = []
    named = block.assign(of=block["arm"].where(block["generator"] != "", ""))
    for (against, arm), lines in named.groupby(["against", "of"], sort=False):
        heading = f"{arm}, gain over {against}" if arm else f"gain over {against}"
        sections.append(_Section(heading, arm == DECISIVE, lines.to_dict("records")))
    return sorted(sections, key=lambda section: not section.decisive)


def _label(line: dict[str, Any]) -> str:
    """Name a contrast within its section, with the number of its trials."""
    name = f"{line['generator'] or line['arm']}  (n = {line['pairs']:.0f})"
    return textwrap.fill(name, _LABEL_WIDTH)


def _rows_needed(section: _Section) -> float:
    """Count the rows of text of a section, with its heading and the gap below."""
    return 1 + sum(_label(line).count("\n") + 1 for line in section.lines) + _SECTION_GAP


def _axis_limits(contrasts: pd.DataFrame) -> tuple[float, float]:
    """Choose the range of the axis, in points: zero and the decisive intervals are always in it.

    Other contrasts widen it to _REACH times that at most, so that an arm which loses 80 points does
    not flatten what is to be seen; what lies outside is drawn as an arrow.
    """
    ends = contrasts[["low", "high", "difference"]].clip(-1, 1) * 100
    decisive = ends[contrasts["arm"] == DECISIVE] if DECISIVE in set(contrasts["arm"]) else ends
    needed = max(0.5, float(np.nanmax(np.abs(decisive.to_numpy()))))
    low = max(min(0.0, float(np.nanmin(ends.to_numpy()))), -_REACH * needed)
    high = min(max(0.0, float(np.nanmax(ends.to_numpy()))), _REACH * needed)
    if low == high:  # no difference at all
        low, high = -needed, needed
    margin = _MARGIN / (1 - 2 * _MARGIN) * (high - low)
    return low - margin, high + margin


def _draw_sections(axis: Any, sections: list[_Section], summary: pd.DataFrame) -> None:
    """Draw the sections of a panel from top to bottom."""
    top = 0.0
    for section in sections:
        bottom = top + _rows_needed(section) - _SECTION_GAP / 2
        if section.decisive:
            axis.axhspan(top, bottom, color="#eaf1f7", zorder=0, lw=0)
        style = {"va": "center", "parse_math": False, "transform": axis.get_yaxis_transform()}
        axis.text(
            -0.02,
            top + 0.6,
            section.heading,
            ha="right",
            fontsize=8.5,
            fontweight="bold" if section.decisive else "normal",
            fontstyle="normal" if section.decisive else "italic",
            **style,
        )
        for y, line in _positions(section, top + 1):
            words = verdict_words(line, summary)
            gain = percent(line["difference"], True).replace("-", "−")
            axis.text(-0.02, y, _label(line), ha="right", fontsize=8.5, **style)
            axis.text(1.12, y, gain, ha="right", fontsize=8.5, **style)
            colour = _style(line)[0]
            axis.text(1.14, y, words, ha="left", fontsize=8.5, color=colour, **style)
            _draw_contrast(axis, y, line, section.decisive, is_uncorrected(line, summary))
        top = bottom + _SECTION_GAP / 2
    axis.axvline(0, color="black", lw=1, zorder=1)
    axis.set_yticks([])
    axis.tick_params(axis="x", labelsize=8, labelbottom=True)
    axis.grid(axis="x", color="#d0d0d0", lw=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "left", "right"):
        axis.spines[side].set_visible(False)


def _style(line: dict[str, Any]) -> tuple[str, str]:
    """Choose colour and marker by the first word of the verdict."""
    return _STYLES.get(line["verdict"].partition(" ")[0], _NEUTRAL)


def _positions(section: _Section, top: float) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield (vertical centre, line) of each contrast of a section."""
    for line in section.lines:
        height = _label(line).count("\n") + 1
        yield top + height / 2, line
        top += height


def _draw_contrast(
    axis: Any, y: float, line: dict[str, Any], decisive: bool, uncorrected: bool
) -> None:
    """Draw one interval with its mean; an arrow stands where it leaves the axis."""
    edges = axis.get_xlim()
    margin = _MARGIN * (edges[1] - edges[0])
    left, right = edges[0] + margin, edges[1] - margin
    colour, marker = _style(line)
    mean, low, high = (100 * line[c] for c in ("difference", "low", "high"))
    width = 2.4 if decisive else 1.4
    if np.isfinite(low):
        inside = np.clip([low, high], left, right)
        axis.plot(inside, [y, y], "-", color=colour, lw=width, solid_capstyle="butt")
    if left <= mean <= right:
        few = line["verdict"] in ("one trial", "too few trials")
        face = "white" if uncorrected or few else colour
        axis.plot([mean], [y], marker, color=colour, mfc=face, mew=1.4, ms=7 if decisive else 5.5)
    arrow = {"arrowstyle": "->", "color": colour, "lw": width, "shrinkA": 0, "shrinkB": 0}
    if np.nanmin([mean, low]) < left - 1e-9:
        axis.annotate("", (edges[0], y), (left, y), arrowprops=arrow)
    if np.nanmax([mean, high]) > right + 1e-9:
        axis.annotate("", (edges[1], y), (right, y), arrowprops=arrow)
