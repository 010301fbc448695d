"""Settings of an experiment: validated, expanded to cells, and turned into stage signatures.

A setting that is a list is a dimension of the matrix; `augment run` flags, TOML recipes and
`augment.run(...)` keywords are the same settings. The registries of names import torch, so they are
imported by what checks names: the command line reads the fields without them.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import typing
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from augment.errors import UsageError, unknown
from augment.runtime import PRECISIONS
from augment.setting_types import (
    MOST_SEEDS,
    NAMES,
    Counts,
    Datasets,
    Guidances,
    Many,
    MixedShares,
    Ratios,
    Seeds,
    Shares,
    Side,
    setting,
)

USUAL = ("real", "real+classic", "real+synth", "real+classic+synth", "synth")  # unless asked
PRESETS = ("auto", "smoke", "quick", "full")
SAMPLED = ("guidance", "strength")  # settings of some generators that are flags of their own
MAY_BE_ZERO = ("steps", "epochs", "labels", "hub", "patch")  # of the whole numbers to set
SHARES = (
    "transformed",
    "dropout",
    "label_dropout",
    "strength",
    "vae_share",
    "threshold",
)  # from 0 to 1


class Recipe(BaseModel):
    """All settings that a result depends on. `extra` keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = setting("", "output", "Question that the run is to answer, kept in its recipe.")
    dataset: Datasets = setting(
        ["digits"],
        "data",
        "Data sets, by name or by path of your own images.",
        metavar="NAME|PATH[,…]",
        listed=True,
    )
    frac: Shares = setting([], "data", "Share of the pool that is labelled.")
    per_class: Counts = setting(
        [], "data", "Labelled images per class.", unset="10; of your own images, all"
    )
    size: Side | None = setting(
        None, "data", "Side of the images in pixels.", unset="native up to 64, else 32"
    )
    generator: Many = setting(
        ["ddpm"],
        "generator",
        "Generators to compare; write 'ddpm calls=50' to change settings of one.",
        metavar=NAMES,
        listed=True,
    )
    arm: Many = setting(
        list(USUAL), "comparison", "Kinds of training set to compare.", metavar=NAMES, listed=True
    )
    seeds: Seeds = setting(
        [0, 1, 2],
        "comparison",
        "Trials, paired over all arms: 6 for the first six, 100-105 or 1,4 for these.",
        metavar="N|A-B|A,B…",
    )
    ratio: Ratios = setting([5.0], "comparison", "Synthetic images per labelled image.")
    guidance: Guidances = setting(
        [],
        "generator",
        "Scale of classifier-free guidance; 1 is no guidance.",
        unset="the generator's own",
    )
    share: MixedShares = setting(
        [0.25], "comparison", "Synthetic share of each batch that mixes real and synthetic images."
    )
    mixing: Many = setting(
        ["falling"],
        "comparison",
        "Schedules by which synthetic images enter training.",
        metavar=NAMES,
        listed=True,
    )
    strength: Shares = setting(
        [],
        "generator",
        "Noise level that sampling starts from: 1 is pure noise, less varies a labelled image.",
        unset="the generator's own",
    )
    filter: Many = setting(
        ["none"],
        "comparison",
        "Filters that decide which synthetic images are used.",
        metavar=NAMES,
        listed=True,
    )
    balanced: bool = setting(False, "comparison", "Even out the class sizes with synthetic images.")
    select: bool = setting(
        False,
        "comparison",
        "Choose on validation data among all given uses of synthetic images and none at all.",
    )
    folds: Annotated[int, Field(ge=2, le=20)] = setting(
        3, "comparison", "Folds of the cross-validation of --select."
    )
    preset: str = setting(
        "auto",
        "generator",
        "Length of training: smoke for a test, quick for a CPU, full for a GPU, auto by device.",
        choices=PRESETS,
    )
    classifier: str = setting(
        "airbench", "comparison", "Classifier to train.", metavar="NAME", listed=True
    )
    classic: str = setting(
        "auto",
        "comparison",
        "Classic transforms; auto takes those that suit the data set.",
        metavar="NAME",
        listed=True,
    )
    precision: str = setting(
        "auto", "execution", "Floating-point precision of training.", choices=PRECISIONS
    )
    weights: str | None = setting(
        None,
        "comparison",
        "Pretrained weights that the transfer arms start from.",
        metavar="FILE|RUN|torchvision",
    )
    skip_bad: bool = setting(False, "data", "Leave out unreadable images.")
    drop_small_classes: bool = setting(False, "data", "Leave out classes with too few images.")
    set: dict[str, dict[str, Any]] = setting(
        {},
        "generator",
        "Hyperparameter of a generator or classifier, e.g. generator.lr=1e-3; may be repeated.",
        metavar="SECTION.KEY=VALUE",
    )

    @model_validator(mode="after")
    def check_names(self) -> Recipe:
        """Check names against their registries; the error lists the valid ones."""
        from augment.arms import ARMS
        from augment.classic import CLASSIC
        from augment.classifiers import CLASSIFIERS
        from augment.filters import FILTERS
        from augment.generators import GENERATORS
        from augment.mixing import MIXINGS
        from augment.weights import HUB

        entries = [split_variant(name)[0] for name in self.generator]
        for what, names, valid in (
            ("generator", entries, GENERATORS),
            ("arm", self.arm, ARMS),
            ("mixing", self.mixing, MIXINGS),
            ("filter", self.filter, FILTERS),
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
        for name in SAMPLED:
            if getattr(self, name) and not any(name in GENERATORS[g].sampling for g in entries):
                raise UsageError(f"--{name}: {', '.join(self.generator)} has none; leave it out")
        if self.select and not any(ARMS[a].real and ARMS[a].synthetic for a in self.arm):
            raise UsageError("--select: no arm mixes real and synthetic; add real+classic+synth")
        for name in ("dataset", "arm", "ratio", "share", "mixing", "filter"):
            if not getattr(self, name):
                raise UsageError(f"--{name} is empty: give at least one")
        if not self.generator and any(ARMS[a].synthetic for a in self.arm):
            raise UsageError(f"--generator is empty: name one of {', '.join(GENERATORS)}")
        started = [name for name in self.arm if ARMS[name].pretrained]
        if started and not self.weights:
            raise UsageError(f"--arm {started[0]} needs --weights: a safetensors file or a run")
        if self.weights and not started:
            raise UsageError("--weights is of no use to these arms: add --arm transfer")
        if self.weights == HUB and self.classifier != "resnet18":
            raise UsageError(f"--weights {HUB} is for --classifier resnet18: add that")
        return self

    @model_validator(mode="after")
    def check_overrides(self) -> Recipe:
        """Check that each override, used or not, names a hyperparameter and has its type."""
        from augment.classifiers import CLASSIFIERS
        from augment.generators import GENERATORS

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
        from augment.classifiers import CLASSIFIERS
        from augment.generators import GENERATORS

        name, said = split_variant(name)
        registry: dict[str, Any] = GENERATORS if name in GENERATORS else CLASSIFIERS
        if not hyperparameters(registry, name, "quick", {}):  # a control has nothing to tune
            return self.set.get(name, {}) | said
        kind = "generator" if registry is GENERATORS else "classifier"
        return self.set.get(kind, {}) | self.set.get(name, {}) | said

    def resolved(self, device_type: str) -> Recipe:
        """With `auto` replaced by what it stands for on this kind of device."""
        preset = self.preset
        if preset == "auto":
            preset = "full" if device_type == "cuda" else "quick"
        return self.model_copy(update={"preset": preset})


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


def parse_set(items: list[str]) -> dict[str, dict[str, Any]]:
    """`--set generator.lr=1e-3` → {"generator": {"lr": 0.001}}; values as in TOML, else text."""
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
    """`"ddpm calls=50"` → ("ddpm", {"calls": 50}): one registered name, run with other settings."""
    entry, *words = name.split()
    for word in words:
        if not all(word.partition("=")):
            raise UsageError(f"--generator '{name}': write NAME KEY=VALUE, e.g. 'ddpm calls=50'")
    return entry, parse_set([f"{entry}.{word}" for word in words]).get(entry, {})


def check_range(what: str, value: Any, least: int) -> None:
    """Floats are finite and not negative, whole numbers at least `least`."""
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, float) and not 0 <= number < math.inf:
            raise UsageError(f"{what} = {number} is not a finite number from 0 up")
        if isinstance(number, int) and not isinstance(number, bool) and number < least:
            raise UsageError(f"{what} = {number}: the least is {least}")


def hyperparameters(
    registry: dict[str, Any], name: str, preset: str, overrides: dict[str, Any]
) -> dict[str, Any]:
    """Every hyperparameter of an entry: its defaults, the preset's line, then the overrides."""
    entry = registry[name]
    types = typing.get_type_hints(entry)
    settings = {f.name: f.default for f in dataclasses.fields(entry) if f.init}
    settings |= entry.presets[preset]
    for key, value in overrides.items():
        if key not in settings:
            raise unknown(f"setting of {name}", key, settings)
        try:
            settings[key] = TypeAdapter(types[key]).validate_python(value)
        except ValidationError as error:
            raise UsageError(f"{name}.{key} = {value!r}: {error.errors()[0]['msg']}") from None
        if isinstance(value, bool) and types[key] is not bool:
            raise UsageError(f"{name}.{key} = {value!r}: true or false is no value here")
        check_range(f"{name}.{key}", settings[key], least=0 if key in MAY_BE_ZERO else 1)
        if key in SHARES and settings[key] > 1:
            raise UsageError(f"{name}.{key} = {value!r}: write a share from 0 to 1")
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}
