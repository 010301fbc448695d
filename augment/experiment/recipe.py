"""Settings of an experiment: validated, expanded to cells, and turned into stage signatures.

A setting that is a list is a dimension of the matrix; `augment run` flags, TOML recipes and
`augment.run(...)` keywords are the same settings.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)

from augment.classifiers import CLASSIFIERS
from augment.classifiers.pretrained import TORCHVISION
from augment.errors import UsageError, unknown
from augment.experiment.arms import ARMS, USUAL
from augment.experiment.hyperparameters import hyperparameters, split_variant
from augment.experiment.synthetic_use import USE_SETTINGS, Setting, Share
from augment.generators import GENERATORS
from augment.training.precision import PRECISIONS
from augment.transforms.geometric import CLASSIC

MOST_SEEDS = 10_000


PRESETS = ("auto", "smoke", "quick", "full")


def as_list(value: Any) -> Any:
    """One value → a list of one; `"a,b"` → two, commas in brackets left alone; None → no value."""
    if value is None:
        return []
    if isinstance(value, str):
        parts = re.split(r",(?![^\[]*\])", value)  # "ddpm widths=[16,32],cvae" are two
        return [part.strip() for part in parts if part.strip()]
    values = list(value) if isinstance(value, (list, tuple, range)) else [value]
    if any(isinstance(v, bool) for v in values):
        raise ValueError("true or false is no value here")  # Python would take them for 1 and 0
    return values


def as_datasets(value: Any) -> Any:
    """As `as_list`; a file or folder that is there stays whole, commas in its name and all."""
    if isinstance(value, str) and os.path.exists(value):  # Path's raises where a name is too long
        return [value]
    return as_list(value)


def as_seeds(value: Any) -> Any:
    """6 → 0…5; "100-105" → those; a list stays."""
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


Many = Annotated[list[str], BeforeValidator(as_list)]


class _RecipeBase(BaseModel):
    """All settings that a result depends on. `extra` keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = ""
    dataset: Annotated[list[str], BeforeValidator(as_datasets)] = ["digits"]
    frac: Annotated[list[Share], BeforeValidator(as_list)] = []
    per_class: Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(as_list)] = []
    size: Annotated[int, Field(ge=8, le=512)] | None = None
    generator: Many = ["ddpm"]
    arm: Many = list(USUAL)
    seeds: Annotated[
        list[Annotated[int, Field(ge=0)]], BeforeValidator(as_seeds), Field(min_length=1)
    ] = [0, 1, 2]
    select: bool = False
    folds: Annotated[int, Field(ge=2, le=20)] = 3
    preset: str = "auto"
    classifier: str = "airbench"
    classic: str = "auto"
    precision: str = "auto"
    weights: str | None = None  # for the arms that start from pretrained ones
    skip_bad: bool = False
    drop_small_classes: bool = False
    set: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def check_names(self) -> Self:
        """Names against their registries; the error lists the valid ones."""
        entries = [split_variant(name)[0] for name in self.generator]
        for what, names, valid in (
            ("generator", entries, GENERATORS),
            ("arm", self.arm, ARMS),
            ("preset", [self.preset], PRESETS),
            ("classifier", [self.classifier], CLASSIFIERS),
            ("classic policy", [self.classic], ["auto", *CLASSIC]),
            ("precision", [self.precision], PRECISIONS),
            ("section of set", self.set, ["generator", "classifier", *GENERATORS, *CLASSIFIERS]),
        ):
            for name in names:
                if name not in valid:
                    raise unknown(what, name, valid)
        if self.frac and self.per_class:
            raise UsageError("--frac and --per-class cannot both be given")
        if len(self.seeds) > MOST_SEEDS:
            raise UsageError(f"--seeds asks for {len(self.seeds)} trials: {MOST_SEEDS} at most")
        self._check_use(entries)
        if self.select and not any(ARMS[a].real and ARMS[a].synthetic for a in self.arm):
            raise UsageError("--select: no arm mixes real and synthetic; add real+classic+synth")
        for name in ("dataset", "arm"):
            if not getattr(self, name):
                raise UsageError(f"--{name} is empty: give at least one")
        if not self.generator and any(ARMS[a].synthetic for a in self.arm):
            raise UsageError(f"--generator is empty: name one of {', '.join(GENERATORS)}")
        started = [name for name in self.arm if ARMS[name].pretrained]
        if started and not self.weights:
            raise UsageError(f"--arm {started[0]} needs --weights: a safetensors file or a run")
        if self.weights and not started:
            raise UsageError("--weights is of no use to these arms: add --arm transfer")
        if self.weights == TORCHVISION and self.classifier != "resnet18":
            raise UsageError(f"--weights {TORCHVISION} is for --classifier resnet18: add that")
        return self

    def _check_use(self, entries: list[str]) -> None:
        """The settings of SyntheticUse against their registries, and the generators' own."""
        for name, values in self.use_values().items():
            setting = USE_SETTINGS[name]
            valid = setting.registry() if setting.registry else None
            for value in values if valid is not None else []:
                if value not in valid:
                    raise unknown(name, value, valid)
            if setting.varies and not values and not setting.of_generator:
                raise UsageError(f"--{name} is empty: give at least one")
            in_some = any(name in GENERATORS[g].sampling for g in entries)
            if setting.of_generator and values and not in_some:
                raise UsageError(f"--{name}: {', '.join(self.generator)} has none; leave it out")

    def use_values(self) -> dict[str, Any]:
        """The values given for each setting of SyntheticUse."""
        return {name: getattr(self, name) for name in USE_SETTINGS}

    @model_validator(mode="after")
    def check_overrides(self) -> Self:
        """Each override names a setting that there is, in the right type, used or not."""
        for registry, names in ((GENERATORS, self.generator), (CLASSIFIERS, [self.classifier])):
            for name in registry:
                overrides = self.overrides(name) if name in names else self.set.get(name, {})
                hyperparameters(registry, name, "quick", overrides)
        for name in self.generator:
            hyperparameters(GENERATORS, split_variant(name)[0], "quick", self.overrides(name))
        return self

    def overrides(self, name: str) -> dict[str, Any]:
        """`set` for one generator or classifier: its own section goes over its kind's.

        What a generator's name itself says (`ddpm calls=50`) goes over both.
        """
        name, said = split_variant(name)
        registry: dict[str, Any] = GENERATORS if name in GENERATORS else CLASSIFIERS
        if not hyperparameters(registry, name, "quick", {}):  # a control has nothing to tune
            return self.set.get(name, {}) | said
        kind = "generator" if registry is GENERATORS else "classifier"
        return self.set.get(kind, {}) | self.set.get(name, {}) | said

    def resolved(self, device_type: str) -> Self:
        """With `auto` replaced by what it stands for on this kind of device."""
        preset = self.preset
        if preset == "auto":
            preset = "full" if device_type == "cuda" else "quick"
        return self.model_copy(update={"preset": preset})


def _use_field(setting: Setting) -> tuple[Any, Any]:
    """A setting of SyntheticUse as a field of a pydantic model."""
    panel = {"panel": "comparison"}
    described = Field(setting.default, description=setting.help, json_schema_extra=panel)
    if not setting.varies:
        return setting.each, described
    return Annotated[list[setting.each], BeforeValidator(as_list)], described


Recipe = create_model(
    "Recipe",
    __base__=_RecipeBase,
    __module__=__name__,
    __doc__=_RecipeBase.__doc__,
    **{name: _use_field(setting) for name, setting in USE_SETTINGS.items()},
)


def make_recipe(**settings: Any) -> Recipe:
    """A Recipe from keywords; UsageError in one sentence if one is unknown or out of range."""
    for key in settings:
        if key not in Recipe.model_fields:
            raise unknown("setting", key, Recipe.model_fields)
    try:
        return Recipe(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"] if not isinstance(p, int))
        why = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"--{place.replace('_', '-')} {first.get('input')}: {why}") from None


def read_recipe(path: Path) -> dict[str, Any]:
    """The settings of a TOML recipe, unexpanded; UsageError names file and key."""
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    try:
        make_recipe(**settings)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return settings
