"""Settings of an experiment: validated here, expanded to cells in `cells.py`.

A setting that is a list is a dimension of the matrix; `augment run` flags, TOML recipes and
`augment.run(...)` keywords are the same settings. The registries of names import torch, so they are
imported by what checks names: the command line reads the fields without them.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from augment.errors import UsageError, unknown
from augment.experiment.hyperparameters import hyperparameters, split_variant
from augment.experiment.setting_types import (
    MOST_SEEDS,
    NAMES,
    Counts,
    Datasets,
    Many,
    Seeds,
    Shares,
    Side,
    setting,
)
from augment.experiment.synthetic_use import USE_SETTINGS

USUAL_ARMS = ("real", "real+classic", "real+synth", "real+classic+synth", "synth")  # unless asked
PRESETS = ("auto", "smoke", "quick", "full")
PRECISIONS = ("auto", "fp32", "bf16")


class RecipeBase(BaseModel):
    """The settings that are not of SyntheticUse, and the checks of all of them."""

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
        list(USUAL_ARMS),
        "comparison",
        "Kinds of training set to compare.",
        metavar=NAMES,
        listed=True,
    )
    seeds: Seeds = setting(
        [0, 1, 2],
        "comparison",
        "Trials, paired over all arms: 6 for the first six, 100-105 or 1,4 for these.",
        metavar="N|A-B|A,B…",
    )
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
    def check_names(self) -> Self:
        """Check names against their registries; the error lists the valid ones."""
        from augment.classifiers.models import CLASSIFIERS
        from augment.experiment.arms import ARMS
        from augment.generators import GENERATORS
        from augment.transforms.geometric import CLASSIC

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
        return self

    @model_validator(mode="after")
    def check_use(self) -> Self:
        """Check the settings of SyntheticUse against their registries, and the generators' own."""
        from augment.generators import GENERATORS

        entries = [split_variant(name)[0] for name in self.generator]
        for name, values in self.use_values().items():
            use = USE_SETTINGS[name]
            valid = use.registry() if use.registry else None
            for value in values if valid is not None else []:
                if value not in valid:
                    raise unknown(name, value, valid)
            if use.varies and not values and not use.of_generator:
                raise UsageError(f"--{name} is empty: give at least one")
            in_some = any(name in GENERATORS[entry].sampling for entry in entries)
            if use.of_generator and values and not in_some:
                raise UsageError(f"--{name}: {', '.join(self.generator)} has none; leave it out")
        return self

    @model_validator(mode="after")
    def check_together(self) -> Self:
        """Check settings that must go together, or cannot."""
        from augment.classifiers.pretrained import HUB
        from augment.experiment.arms import ARMS
        from augment.generators import GENERATORS

        if self.frac and self.per_class:
            raise UsageError("--frac and --per-class cannot both be given")
        if len(self.seeds) > MOST_SEEDS:
            raise UsageError(f"--seeds asks for {len(self.seeds)} trials: {MOST_SEEDS} at most")
        if self.select and not any(ARMS[a].real and ARMS[a].synthetic for a in self.arm):
            raise UsageError("--select: no arm mixes real and synthetic; add real+classic+synth")
        for name in ("dataset", "arm"):
            if not getattr(self, name):
                raise UsageError(f"--{name} is empty: give at least one")
        if not self.generator and any(ARMS[a].synthetic for a in self.arm):
            raise UsageError(f"--generator is empty: name one of {', '.join(GENERATORS)}")
        pretrained = [name for name in self.arm if ARMS[name].pretrained]
        if pretrained and not self.weights:
            raise UsageError(f"--arm {pretrained[0]} needs --weights: a safetensors file or a run")
        if self.weights and not pretrained:
            raise UsageError("--weights is of no use to these arms: add --arm transfer")
        if self.weights == HUB and self.classifier != "resnet18":
            raise UsageError(f"--weights {HUB} is for --classifier resnet18: add that")
        return self

    @model_validator(mode="after")
    def check_overrides(self) -> Self:
        """Check that each override, used or not, names a hyperparameter and has its type."""
        from augment.classifiers.models import CLASSIFIERS
        from augment.generators import GENERATORS

        for registry, names in ((GENERATORS, self.generator), (CLASSIFIERS, [self.classifier])):
            for name in registry:
                overrides = self.overrides(name) if name in names else self.set.get(name, {})
                hyperparameters(registry, name, "quick", overrides)
        for name in self.generator:
            hyperparameters(GENERATORS, split_variant(name)[0], "quick", self.overrides(name))
        return self

    def use_values(self) -> dict[str, Any]:
        """The values given for each setting of SyntheticUse."""
        return {name: getattr(self, name) for name in USE_SETTINGS}

    def overrides(self, name: str) -> dict[str, Any]:
        """`set` for one generator or classifier: its own section goes over its kind's.

        What a generator's name itself says (`ddpm calls=50`) goes over both.
        """
        from augment.classifiers.models import CLASSIFIERS
        from augment.generators import GENERATORS

        name, own = split_variant(name)
        registry: dict[str, Any] = GENERATORS if name in GENERATORS else CLASSIFIERS
        if not hyperparameters(registry, name, "quick", {}):  # a control has nothing to tune
            return self.set.get(name, {}) | own
        kind = "generator" if registry is GENERATORS else "classifier"
        return self.set.get(kind, {}) | self.set.get(name, {}) | own

    def resolved(self, device_type: str) -> Self:
        """The same with `auto` replaced by what it stands for on this kind of device."""
        preset = self.preset
        if preset == "auto":
            preset = "full" if device_type == "cuda" else "quick"
        return self.model_copy(update={"preset": preset})


if TYPE_CHECKING:

    class Recipe(RecipeBase):
        """All settings that a result depends on; those of SyntheticUse by `use_values`."""

else:
    Recipe = create_model(
        "Recipe",
        __base__=RecipeBase,
        __module__=__name__,
        __doc__="All settings that a result depends on. Unknown keys are errors.",
        **{name: (use.values, use.recipe_field) for name, use in USE_SETTINGS.items()},
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
        key = ".".join(str(p) for p in first["loc"] if not isinstance(p, int))
        why = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"--{key.replace('_', '-')} {first.get('input')}: {why}") from None


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
