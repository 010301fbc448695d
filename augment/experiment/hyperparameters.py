"""Hyperparameters of generators and classifiers: presets, overrides, ranges."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import typing
from typing import Any

from pydantic import TypeAdapter, ValidationError

from augment.errors import UsageError, unknown

MAY_BE_ZERO = ("steps", "epochs", "labels", "hub", "patch")  # integers; all others are at least 1
SHARES = (
    "transformed",
    "dropout",
    "label_dropout",
    "strength",
    "vae_share",
    "threshold",
    "whitening",
)  # from 0 to 1


def parse_set(items: list[str]) -> dict[str, dict[str, Any]]:
    """Parse `generator.lr=1e-3` to {"generator": {"lr": 0.001}}; values as in TOML, else text."""
    parsed: dict[str, dict[str, Any]] = {}
    for item in items:
        key, equals, text = item.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot and name):
            raise UsageError(f"--set {item}: write SECTION.KEY=VALUE, e.g. generator.lr=1e-3")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        parsed.setdefault(section, {})[name] = value
    return parsed


def split_variant(name: str) -> tuple[str, dict[str, Any]]:
    """Split `"ddpm calls=50"` into ("ddpm", {"calls": 50}): registered name and settings."""
    entry, *words = name.split()
    for word in words:
        if not all(word.partition("=")):
            raise UsageError(f"--generator '{name}': write NAME KEY=VALUE, e.g. 'ddpm calls=50'")
    return entry, parse_set([f"{entry}.{word}" for word in words]).get(entry, {})


def check_range(what: str, value: Any, least: int) -> None:
    """Raise UsageError unless floats are finite and not negative, integers at least `least`."""
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, float) and not 0 <= number < math.inf:
            raise UsageError(f"{what} = {number} is not a finite number from 0 up")
        if isinstance(number, int) and not isinstance(number, bool) and number < least:
            raise UsageError(f"{what} = {number}: the least is {least}")


def hyperparameters(
    registry: dict[str, Any], name: str, preset: str, overrides: dict[str, Any]
) -> dict[str, Any]:
    """Resolve all hyperparameters of an entry: its defaults, the preset, then the overrides."""
    entry = registry[name]
    types = typing.get_type_hints(entry)
    settings = {
        f.name: f.default
        for f in dataclasses.fields(entry)
        if f.init and "of_arm" not in f.metadata  # OF_ARM, whose module would load torch for --help
    }
    settings |= entry.presets[preset]
    for key, value in overrides.items():
        if key not in settings:
            raise unknown(f"setting of {name}", key, settings)
        try:
            settings[key] = TypeAdapter(types[key]).validate_python(value)
        except ValidationError as error:
            raise UsageError(f"{name}.{key} = {value!r}: {error.errors()[0]['msg']}") from None
        # pydantic accepts True as 1
        if isinstance(value, bool) and types[key] is not bool:
            raise UsageError(f"{name}.{key} = {value!r}: true or false is no value here")
        check_range(f"{name}.{key}", settings[key], least=0 if key in MAY_BE_ZERO else 1)
        if key in SHARES and settings[key] > 1:
            raise UsageError(f"{name}.{key} = {value!r}: write a share from 0 to 1")
    # lists, as JSON and TOML have them: signatures are made of these values
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}
