"""Cell: one row of the table; `expand` lists the cells of a recipe."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from augment.classifiers import CLASSIFIERS
from augment.data.datasets import DATASETS
from augment.data.images import pixel_hashes
from augment.data.reading_flags import ReadingFlags
from augment.data.split import Dataset
from augment.data.subset import disjoint_subset, labelled_subset, linked_units
from augment.errors import UsageError
from augment.experiment.arms import ARMS, DECISIVE
from augment.experiment.hyperparameters import hyperparameters, split_variant
from augment.experiment.mixing import FALLING, NORMED_APART
from augment.experiment.recipe import Recipe
from augment.experiment.synthetic_use import SyntheticUse, combinations
from augment.experiment.validation import overrides
from augment.generators import GENERATORS
from augment.training.training_set import LEAST_APART

FIRST_CLASSES = 10  # labelled images per class by default, of a data set known by name
WHOLE = "all of the pool"  # the amount at which all trials have the same labelled images
DISJOINT = ", disjoint"  # behind the amount where no two trials share a labelled image


@dataclass(frozen=True, repr=False)
class Cell:
    """One row of the table: trial × generator × arm × settings."""

    dataset: str
    size: int | None
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
    folds: int = 0  # of the cross-validation of --select
    skip_bad: bool = False
    drop_small_classes: bool = False
    weights: str | None = None  # None in arms that start from scratch
    reading: ReadingFlags = field(default_factory=ReadingFlags)
    subset: int | None = None  # number of the disjoint subset; None: drawn by the seed
    # number from 1, and count: this fold of the labelled images takes the place of the test set
    fold: tuple[int, int] | None = None

    def __repr__(self) -> str:
        """Format all fields in order, those of `use` inline: selections are signed by this text."""
        return f"Cell({', '.join(f'{k}={v!r}' for k, v in self.flat().items())})"

    def flat(self) -> dict[str, Any]:
        """Return all fields by name, those of `use` in place of it.

        `reading`, `subset` and `fold` only where they say something: what was signed before stays
        the same.
        """
        fields: dict[str, Any] = {}
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if each.name == "reading":
                fields |= {"reading": value.record()} if value else {}
            elif each.name not in ("subset", "fold") or value is not None:
                fields |= vars(value) if each.name == "use" else {each.name: value}
        return fields

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

    def labelled_indices(self, data: Dataset) -> Tensor:
        """Draw the labelled subset of the trial: [N] indices into the pool."""
        amount = {"frac": self.frac, "per_class": self.per_class}
        if self.subset is None:
            return labelled_subset(data.pool, **amount, seed=self.seed)
        units = linked_units(data.pool_groups or None, pixel_hashes(data.pool.images))
        return disjoint_subset(data.pool, units, **amount, number=self.subset)


def expand(recipe: Recipe) -> list[Cell]:
    """List the cells of a resolved recipe, each once: arms without a generator do not repeat."""
    if recipe.preset == "auto":
        raise ValueError("resolve the recipe first")
    classifier = hyperparameters(
        CLASSIFIERS, recipe.classifier, recipe.preset, overrides(recipe, recipe.classifier)
    )
    uses = [use for use, _ in combinations(recipe.use_values(), {}, mixes=True)]
    _check_batches(uses, classifier["batch"])
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
            seed=seed,
            preset=recipe.preset,
            classic=recipe.classic,
            classifier=recipe.classifier,
            classifier_settings=classifier,
            skip_bad=recipe.skip_bad,
            drop_small_classes=recipe.drop_small_classes,
            reading=recipe.reading(),
            # by place, not by seed: fresh trials 100 to 105 take the first six
            subset=recipe.seeds.index(seed) if recipe.subsets == "disjoint" else None,
        )
        common["frac"], common["per_class"] = frac, per_class
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


def _check_batches(uses: list[SyntheticUse], batch: int) -> None:
    """Raise UsageError if a batch would hold no image of a kind, or one alone for batch norm."""
    for use in uses:
        if use.share is None:
            continue
        least = 0.25 if use.mixing in FALLING else 0.5
        if not least < use.share * batch < batch - least:
            kind = "synthetic" if use.share < 0.5 else "labelled"
            raise UsageError(
                f"--share {use.share:g} leaves no {kind} image in a batch of {batch}: give one "
                "nearer to 0.5"
            )
        first = min(1.0, 2 * use.share) if use.mixing in FALLING else use.share
        synthetic = round(first * batch)
        most = batch if use.mixing in FALLING else batch - LEAST_APART
        few = not LEAST_APART <= synthetic <= most or batch < 2 * LEAST_APART
        if use.mixing in NORMED_APART and few:
            raise UsageError(
                f"--mixing {use.mixing} takes {LEAST_APART} images of each kind in a batch at "
                f"least: of {batch} --share {use.share:g} makes {synthetic} synthetic; give one "
                "nearer to 0.5, or a larger --set classifier.batch"
            )


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
        if not recipe.select:
            cells += variants
        elif ARMS[arm].real:
            cells.append(_selecting_cell(variants, recipe.folds))
        else:  # without real images a share of 0 leaves nothing to learn from
            cells.append(variants[0])
    return cells


def _selecting_cell(candidates: list[Cell], folds: int) -> Cell:
    """Make the cell that selects among the candidates on validation data."""
    first = candidates[0]
    return dataclasses.replace(
        first, use=first.use.undecided(), candidates=tuple(candidates), folds=folds
    )
