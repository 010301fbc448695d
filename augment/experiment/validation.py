"""Recipes from keywords and TOML files: names are checked against their registries.

All errors are UsageError, in one sentence that names the flag or the file.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from augment.classifiers import CLASSIFIERS
from augment.classifiers.pretrained import TORCHVISION
from augment.data.layouts.reading_flags import GROUP_BY, PAGES
from augment.data.pictures.framing import FITS
from augment.detectors import DETECTORS
from augment.errors import UsageError, unknown
from augment.experiment.arms import ARMS
from augment.experiment.hyperparameters import hyperparameters, split_variant
from augment.experiment.learners import SECTIONS, section_of
from augment.experiment.mixing import FALLING, NORMED_APART
from augment.experiment.recipe import BOXED_ARMS, DETECT, TASK_NAMES, Recipe
from augment.experiment.setting_types import AUTO, MOST_SEEDS, PRECISIONS, PRESETS, SELECT, SUBSETS
from augment.experiment.synthetic_use import USE_SETTINGS, SyntheticUse
from augment.generators import GENERATORS
from augment.training.training_set import LEAST_APART
from augment.transforms.geometric import CLASSIC


def make_recipe(**settings: Any) -> Recipe:
    """Make a Recipe from keywords; UsageError if one is unknown or out of range."""
    for key in settings:
        if key not in Recipe.model_fields:
            raise unknown("setting", key, Recipe.model_fields)
    try:
        recipe = Recipe(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(p) for p in first["loc"] if not isinstance(p, int))
        why = first["msg"].removeprefix("Value error, ")
        value = first.get("input")
        shown = "''" if value == "" else value
        raise UsageError(f"--{key.replace('_', '-')} {shown}: {why}") from None
    check_recipe(recipe)
    return recipe


def read_recipe(path: Path) -> dict[str, Any]:
    """Read the settings of a TOML recipe, unexpanded; UsageError names file and key."""
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


def check_recipe(recipe: Recipe) -> None:
    """Raise UsageError, in one sentence, for the first setting that cannot be used."""
    _check_names(recipe)
    _check_use(recipe)
    _check_together(recipe)
    _check_overrides(recipe)


def _entries(recipe: Recipe) -> list[str]:
    """List the registered names of the generators."""
    return [split_variant(name)[0] for name in recipe.generator]


def _check_names(recipe: Recipe) -> None:
    """Check names against their registries; the error lists the valid ones."""
    grouping = [recipe.group_by] if recipe.group_by else []
    for what, names, valid in (
        ("--group-by", grouping, GROUP_BY),
        ("--subsets", [recipe.subsets] if recipe.subsets else [], SUBSETS),
        ("--fit", [recipe.fit] if recipe.fit else [], FITS),
        ("--pages", [recipe.pages] if recipe.pages else [], PAGES),
        ("generator", _entries(recipe), GENERATORS),
        ("arm", recipe.arm, ARMS),
        ("preset", [recipe.preset], PRESETS),
        ("--task", [recipe.task] if recipe.task else [], TASK_NAMES),
        ("classifier", [recipe.classifier], CLASSIFIERS),
        ("detector", [recipe.detector] if recipe.detector else [], DETECTORS),
        ("classic policy", [recipe.classic], [AUTO, SELECT, *CLASSIC]),
        ("precision", [recipe.precision], PRECISIONS),
        ("section of set", recipe.set, [*SECTIONS, *itertools.chain(*SECTIONS.values())]),
    ):
        for name in names:
            if name not in valid:
                raise unknown(what, name, _usable(recipe) if what == "arm" else valid)


def _usable(recipe: Recipe) -> Collection[str]:
    """Return the arms that a recipe's task can have; which it has may not be known yet."""
    return {DETECT: BOXED_ARMS}.get(str(recipe.task), ARMS)


def _check_use(recipe: Recipe) -> None:
    """Check the settings of SyntheticUse against their registries and the generators."""
    for name, values in recipe.use_values().items():
        use = USE_SETTINGS[name]
        if use.registry:
            for value in values:
                if value not in use.registry():
                    raise unknown(name, value, use.registry())
        if use.varies and not values and use.recipe_field.default:
            raise UsageError(f"--{name} is empty: give at least one")
        in_some = any(name in GENERATORS[entry].sampling for entry in _entries(recipe))
        if use.of_generator and values and not in_some:
            raise UsageError(f"--{name}: {', '.join(recipe.generator)} has none; leave it out")


def _check_together(recipe: Recipe) -> None:
    """Check for settings that exclude or require each other."""
    if recipe.frac and recipe.per_class:
        raise UsageError("--frac and --per-class cannot both be given")
    if len(recipe.seeds) > MOST_SEEDS:
        raise UsageError(f"--seeds asks for {len(recipe.seeds)} trials: {MOST_SEEDS} at most")
    if recipe.select and not any(ARMS[a].real and ARMS[a].synthetic for a in recipe.arm):
        raise UsageError("--select: no arm mixes real and synthetic; add real+classic+synth")
    for name in ("dataset", "arm"):
        if not getattr(recipe, name):
            raise UsageError(f"--{name} is empty: give at least one")
    if not recipe.generator and any(ARMS[a].synthetic for a in recipe.arm):
        raise UsageError(f"--generator is empty: name one of {', '.join(GENERATORS)}")
    pretrained = [name for name in recipe.arm if ARMS[name].pretrained]
    if pretrained and not recipe.weights:
        raise UsageError(f"--arm {pretrained[0]} needs --weights: a safetensors file or a run")
    if recipe.weights and not pretrained:
        raise UsageError("--weights is of no use to these arms: add --arm transfer")
    if recipe.weights == TORCHVISION and recipe.classifier != "resnet18":
        raise UsageError(f"--weights {TORCHVISION} is for --classifier resnet18: add that")


def _check_overrides(recipe: Recipe) -> None:
    """Check that each override, used or not, names a hyperparameter and has its type."""
    used = {*recipe.generator, recipe.classifier, recipe.detector}
    for registry in SECTIONS.values():
        for name in registry:
            given = overrides(recipe, name) if name in used else recipe.set.get(name, {})
            hyperparameters(registry, name, "quick", given)
    for name in recipe.generator:
        hyperparameters(GENERATORS, split_variant(name)[0], "quick", overrides(recipe, name))


def overrides(recipe: Recipe, name: str) -> dict[str, Any]:
    """Return the overrides of an entry: the section of its name overrides that of its kind.

    Settings in a generator's name (`ddpm calls=50`) override both.
    """
    name, variant = split_variant(name)
    kind = section_of(name)
    if not hyperparameters(SECTIONS[kind], name, "quick", {}):  # a control has nothing to tune
        return recipe.set.get(name, {}) | variant
    return recipe.set.get(kind, {}) | recipe.set.get(name, {}) | variant


def check_batches(uses: list[SyntheticUse], batch: int) -> None:
    """Raise UsageError if a batch would hold no image of a kind, or one alone for batch norm."""
    for use in uses:
        if use.share is None:
            continue
        times = FALLING.get(use.mixing or "", 1)
        least = 0.5 / times
        if not least < use.share * batch < batch - least:
            kind = "synthetic" if use.share < 0.5 else "labelled"
            raise UsageError(
                f"--share {use.share:g} leaves no {kind} image in a batch of {batch}: give one "
                "nearer to 0.5"
            )
        synthetic = round(min(1.0, times * use.share) * batch)
        most = batch if use.mixing in FALLING else batch - LEAST_APART
        few = not LEAST_APART <= synthetic <= most or batch < 2 * LEAST_APART
        if use.mixing in NORMED_APART and few:
            raise UsageError(
                f"--mixing {use.mixing} takes {LEAST_APART} images of each kind in a batch at "
                f"least: of {batch} --share {use.share:g} makes {synthetic} synthetic; give one "
                "nearer to 0.5, or a larger --set classifier.batch"
            )
