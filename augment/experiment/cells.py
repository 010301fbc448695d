"""Cell: one row of the table; `expand` lists the cells of a recipe."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from augment.data.boxes.stratify import boxed_subset, disjoint_boxed_subset
from augment.data.datasets import DATASETS
from augment.data.images import pixel_hashes
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.split import Dataset
from augment.data.subset import disjoint_subset, labelled_subset, linked_units
from augment.experiment.arms import ARMS, DECISIVE
from augment.experiment.hyperparameters import hyperparameters, split_variant
from augment.experiment.learners import LEARNERS, learner_of
from augment.experiment.recipe import CLASSIFY, DETECT, Recipe
from augment.experiment.setting_types import SELECT
from augment.experiment.synthetic_use import SyntheticUse, combinations
from augment.experiment.validation import check_batches, overrides
from augment.generators import GENERATORS

FIRST_CLASSES = 10  # labelled images per class by default, of a data set known by name
WHOLE = "all of the pool"  # the amount at which all trials have the same labelled images
# how the labelled images of a trial are drawn: nested, and disjoint
_SUBSETS: dict[str, tuple[Any, Any]] = {
    CLASSIFY: (labelled_subset, disjoint_subset),
    DETECT: (boxed_subset, disjoint_boxed_subset),
}
DISJOINT = ", disjoint"  # behind the amount where no two trials share a labelled image


@dataclass(frozen=True, repr=False)
class Cell:
    """One row of the table: trial × generator × arm × settings."""

    dataset: str
    size: int | str | None
    frac: float | None
    per_class: int | None
    seed: int
    arm: str
    classic: str
    preset: str
    classifier: str
    classifier_settings: dict[str, Any]
    generator: str | None = None  # None in arms without synthetic images
    generator_settings: dict[str, Any] = field(default_factory=dict)
    use: SyntheticUse = field(default_factory=SyntheticUse)
    candidates: tuple[Cell, ...] = ()  # of --select, compared on validation data
    folds: int = 0  # of the cross-validation of --select and --classic select
    skip_bad: bool = False
    drop_small_classes: bool = False
    weights: str | None = None  # None in arms that start from scratch
    reading: ReadingFlags = field(default_factory=ReadingFlags)
    subset: int | None = None  # number of the disjoint subset; None: drawn by the seed
    # number from 1, and count: this fold of the labelled images takes the place of the test set
    fold: tuple[int, int] | None = None
    fit: str | None = None  # of pictures of another shape than the set; None: the usual one
    task: str = CLASSIFY
    # classifier that checks generated images of one object, where another learner is scored
    judge: str = ""
    judge_settings: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Format all fields in order, those of `use` inline: selections are signed by this text."""
        return f"Cell({', '.join(f'{k}={v!r}' for k, v in self.flat().items())})"

    def flat(self) -> dict[str, Any]:
        """Return all fields by name, those of `use` in place of it.

        `reading`, `subset`, `fold`, `fit`, `task` and `placing` only where they say something:
        what was signed before stays the same.
        """
        fields: dict[str, Any] = {}
        silent = {"task": CLASSIFY, **dict.fromkeys(("subset", "fold", "fit", "placing"))}
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if each.name.startswith("judge"):  # signed by what it makes
                continue
            if each.name == "reading":
                fields |= {"reading": value.record()} if value else {}
            else:
                fields |= vars(value) if each.name == "use" else {each.name: value}
        return {k: v for k, v in fields.items() if k not in silent or v != silent[k]}

    def record(self) -> dict[str, Any]:
        """Return `flat` for a JSON file, candidates included."""
        return self.flat() | {"candidates": [c.record() for c in self.candidates]}

    @property
    def amount(self) -> str:
        """Requested number or share of labelled images, in words."""
        disjoint = "" if self.subset is None else DISJOINT
        if self.per_class:
            return f"{self.per_class} a class{disjoint}"
        return (WHOLE if self.frac == 1 else f"{self.frac:.12g} of the pool") + disjoint

    @property
    def trial(self) -> str:
        """Data set, amount and seed, which paired arms share, in words."""
        fold = f", fold {self.fold[0]} of {self.fold[1]}" if self.fold else ""
        return f"{self.dataset}, {self.amount}, seed {self.seed}{fold}"

    @property
    def name(self) -> str:
        """Name of the cell in progress lines."""
        return f"{self.trial}: {self.arm}" + (f" ({self.generator})" if self.generator else "")

    @property
    def entry(self) -> str:
        """Registered name of the generator: `generator` may append settings to it."""
        return split_variant(str(self.generator))[0]

    @property
    def training_settings(self) -> dict[str, Any]:
        """Settings of the generator except those of sampling."""
        return {k: v for k, v in self.generator_settings.items() if k not in self.sampling_settings}

    @property
    def sampling_settings(self) -> dict[str, Any]:
        """Settings of the generator that affect sampling only."""
        return {k: self.generator_settings[k] for k in GENERATORS[self.entry].sampling}

    @property
    def baseline(self) -> Cell:
        """Cell of the same trial that the decisive arm is compared with."""
        return dataclasses.replace(
            self,
            arm=str(ARMS[DECISIVE].against),
            generator=None,
            generator_settings={},
            use=SyntheticUse(),
            candidates=(),
            folds=0,
            weights=None,
        )

    def labelled_indices(self, data: Dataset[Any]) -> Tensor:
        """Draw the labelled subset of the trial: [N] indices into the pool."""
        amount = {"frac": self.frac, "per_class": self.per_class}
        nested, disjoint = _SUBSETS[self.task]
        if self.subset is None:
            return nested(data.pool, **amount, seed=self.seed)
        units = linked_units(data.pool_groups or None, pixel_hashes(data.pool.images))
        return disjoint(data.pool, units, **amount, number=self.subset)


def expand(recipe: Recipe) -> list[Cell]:
    """List the cells of a resolved recipe, each once: arms without a generator do not repeat."""
    if recipe.preset == "auto":
        raise ValueError("resolve the recipe first")
    task, name = recipe.task or CLASSIFY, learner_of(recipe)
    learner = settings_of(recipe, task, name)
    uses = [use for use, _ in combinations(recipe.use_values(), {}, mixes=True)]
    check_batches(uses, learner["batch"])
    settings = {
        name: hyperparameters(
            GENERATORS, split_variant(name)[0], recipe.preset, overrides(recipe, name)
        )
        for name in recipe.generator
    }
    cells: dict[str, Cell] = {}
    for dataset, (frac, per_class), seed in itertools.product(
        recipe.dataset, _amounts(recipe), recipe.seeds
    ):
        common: dict[str, Any] = dict(
            dataset=dataset,
            size=recipe.size,
            fit=recipe.fit,
            seed=seed,
            preset=recipe.preset,
            classic=recipe.classic,
            classifier=name,
            classifier_settings=learner,
            skip_bad=recipe.skip_bad,
            drop_small_classes=recipe.drop_small_classes,
            reading=recipe.reading(),
            # by place, not by seed: fresh trials 100 to 105 take the first six
            subset=recipe.seeds.index(seed) if recipe.subsets == "disjoint" else None,
            task=task,
            judge=recipe.classifier,
            judge_settings=settings_of(recipe, CLASSIFY, recipe.classifier),
        )
        common["frac"], common["per_class"] = frac, per_class
        common |= {"folds": recipe.folds} if recipe.classic == SELECT else {}
        if (frac, per_class) == (
            None,
            None,
        ):  # default: all of the user's images, few of a known data set
            known = dataset in DATASETS
            common["frac"], common["per_class"] = (None, FIRST_CLASSES) if known else (1.0, None)
        for arm in recipe.arm:
            for cell in _arm_cells(recipe, settings, arm, common):
                cells.setdefault(repr(cell), cell)
    return list(cells.values())


def settings_of(recipe: Recipe, task: str, name: str) -> dict[str, Any]:
    """Resolve the hyperparameters of a learner of a task."""
    return hyperparameters(LEARNERS[task], name, recipe.preset, overrides(recipe, name))


def _amounts(recipe: Recipe) -> list[tuple[float | None, int | None]]:
    """List the amounts of labelled images as (frac, per_class), one of them None."""
    given: list[tuple[float | None, int | None]] = [(f, None) for f in recipe.frac]
    given += [(None, n) for n in recipe.per_class]
    return given or [(None, None)]


Settings = dict[str, dict[str, Any]]  # of each generator


def _arm_cells(recipe: Recipe, settings: Settings, arm: str, common: dict[str, Any]) -> list[Cell]:
    """List the cells of an arm in a trial; with `select`, one per generator with candidates."""
    common = common | {"weights": recipe.weights if ARMS[arm].pretrained else None}
    if not ARMS[arm].synthetic:
        return [Cell(arm=arm, **common)]
    cells = []
    for name in recipe.generator:
        variants = [
            Cell(arm=arm, generator=name, generator_settings=generator_settings, use=use, **common)
            for use, generator_settings in combinations(
                recipe.use_values(), settings[name], mixes=ARMS[arm].real
            )
        ]
        if ARMS[arm].pasted:
            variants = [
                dataclasses.replace(cell, use=cell.use.without_schedule()) for cell in variants
            ]
        if not recipe.select:
            cells += variants
        elif ARMS[arm].real:
            cells.append(_selecting_cell(variants, recipe.folds))
        else:  # without real images a share of 0 leaves nothing to learn from
            cells.append(variants[0])
    return cells


def _selecting_cell(candidates: list[Cell], folds: int) -> Cell:
    """Make the cell that selects among the candidates on validation data."""
    use = candidates[0].use.undecided()
    # an arm may not use all that they differ in
    distinct = tuple({repr(each): each for each in candidates}.values())
    return dataclasses.replace(candidates[0], use=use, candidates=distinct, folds=folds)
