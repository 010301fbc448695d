"""Durations and rates as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def speed(per_second: float) -> str:
    """Cells a second, a minute or an hour: the first that is at least one."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:.3g}/{unit}"
    return f"{per_second * 3600:.2g}/h"


def duration(seconds: float) -> str:
    """40 s, 12 min, 3.5 h or 9 d."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    for unit, size, most in (("min", 60, 99), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds / 86400:.0f} d"
