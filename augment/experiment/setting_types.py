"""Types of the settings of a recipe: how a value, or its text on the command line, is read.

A setting carries what its flag shows: `setting(default, panel, description, …)`. The command line
derives the flag from that and from the type, so that a new field of `Recipe` needs no other edit.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from augment.data.pictures.framing import LEAST_SIDE, MOST_SIDE, NATIVE
from augment.errors import UsageError

MOST_SEEDS = 10_000
PRESETS = ("auto", "smoke", "quick", "full")
SUBSETS = ("nested", "disjoint")
PRECISIONS = ("auto", "fp32", "bf16")
AUTO, SELECT = "auto", "select"  # values of --classic that are resolved in each trial
NAMES = "NAME[,NAME…]"


def setting(default: Any, panel: str, description: str, **shown: Any) -> Any:
    """Return the pydantic field of a setting with what its flag shows.

    `panel` is its group of options: data, generator, comparison, execution or output. `shown` may
    hold `metavar` (where the type does not tell the form of the value), `choices` (the valid
    names), `listed=True` (`augment list` has the valid names) and `unset` (what an empty default
    stands for).
    """
    return Field(default, description=description, json_schema_extra={"panel": panel, **shown})


def as_list(value: Any) -> Any:
    """Split text at commas outside brackets; wrap a single value; turn None into no value."""
    if value is None:
        return []
    if isinstance(value, str):
        parts = re.split(r",(?![^\[]*\])", value)  # "ddpm widths=[16,32],cvae" are two
        return [part.strip() for part in parts if part.strip()]
    values = list(value) if isinstance(value, (list, tuple, range)) else [value]
    if any(isinstance(v, bool) for v in values):
        raise ValueError("true or false is no value here")  # Python takes them for 1 and 0
    return values


def as_datasets(value: Any) -> Any:
    """Split as `as_list`, but keep the path of an existing file or folder whole."""
    if isinstance(value, str) and os.path.exists(value):  # Path's raises where a name is too long
        return [value]
    return as_list(value)


def as_seeds(value: Any) -> Any:
    """Turn 6 into 0 to 5 and "100-105" into those six; keep a list."""
    if isinstance(value, str):
        first, dash, last = (part.strip() for part in value.partition("-"))
        if dash and first.isdecimal() and last.isdecimal():
            value = range(int(first), int(last) + 1)
        elif value.strip().isdecimal():
            value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = range(value)
    if isinstance(value, range) and value[MOST_SEEDS:]:  # before they are written out one by one
        raise UsageError(
            f"--seeds asks for {value.stop - value.start} trials: {MOST_SEEDS} at most"
        )
    return as_list(value) if isinstance(value, (str, list, tuple, range)) else value


def as_side(value: Any) -> Any:
    """Turn "auto" into None, and digits into a number of pixels in range; keep "native"."""
    number = "auto" if value is None else str(value).strip().lower()
    if number in ("auto", NATIVE):
        return None if number == "auto" else NATIVE
    if not number:
        raise ValueError(
            f"the value is empty: give {LEAST_SIDE} to {MOST_SIDE} pixels, auto or {NATIVE}"
        )
    if not number.isdecimal() or not LEAST_SIDE <= int(number) <= MOST_SIDE:
        raise ValueError(f"give {LEAST_SIDE} to {MOST_SIDE} pixels, auto or {NATIVE}")
    return int(number)


Many = Annotated[list[str], BeforeValidator(as_list)]
Datasets = Annotated[list[str], BeforeValidator(as_datasets)]
Seeds = Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(as_seeds), Field(min_length=1)]
Side = Annotated[int | str | None, BeforeValidator(as_side)]  # None: auto
Counts = Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(as_list)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Shares = Annotated[list[Share], BeforeValidator(as_list)]
Mixed = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
MixedShares = Annotated[list[Mixed], BeforeValidator(as_list)]
Ratio = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]  # more fills any memory
Ratios = Annotated[list[Ratio], BeforeValidator(as_list)]
Guidances = Annotated[list[Annotated[float, Field(ge=0, le=100)]], BeforeValidator(as_list)]
