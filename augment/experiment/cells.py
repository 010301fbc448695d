"""The cells of a recipe, and what each of their stages depends on."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

from augment import __version__
from augment.classifiers.models import CLASSIFIERS
from augment.data.datasets import DATASETS
from augment.errors import UsageError
from augment.experiment.arms import ARMS
from augment.experiment.hyperparameters import hyperparameters, split_variant
from augment.experiment.recipe import Recipe
from augment.generators import GENERATORS
from augment.storage.artifacts import folder_sha

FIRST_CLASSES = 10  # labelled images a class when nothing is asked of a data set known by name


WHOLE = "all of the pool"  # the amount of labelled images in which trials do not differ


@dataclasses.dataclass(frozen=True)
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
    generator: str | None = None  # None, like the next seven, in arms without synthetic images
    generator_settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    ratio: float | None = None
    share: float | None = None
    mixing: str | None = None
    guidance: float | None = None
    strength: float | None = None
    filter: str | None = None
    balanced: bool = False  # synthetic images even out the classes
    candidates: tuple[Cell, ...] = ()  # what --select chooses among, on validation
    folds: int = 0  # of that validation
    skip_bad: bool = False
    drop_small_classes: bool = False
    weights: str | None = None  # None in arms that start from scratch

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
        """Its generator's name in the registry: `generator` may say settings after it."""
        return split_variant(str(self.generator))[0]

    @property
    def learnt_settings(self) -> dict[str, Any]:
        """Its generator's settings without those that matter in drawing alone."""
        drawing = GENERATORS[self.entry].sampling
        return {k: v for k, v in self.generator_settings.items() if k not in drawing}

    def generator_record(self, labelled_sha: str, precision: str) -> dict[str, Any]:
        """All that a trained generator depends on."""
        learnt = self.learnt_settings
        if not GENERATORS[self.entry].closed_set:  # what counts is what lies there, not where
            learnt["folder"] = folder_sha(Path(learnt["folder"]))
        return {
            "version": __version__,
            "labelled": labelled_sha,
            "seed": self.seed,
            "generator": self.entry,
            "settings": learnt,
            "classic": self.classic,
            "precision": precision,
        }

    def synthetic_record(self, generator_signature: str) -> dict[str, Any]:
        """All that its synthetic set depends on."""
        sampling = GENERATORS[self.entry].sampling
        return {
            "generator": generator_signature,
            "ratio": self.ratio,
            "balanced": self.balanced,
            "settings": {k: self.generator_settings[k] for k in sampling},
        }

    def score_record(
        self, labelled_sha: str, test_sha: str, synthetic: str | None, precision: str
    ) -> dict[str, Any]:
        """All that a row depends on."""
        return {
            "version": __version__,
            "labelled": labelled_sha,
            "test": test_sha,
            "synthetic": synthetic,
            "seed": self.seed,
            "arm": self.arm,
            "classic": self.classic,
            "share": self.share,
            "filter": self.filter,
            "classifier": self.classifier,
            "settings": self.classifier_settings,
            "precision": precision,
            # left out where it says nothing: artefacts of before there was a choice stay valid
            **({} if self.mixing in (None, "constant") else {"mixing": self.mixing}),
        }


def expand(recipe: Recipe) -> list[Cell]:
    """The cells of a resolved recipe, each once: arms without a generator are not repeated."""
    if recipe.preset == "auto":
        raise ValueError("resolve the recipe first")
    classifier = hyperparameters(
        CLASSIFIERS, recipe.classifier, recipe.preset, recipe.overrides(recipe.classifier)
    )
    check_rows(recipe, classifier["batch"])
    settings = {
        name: hyperparameters(
            GENERATORS, split_variant(name)[0], recipe.preset, recipe.overrides(name)
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


def check_rows(recipe: Recipe, batch: int) -> None:
    """UsageError if a kind of image would not come in, or be normalised by a single one of it."""
    least = 0.25 if recipe.mixing == ["falling"] else 0.5  # that begins with twice as many
    for share in recipe.share:
        if not least < share * batch < batch - least:
            kind = "synthetic" if share < 0.5 else "labelled"
            raise UsageError(
                f"--share {share:g} leaves no {kind} image in a batch of {batch}: give one nearer "
                "to 0.5"
            )
    for share in recipe.share if "own-norm" in recipe.mixing else []:
        labelled = round((1 - share) * batch)
        if not 2 <= labelled <= batch - 2:
            raise UsageError(
                f"--mixing own-norm takes two images of each kind in a batch at least: of {batch} "
                f"--share {share:g} makes {batch - labelled} synthetic; give one nearer to 0.5, or "
                "a larger --set classifier.batch"
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
    if not recipe.select:
        return [
            c for name in recipe.generator for c in variants(recipe, name, settings, arm, common)
        ]
    cells = []
    for name in recipe.generator:
        among = variants(recipe, name, settings, arm, common)
        if ARMS[arm].real:  # without real images a share of 0 leaves nothing to learn from
            chooser = dataclasses.replace(
                among[0],
                ratio=None,
                share=None,
                mixing=None,
                guidance=None,
                strength=None,
                filter=None,
                candidates=tuple(among),
                folds=recipe.folds,
            )
            cells.append(chooser)
        else:
            cells.append(among[0])
    return cells


def variants(
    recipe: Recipe, name: str, settings: Settings, arm: str, common: dict[str, Any]
) -> list[Cell]:
    """Every combination of the settings of one generator in one arm of one trial."""
    cells = []
    for ratio, share, mixing, guidance, strength, kept in itertools.product(
        recipe.ratio,
        recipe.share,
        recipe.mixing,
        recipe.guidance or [None],
        recipe.strength or [None],
        recipe.filter,
    ):
        asked = {"guidance": guidance, "strength": strength}
        own = settings[name]
        own = own | {k: v for k, v in asked.items() if k in own and v is not None}
        cells.append(
            Cell(
                arm=arm,
                generator=name,
                generator_settings=own,
                ratio=ratio,
                share=share if ARMS[arm].real else None,
                mixing=mixing if ARMS[arm].real else None,
                filter=kept,
                balanced=recipe.balanced,
                **{k: own.get(k) for k in asked},
                **common,
            )
        )
    return cells
