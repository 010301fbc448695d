"""SyntheticUse: how synthetic images are sampled and used. A new setting is one field here.

Flags, recipe keys, columns of results.csv, the candidates of `--select`, signatures and help texts
derive from the fields of the dataclass.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

Ratio = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]  # more fills any memory
OpenShare = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Guidance = Annotated[float, Field(ge=0, le=100)]


@dataclass(frozen=True)
class Setting:
    """What a field of SyntheticUse is to recipes, signatures and tables."""

    default: Any  # of a recipe; a list where several values are a dimension of the matrix
    help: str
    each: Any  # type of one value, for pydantic
    stage: str | None  # whose signature it belongs to; None: the generator's settings hold it
    mixes: bool = False  # None in arms that do not mix labelled and synthetic images
    left_out: Any = ()  # values that signatures leave out, since artefacts without it are equal
    registry: Callable[[], Iterable[str]] | None = None  # the valid names

    @property
    def varies(self) -> bool:
        """Whether a recipe may give several values."""
        return isinstance(self.default, list)

    @property
    def of_generator(self) -> bool:
        """Whether it goes over a setting of the generators that have one of this name."""
        return self.stage is None


def _mixings() -> Iterable[str]:
    from augment.experiment.mixing import MIXINGS

    return MIXINGS


def _filters() -> Iterable[str]:
    from augment.experiment.filters import FILTERS

    return FILTERS


def _setting(default: Any, help: str, each: Any, **kinds: Any) -> Any:
    """A field that is None where there are no synthetic images; a switch is off there."""
    setting = Setting(default, help, each, **kinds)
    return field(default=None if setting.varies else default, metadata={"setting": setting})


@dataclass(frozen=True)
class SyntheticUse:
    """How a cell samples and uses synthetic images; all None in arms without them."""

    ratio: float | None = _setting(
        [5.0], "Synthetic images for each labelled one.", Ratio, stage="synthetic"
    )
    share: float | None = _setting(
        [0.25], "Synthetic share of mixed batches.", OpenShare, stage="score", mixes=True
    )
    mixing: str | None = _setting(
        ["falling"],
        "When and how synthetic images enter the training.",
        str,
        stage="score",
        mixes=True,
        left_out=(None, "constant"),
        registry=_mixings,
    )
    guidance: float | None = _setting(
        [], "Classifier-free guidance; 1 is none.", Guidance, stage=None
    )
    strength: float | None = _setting(
        [],
        "Noise level that a sample starts from: 1 is pure noise, less varies a labelled image.",
        Share,
        stage=None,
    )
    filter: str | None = _setting(
        ["none"], "Which synthetic images are used.", str, stage="score", registry=_filters
    )
    balanced: bool = _setting(
        False, "Even out the classes with synthetic images.", bool, stage="synthetic"
    )

    def signed(self, stage: str) -> dict[str, Any]:
        """The settings that belong to the signature of a stage."""
        return {
            name: value
            for name, setting in USE_SETTINGS.items()
            if setting.stage == stage and (value := getattr(self, name)) not in setting.left_out
        }

    def undecided(self) -> SyntheticUse:
        """The same without the settings that are to be chosen."""
        return dataclasses.replace(self, **dict.fromkeys(VARIED))

    def columns(self) -> dict[str, Any]:
        """The settings that results.csv has a column for."""
        return {name: getattr(self, name) for name in USE_COLUMNS}


USE_SETTINGS: dict[str, Setting] = {
    f.name: f.metadata["setting"] for f in dataclasses.fields(SyntheticUse)
}
VARIED = [name for name, setting in USE_SETTINGS.items() if setting.varies]
# the generator's own first
USE_COLUMNS = sorted(VARIED, key=lambda name: not USE_SETTINGS[name].of_generator)


def combinations(
    values: dict[str, Any], own: dict[str, Any], *, mixes: bool
) -> list[tuple[SyntheticUse, dict[str, Any]]]:
    """Each combination of the values of a recipe, with the generator's settings under it.

    `own` are the generator's settings, which values of the same name go over. Settings of mixing
    are None unless the arm `mixes` labelled and synthetic images.
    """
    axes = [values[name] or [None] for name in VARIED]
    switches = {name: values[name] for name in USE_SETTINGS if name not in VARIED}
    found = []
    for chosen in itertools.product(*axes):
        use = dict(zip(VARIED, chosen, strict=True)) | switches
        asked = {n: use[n] for n in VARIED if USE_SETTINGS[n].of_generator}
        settings = own | {n: v for n, v in asked.items() if n in own and v is not None}
        use |= {n: settings.get(n) for n in asked}
        use |= {n: None for n in VARIED if USE_SETTINGS[n].mixes and not mixes}
        found.append((SyntheticUse(**use), settings))
    return found
