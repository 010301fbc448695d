"""The cells of a recipe."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from augment.classifiers import CLASSIFIERS
from augment.data.datasets import DATASETS
from augment.data.images import LabelledImages
from augment.data.subset import labelled_subset
from augment.errors import UsageError
from augment.experiment.arms import ARMS, DECISIVE
from augment.experiment.hyperparameters import hyperparameters, split_variant
from augment.experiment.recipe import Recipe
from augment.experiment.synthetic_use import SyntheticUse, combinations
from augment.experiment.validation import overrides
from augment.generators import GENERATORS

FIRST_CLASSES = 10  # labelled images a class when nothing is asked of a data set known by name


WHOLE = "all of the pool"  # the amount of labelled images in which trials do not differ


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
    candidates: tuple[Cell, ...] = ()  # what --select chooses among, on validation
    folds: int = 0  # of that validation
    skip_bad: bool = False
    drop_small_classes: bool = False
    weights: str | None = None  # None in arms that start from scratch

    def __repr__(self) -> str:
        """All fields in order, those of `use` among them: selections are signed by this text."""
        return f"Cell({', '.join(f'{k}={v!r}' for k, v in self.flat().items())})"

    def flat(self) -> dict[str, Any]:
        """All fields by name, those of `use` in its place."""
        fields: dict[str, Any] = {}
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            fields |= vars(value) if each.name == "use" else {each.name: value}
        return fields

    def record(self) -> dict[str, Any]:
        """The same for a JSON file."""
        return self.flat() | {"candidates": [c.record() for c in self.candidates]}

    @property
    def amount(self) -> str:
        """How much was asked to be labelled."""
        if self.per_class:
            return f"{self.per_class} a class"
        return WHOLE if self.frac == 1 else f"{self.frac:.12g} of the pool"

    @property
    def trial(self) -> str:
        """What all arms of a pair share."""
        return f"{self.dataset}, {self.amount}, seed {self.seed}"

    @property
    def name(self) -> str:
        """For progress lines."""
        return f"{self.trial}: {self.arm}" + (f" ({self.generator})" if self.generator else "")

    @property
    def entry(self) -> str:
        """Its generator's name in the registry: `generator` may name settings after it."""
        return split_variant(str(self.generator))[0]

    @property
    def training_settings(self) -> dict[str, Any]:
        """Its generator's settings without those that matter in sampling alone."""
        return {k: v for k, v in self.generator_settings.items() if k not in self.sampling_settings}

    @property
    def sampling_settings(self) -> dict[str, Any]:
        """Its generator's settings that matter in sampling alone."""
        return {k: self.generator_settings[k] for k in GENERATORS[self.entry].sampling}

    @property
    def baseline(self) -> Cell:
        """The cell of the same trial that the decisive arm is measured against."""
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

    def labelled_indices(self, pool: LabelledImages) -> Tensor:
        """Indices of the images of the pool that its trial may learn from."""
        return labelled_subset(pool, frac=self.frac, per_class=self.per_class, seed=self.seed)


def expand(recipe: Recipe) -> list[Cell]:
    """The cells of a resolved recipe, each once: arms without a generator are not repeated."""
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
        recipe.dataset, amounts(recipe), recipe.seeds
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
        )
        common["frac"], common["per_class"] = frac, per_class
        if (frac, per_class) == (None, None):  # of one's own all, of a known one few
            known = dataset in DATASETS
            common["frac"], common["per_class"] = (None, FIRST_CLASSES) if known else (1.0, None)
        for arm in recipe.arm:
            for cell in arm_cells(recipe, settings, arm, common):
                cells.setdefault(repr(cell), cell)
    return list(cells.values())


def _check_batches(uses: list[SyntheticUse], batch: int) -> None:
    """UsageError if a kind of image would not come in, or be normalised by a single one of it."""
    for use in uses:
        if use.share is None:
            continue
        least = 0.25 if use.mixing == "falling" else 0.5  # that begins with twice as many
        if not least < use.share * batch < batch - least:
            kind = "synthetic" if use.share < 0.5 else "labelled"
            raise UsageError(
                f"--share {use.share:g} leaves no {kind} image in a batch of {batch}: give one "
                "nearer to 0.5"
            )
        labelled = round((1 - use.share) * batch)
        if use.mixing == "own-norm" and not 2 <= labelled <= batch - 2:
            raise UsageError(
                f"--mixing own-norm takes two images of each kind in a batch at least: of {batch} "
                f"--share {use.share:g} makes {batch - labelled} synthetic; give one nearer to "
                "0.5, or a larger --set classifier.batch"
            )


def amounts(recipe: Recipe) -> list[tuple[float | None, int | None]]:
    """How much is labelled: pairs of which one is given."""
    given: list[tuple[float | None, int | None]] = [(f, None) for f in recipe.frac]
    given += [(None, n) for n in recipe.per_class]
    return given or [(None, None)]


Settings = dict[str, dict[str, Any]]  # of each generator


def arm_cells(recipe: Recipe, settings: Settings, arm: str, common: dict[str, Any]) -> list[Cell]:
    """The cells of one arm in one trial; with `select` one a generator, which holds the others."""
    common = common | {"weights": recipe.weights if ARMS[arm].pretrained else None}
    if not ARMS[arm].synthetic:
        return [Cell(arm=arm, **common)]
    cells = []
    for name in recipe.generator:
        variants = [
            Cell(arm=arm, generator=name, generator_settings=own, use=use, **common)
            for use, own in combinations(recipe.use_values(), settings[name], mixes=ARMS[arm].real)
        ]
        if not recipe.select:
            cells += variants
        elif ARMS[arm].real:
            cells.append(_chooser(variants, recipe.folds))
        else:  # without real images a share of 0 leaves nothing to learn from
            cells.append(variants[0])
    return cells


def _chooser(candidates: list[Cell], folds: int) -> Cell:
    """The cell that chooses among the candidates on validation."""
    first = candidates[0]
    return dataclasses.replace(
        first, use=first.use.undecided(), candidates=tuple(candidates), folds=folds
    )
