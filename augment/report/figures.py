"""What all plots share: the backend, figures of several panels, PNG files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # draws into files, needs no screen
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from augment.storage.atomic import write_atomic

_PANELS_A_ROW = 3
COLOURS = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically, and close it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    write_atomic(path, buffer.getvalue())


def make_panels(n: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    """Make a figure of n axes, three a row; `width` and `height` of one are in inches."""
    rows = -(-n // _PANELS_A_ROW)
    columns = min(_PANELS_A_ROW, n)
    figure, axes = plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), squeeze=False
    )
    for axis in axes.flat[n:]:
        axis.axis("off")
    return figure, list(axes.flat[:n])
