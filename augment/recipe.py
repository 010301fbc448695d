"""Settings of an experiment: validated, expanded to cells, and turned into stage signatures.

A setting that is a list is a dimension of the matrix; `augment run` flags, TOML recipes and
`augment.run(...)` keywords are the same settings.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import tomllib
import typing
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)  # fmt: skip

from augment import __version__
from augment.arms import ARMS
from augment.classic import CLASSIC
from augment.classifiers import CLASSIFIERS
from augment.errors import UsageError, unknown
from augment.generators import GENERATORS
from augment.runtime import PRECISIONS

PRESETS = ("auto", "smoke", "quick", "full")
FIRST_CLASSES = 10  # labelled images a class when nothing is asked of a data set known by name


def as_list(value: Any) -> Any:
    """One value → a list of one; `"a,b"` → two; None → no value."""
    if value is None:
        return []
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def as_seeds(value: Any) -> Any:
    """6 → 0…5; "100-105" → those; a list stays."""
    if isinstance(value, str) and not value.isdigit():
        first, dash, last = value.partition("-")
        if dash and first.isdigit() and last.isdigit():
            return list(range(int(first), int(last) + 1))
        return as_list(value)
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        return list(range(int(value)))
    return value


Many = Annotated[list[str], BeforeValidator(as_list)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Recipe(BaseModel):
    """All settings that a result depends on. `extra` keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = ""
    dataset: Many = ["digits"]
    frac: Annotated[list[Share], BeforeValidator(as_list)] = []
    per_class: Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(as_list)] = []
    size: Annotated[int, Field(ge=8, le=512)] | None = None
    generator: Many = ["ddpm"]
    arm: Many = list(ARMS)
    seeds: Annotated[
        list[Annotated[int, Field(ge=0)]], BeforeValidator(as_seeds), Field(min_length=1)
    ] = [0, 1, 2]
    ratio: Annotated[list[Annotated[float, Field(gt=0)]], BeforeValidator(as_list)] = [5.0]
    guidance: Annotated[list[NonNegative], BeforeValidator(as_list)] = []
    share: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], BeforeValidator(as_list)] = [0.5]
    preset: str = "auto"
    classifier: str = "resnet"
    classic: str = "auto"
    precision: str = "auto"
    skip_bad: bool = False
    drop_small_classes: bool = False
    set: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def check_names(self) -> Recipe:
        """Names against their registries; the error lists the valid ones."""
        for what, names, valid in (
            ("generator", self.generator, GENERATORS),
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
        for name, values in (("dataset", self.dataset), ("arm", self.arm)):
            if not values:
                raise UsageError(f"--{name} is empty: name at least one")
        if not self.generator and any(ARMS[a].synthetic for a in self.arm):
            raise UsageError(f"--generator is empty: name one of {', '.join(GENERATORS)}")
        return self

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
        raise UsageError(
            f"--{place.replace('_', '-')} {first.get('input')}: {first['msg']}"
        ) from None


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
            value = text
        parsed.setdefault(section, {})[name] = value
    return parsed


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
        if isinstance(settings[key], float) and not math.isfinite(settings[key]):
            raise UsageError(f"{name}.{key} = {value!r} is not a finite number")
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}


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
    generator: str | None = None  # None, like the next four, in arms without synthetic images
    generator_settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    ratio: float | None = None
    share: float | None = None
    guidance: float | None = None
    skip_bad: bool = False
    drop_small_classes: bool = False

    @property
    def amount(self) -> str:
        """How much was asked to be labelled."""
        return f"{self.per_class} a class" if self.per_class else f"{self.frac:.4g} of the pool"

    @property
    def trial(self) -> str:
        """What all arms of a pair share."""
        return f"{self.dataset}, {self.amount}, seed {self.seed}"

    @property
    def name(self) -> str:
        """For progress lines."""
        return f"{self.trial}: {self.arm}" + (f" ({self.generator})" if self.generator else "")

    def generator_record(self, labelled_sha: str, precision: str) -> dict[str, Any]:
        """All that a trained generator depends on."""
        sampling = GENERATORS[str(self.generator)].sampling
        return {
            "version": __version__,
            "labelled": labelled_sha,
            "seed": self.seed,
            "generator": self.generator,
            "settings": {k: v for k, v in self.generator_settings.items() if k not in sampling},
            "classic": self.classic,
            "precision": precision,
        }

    def synthetic_record(self, generator_signature: str) -> dict[str, Any]:
        """All that its synthetic set depends on; `chunk` changes no picture."""
        sampling = GENERATORS[str(self.generator)].sampling
        return {
            "generator": generator_signature,
            "ratio": self.ratio,
            "settings": {k: self.generator_settings[k] for k in sampling if k != "chunk"},
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
            "classifier": self.classifier,
            "settings": self.classifier_settings,
            "precision": precision,
        }


def expand(recipe: Recipe) -> list[Cell]:
    """The cells of a resolved recipe, each once: arms without a generator are not repeated."""
    if recipe.preset == "auto":
        raise ValueError("resolve the recipe first")
    classifier = hyperparameters(
        CLASSIFIERS, recipe.classifier, recipe.preset,
        recipe.set.get("classifier", {}) | recipe.set.get(recipe.classifier, {}),
    )  # fmt: skip
    cells: dict[str, Cell] = {}
    for dataset, (frac, per_class), seed in itertools.product(
        recipe.dataset, amounts(recipe), recipe.seeds
    ):
        common: dict[str, Any] = dict(
            dataset=dataset, size=recipe.size, seed=seed, preset=recipe.preset,
            classic=recipe.classic, classifier=recipe.classifier, classifier_settings=classifier,
            skip_bad=recipe.skip_bad, drop_small_classes=recipe.drop_small_classes,
        )  # fmt: skip
        common["frac"], common["per_class"] = frac, per_class
        if (
            frac is None and per_class is None
        ):  # nothing asked: all of one's own, few of a known one
            from augment.data.datasets import DATASETS

            known = dataset in DATASETS
            common["frac"], common["per_class"] = (None, FIRST_CLASSES) if known else (1.0, None)
        for arm in recipe.arm:
            for cell in arm_cells(recipe, arm, common):
                cells.setdefault(repr(cell), cell)
    return list(cells.values())


def amounts(recipe: Recipe) -> list[tuple[float | None, int | None]]:
    """How much is labelled: pairs of which one is given."""
    given = [(f, None) for f in recipe.frac] + [(None, n) for n in recipe.per_class]
    return given or [(None, None)]


def arm_cells(recipe: Recipe, arm: str, common: dict[str, Any]) -> list[Cell]:
    """The cells of one arm in one trial."""
    if not ARMS[arm].synthetic:
        return [Cell(arm=arm, **common)]
    cells = []
    for name, ratio, share, guidance in itertools.product(
        recipe.generator, recipe.ratio, recipe.share, recipe.guidance or [None]
    ):
        overrides = recipe.set.get("generator", {}) | recipe.set.get(name, {})
        if name in ("duplicate", "noise"):  # a control has nothing to tune
            overrides = recipe.set.get(name, {})
        settings = hyperparameters(GENERATORS, name, recipe.preset, overrides)
        if "guidance" in settings and guidance is not None:
            settings["guidance"] = guidance
        cells.append(
            Cell(
                arm=arm, generator=name, generator_settings=settings, ratio=ratio,
                share=share if ARMS[arm].real else None, guidance=settings.get("guidance"),
                **common,
            )
        )  # fmt: skip
    return cells
