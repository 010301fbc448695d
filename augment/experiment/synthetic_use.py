"""SyntheticUse: how synthetic images are sampled and used. A new setting is one field here.

Flags, recipe keys, columns of results.csv, the candidates of `--select`, signatures and help texts
derive from the fields of the dataclass.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from augment.experiment.setting_types import (
    NAMES,
    Guidances,
    Many,
    MixedShares,
    Ratios,
    Shares,
    setting,
)

PLACINGS = ("paste", "vary")  # of generated objects: at free places, in place of labelled ones


@dataclass(frozen=True)
class UseSetting:
    """How recipes, signatures and tables treat a field of SyntheticUse."""

    values: Any  # type in a recipe, for pydantic
    recipe_field: Any  # default, help and group of its flag: see `setting`
    stage: str | None  # whose signature it belongs to; None: the generator's settings hold it
    mixes: bool = False  # None in arms that do not mix labelled and synthetic images
    left_out: Any = ()  # values that signatures leave out, since artefacts without it are equal
    registry: Callable[[], Collection[str]] | None = None  # the valid names

    @property
    def varies(self) -> bool:
        """Whether a recipe may give several values: a dimension of the matrix, or a switch."""
        return self.values is not bool

    @property
    def of_generator(self) -> bool:
        """Whether it overrides a setting of the generators that have one of this name."""
        return self.stage is None


def _mixings() -> Collection[str]:
    from augment.experiment.mixing import MIXINGS

    return MIXINGS


def _filters() -> Collection[str]:
    from augment.experiment.filters import FILTERS

    return FILTERS


def _placings() -> Collection[str]:
    return PLACINGS


def _use(values: Any, recipe_field: Any, stage: str | None, **kinds: Any) -> Any:
    """Declare a field that is None without synthetic images; a switch is False there."""
    use = UseSetting(values, recipe_field, stage, **kinds)
    return field(default=None if use.varies else False, metadata={"use": use})


@dataclass(frozen=True)
class SyntheticUse:
    """How a cell samples and uses synthetic images; all None in arms without them."""

    ratio: float | None = _use(
        Ratios, setting([5.0], "comparison", "Synthetic images per labelled image."), "synthetic"
    )
    share: float | None = _use(
        MixedShares,
        setting(
            [0.25],
            "comparison",
            "Synthetic share of each batch that mixes real and synthetic images.",
        ),
        "score",
        mixes=True,
    )
    mixing: str | None = _use(
        Many,
        setting(
            ["confirmed"],
            "comparison",
            "Schedules by which synthetic images enter training.",
            metavar=NAMES,
            listed=True,
        ),
        "score",
        mixes=True,
        left_out=(None, "constant"),
        registry=_mixings,
    )
    guidance: float | None = _use(
        Guidances,
        setting(
            [],
            "generator",
            "Scale of classifier-free guidance; 1 is no guidance.",
            unset="the generator's own",
        ),
        None,
    )
    strength: float | None = _use(
        Shares,
        setting(
            [],
            "generator",
            "Noise level that sampling starts from: 1 is pure noise, less varies a labelled image.",
            unset="the generator's own",
        ),
        None,
    )
    filter: str | None = _use(
        Many,
        setting(
            ["none"],
            "comparison",
            "Filters that decide which synthetic images are used.",
            metavar=NAMES,
            listed=True,
        ),
        "score",
        registry=_filters,
    )
    placing: str | None = _use(
        Many,
        setting(
            [],
            "comparison",
            "Where boxes are learnt: put generated objects at free places, or in place of others.",
            metavar="paste|vary[,…]",
            unset=PLACINGS[0],
        ),
        "score",
        left_out=(None,),
        registry=_placings,
    )
    balanced: bool = _use(
        bool,
        setting(False, "comparison", "Even out the class sizes with synthetic images."),
        "synthetic",
    )

    def signed(self, stage: str) -> dict[str, Any]:
        """Return the settings that are part of the signature of a stage."""
        return {
            name: value
            for name, use in USE_SETTINGS.items()
            if use.stage == stage and (value := getattr(self, name)) not in use.left_out
        }

    def undecided(self) -> SyntheticUse:
        """Return a copy with None for the settings that --select decides."""
        return dataclasses.replace(self, **dict.fromkeys(VARIED))

    def without_schedule(self) -> SyntheticUse:
        """Return the use of an arm whose batches are all of one kind, as those of its baseline.

        Of the ways of mixing, what is confirmed stays: trust scales the share of generated objects.
        """
        from augment.experiment.mixing import CONFIRMED

        return dataclasses.replace(self, mixing=CONFIRMED if self.mixing == CONFIRMED else None)

    def columns(self) -> dict[str, Any]:
        """Return the settings that have a column in results.csv."""
        return {name: getattr(self, name) for name in USE_COLUMNS}


USE_SETTINGS: dict[str, UseSetting] = {
    f.name: f.metadata["use"] for f in dataclasses.fields(SyntheticUse)
}
VARIED = [name for name, use in USE_SETTINGS.items() if use.varies]
# settings of generators first
USE_COLUMNS = sorted(VARIED, key=lambda name: not USE_SETTINGS[name].of_generator)
USE_TEXTS = [name for name in VARIED if USE_SETTINGS[name].values is Many]
# these do not change the synthetic set, only its use
USE_OF_SCORE = [name for name in VARIED if USE_SETTINGS[name].stage == "score"]


def combinations(
    values: dict[str, Any], generator_settings: dict[str, Any], *, mixes: bool
) -> list[tuple[SyntheticUse, dict[str, Any]]]:
    """List all combinations of a recipe's values, each with the resulting generator settings.

    Values override `generator_settings` of the same name. Settings of mixing are None unless the
    arm `mixes` labelled and synthetic images.
    """
    axes = [values[name] or [None] for name in VARIED]
    switches = {name: values[name] for name in USE_SETTINGS if name not in VARIED}
    uses = []
    for chosen in itertools.product(*axes):
        use: dict[str, Any] = dict(zip(VARIED, chosen, strict=True)) | switches
        overrides = {n: use[n] for n in VARIED if USE_SETTINGS[n].of_generator}
        settings = generator_settings | {
            n: v for n, v in overrides.items() if n in generator_settings and v is not None
        }
        use |= {n: settings.get(n) for n in overrides}
        use |= {n: None for n in VARIED if USE_SETTINGS[n].mixes and not mixes}
        uses.append((SyntheticUse(**use), settings))
    return uses
