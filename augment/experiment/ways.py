"""The ways to train on a few labelled images that `augment advise` compares. Add one by a line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from augment.errors import UsageError
from augment.experiment.arms import ARMS
from augment.experiment.cells import Cell, expand
from augment.experiment.recipe import Recipe
from augment.experiment.setting_types import SELECT
from augment.experiment.synthetic_use import VARIED
from augment.experiment.validation import make_recipe

REFERENCE = "real+classic"  # the usual way, which every other one is compared with
# arms without a generator; those that need unlabelled images or weights only where there are some
RACED_WAYS = (
    REFERENCE,
    "real",
    "real+randaugment",
    "real+trivialaugment",
    "real+randomerasing",
    "real+mixup",
    "real+cutmix",
    "real+compose",
    "pseudo-label",
    "ssl",
    "transfer",
    "transfer+linear",
)
# generators with their shares of a batch: two controls, then the most promising first
GENERATED_WAYS: dict[str, tuple[float, ...]] = {
    "duplicate": (0.25,),
    "noise": (0.25,),
    "ddpm": (0.25, 0.5),
    "mix": (0.25, 0.5),
    "cvae": (0.25, 0.5),
    "cgan": (0.25, 0.5),
}
CONTROLS = ("duplicate", "noise")
LEAST_TRIALS, GOOD_TRIALS, MOST_TRIALS_MEASURED = 3, 6, 12  # of the measurement after the race


@dataclass(frozen=True)
class Way:
    """One way to train: an arm, with a generator and its share of a batch where it has one."""

    cell: Cell  # of the trial in which the race is run

    @property
    def name(self) -> str:
        """Its name in tables."""
        cell = self.cell
        return f"{cell.arm}: {cell.generator}, {cell.use.share:g}" if cell.generator else cell.arm

    @property
    def generator(self) -> str:
        """Its generator; empty if it has none."""
        return self.cell.generator or ""

    @property
    def control(self) -> bool:
        """Whether it only shows what useless synthetic images do."""
        return self.generator in CONTROLS

    def in_fold(self, fold: int, folds: int) -> Cell:
        """Return its cell that is trained without a fold, counted from 1, and scored on it."""
        return dataclasses.replace(self.cell, fold=(fold, folds))

    def in_trial(self, seed: int) -> Cell:
        """Return its cell that is scored on the test set in a trial."""
        return dataclasses.replace(self.cell, seed=seed)


def free_ways(recipe: Recipe, *, unlabelled: bool) -> list[Way]:
    """List the ways without a generator that suit: `unlabelled` tells of images without a label."""
    arms = [
        name
        for name in RACED_WAYS
        if (unlabelled or not ARMS[name].unlabelled)
        and (recipe.weights or not ARMS[name].pretrained)
    ]
    return _ways(recipe, arm=arms)


def generated_ways(recipe: Recipe, generator: str, arms: list[str]) -> list[Way]:
    """List the ways that add images of a generator to the arms, where an arm can take them.

    The arms are the most promising first; a control is added to that one alone.
    """
    mixed = [f"{name}+synth" for name in arms if f"{name}+synth" in ARMS]
    mixed = mixed[:1] if generator in CONTROLS else mixed
    shares = GENERATED_WAYS.get(generator, GENERATED_WAYS["ddpm"])
    return _ways(recipe, generator=[generator], arm=mixed, share=list(shares))


def _ways(recipe: Recipe, **settings: list[str] | list[float]) -> list[Way]:
    """Expand the recipe with these settings in its first trial."""
    changed = recipe.model_copy(update={**settings, "seeds": recipe.seeds[:1]})
    return [Way(cell) for cell in expand(changed)]


def advice_recipe(**settings: Any) -> Recipe:
    """Make the recipe of an advice: the first of its seeds is for the race, the others to measure.

    UsageError if a setting is unknown, out of range or has several values where one is taken.
    """
    arms = [name for name in RACED_WAYS if settings.get("weights") or not ARMS[name].pretrained]
    usual = {"generator": list(GENERATED_WAYS), "seeds": range(1 + MOST_TRIALS_MEASURED)}
    recipe = make_recipe(**{**usual, **settings, "arm": arms})
    if recipe.classic == SELECT:  # a choice in each fold and trial takes longer than the race
        raise UsageError(
            "--classic select: an advice takes one kind; augment run --arm real+classic "
            "--classic select finds it"
        )
    single = {name: getattr(recipe, name) for name in ("dataset", "per_class", "frac")}
    single |= {name: recipe.use_values()[name] for name in VARIED if name != "share"}
    for name, values in single.items():
        if len(values) > 1:
            raise UsageError(f"--{name.replace('_', '-')}: an advice takes one value of it")
    if len(recipe.seeds) < 1 + LEAST_TRIALS:
        raise UsageError(f"--seeds: an advice takes {1 + LEAST_TRIALS} at least, one for the race")
    return recipe
