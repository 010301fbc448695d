"""Durations and rates as people read them."""

from __future__ import annotations

import re

from augment.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600}  # seconds


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


def parse_duration(flag: str, text: str) -> int:
    """Parse 90s, 10m or 2h to seconds; UsageError, which names the flag, for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if not found or not float(found[1]):
        raise UsageError(f"{flag} {text}: write a number and a unit, e.g. 90s, 10m or 2h")
    return max(1, round(float(found[1]) * _UNITS[found[2]]))
