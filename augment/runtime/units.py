"""Durations and rates as people read them."""

from __future__ import annotations


def speed(per_second: float) -> str:
    """Write cells a second, a minute or an hour: the first that is at least one."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:.3g}/{unit}"
    return f"{per_second * 3600:.2g}/h"


def duration(seconds: float) -> str:
    """Write 40 s, 12 min, 3.5 h or 9 d."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    # each unit up to where two digits of it no longer say enough
    for unit, size, limit in (("min", 60, 99), ("h", 3600, 48)):
        if seconds < size * limit:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds / 86400:.0f} d"
