"""Settings of an experiment; `validation.py` checks them, `cells.py` expands them.

A setting that is a list is a dimension of the matrix; `augment run` flags, TOML recipes and
`augment.run(...)` keywords are the same settings. Free of torch: the command line reads the fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from augment.data.layouts.reading_flags import FOLDERS, GROUP_BY, PAGES, READING_FLAGS, ReadingFlags
from augment.data.pictures.framing import FITS, LEAST_SIDE, MOST_SIDE, NATIVE
from augment.experiment.setting_types import (
    AUTO,
    NAMES,
    PRECISIONS,
    PRESETS,
    SUBSETS,
    Counts,
    Datasets,
    Many,
    Seeds,
    Shares,
    Side,
    setting,
)
from augment.experiment.synthetic_use import USE_SETTINGS

# by default; RandAugment, the strongest way that needs no generator on MNIST and CIFAR-10
# (results/rivals.md, rivals-cifar10.md), shows what a generator has to be better than
USUAL_ARMS = (
    *("real", "real+classic", "real+synth", "real+classic+synth", "synth"),
    *("real+randaugment", "real+randaugment+synth"),
)
# beside them where weights are given: do images still help who fine-tunes?
USUAL_WITH_WEIGHTS = ("transfer", "transfer+synth")


CLASSIFY, DETECT = TASK_NAMES = ("classify", "detect")
# of a detector; `real+copypaste` needs no generator either
DETECTION_ARMS = (
    *("real", "real+classic", "real+copypaste"),
    *("real+classic+synth", "real+copypaste+synth"),
)
BOXED_ARMS = (*DETECTION_ARMS, "real+synth", "synth")  # that a detector can be trained in


class RecipeBase(BaseModel):
    """Settings that are not fields of SyntheticUse."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = setting("", "output", "Question that the run is to answer, kept in its recipe.")
    dataset: Datasets = setting(
        ["digits"],
        "data",
        "Data sets, by name or by path of your own images.",
        metavar="NAME|PATH[,…]",
        listed=True,
    )
    task: str | None = setting(
        None,
        "data",
        "What is learnt: the class of each image, or boxes.",
        choices=TASK_NAMES,
        unset="boxes where the data set has them",
    )
    frac: Shares = setting([], "data", "Share of the pool that is labelled.")
    per_class: Counts = setting(
        [], "data", "Labelled images per class.", unset="10; of your own images, all"
    )
    subsets: str | None = setting(
        None,
        "data",
        "Labelled images of the trials: nested draws, which overlap, or disjoint ones.",
        choices=SUBSETS,
        unset="nested",
    )
    size: Side = setting(
        None,
        "data",
        f"Longer side of the images in pixels, {LEAST_SIDE} to {MOST_SIDE}.",
        metavar=f"N|auto|{NATIVE}",
        unset="auto: native up to 64, else what the pictures hold, at most 128",
    )
    fit: str | None = setting(
        None,
        "data",
        "Bring pictures of another shape to that of the set: bands beside the whole picture, its "
        "middle in a square, or stretched to a square.",
        choices=FITS,
        unset="pad",
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
        3, "comparison", "Folds of the cross-validation of --select and --classic select."
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
    detector: str | None = setting(
        None,
        "comparison",
        "Detector to train, where boxes are learnt.",
        metavar="NAME",
        listed=True,
        unset="centernet",
    )
    classic: str = setting(
        AUTO,
        "comparison",
        "Classic transforms; auto takes those that suit the data set, select chooses by folds.",
        metavar="NAME",
        listed=True,
    )
    precision: str = setting(
        "auto", "execution", "Floating-point precision of training.", choices=PRECISIONS
    )
    weights: str | None = setting(
        None,
        "comparison",
        "Pretrained weights that the transfer arms start from; without --arm, adds such arms.",
        metavar="FILE|RUN|torchvision",
    )
    labels: str | None = setting(
        None,
        "data",
        "Table with the labels of your own images; folders ignores all tables.",
        metavar=f"FILE|{FOLDERS}",
        unset="metadata.csv, else the folders",
    )
    label_column: str | None = setting(
        None, "data", "Column of the table with the class.", metavar="NAME"
    )
    file_column: str | None = setting(
        None,
        "data",
        "Column with the image: its path, name, or name without suffix.",
        metavar="NAME",
    )
    group_column: str | None = setting(
        None, "data", "Column that says whose image it is; groups are never split.", metavar="NAME"
    )
    split_column: str | None = setting(
        None, "data", "Column with train, val or test.", metavar="NAME"
    )
    group_by: str | None = setting(
        None,
        "data",
        "Group images by their folder, or by their name up to its last number.",
        choices=GROUP_BY,
        unset="what clearly tells a patient or recording",
    )
    class_level: Annotated[int, Field(ge=1, le=20)] | None = setting(
        None, "data", "Level of the folders that are the classes, 1 being the first in the path."
    )
    skip_unlabelled: bool = setting(False, "data", "Leave out rows of the table without a label.")
    pages: str | None = setting(
        None,
        "data",
        "Of files with several pages, read the first, all as channels, or each as a picture.",
        choices=PAGES,
        unset="first",
    )
    skip_bad: bool = setting(False, "data", "Leave out unreadable images.")
    drop_small_classes: bool = setting(False, "data", "Leave out classes with too few images.")
    set: dict[str, dict[str, Any]] = setting(
        {},
        "generator",
        "Hyperparameter of a generator or classifier, e.g. generator.lr=1e-3; may be repeated.",
        metavar="SECTION.KEY=VALUE",
    )

    @model_validator(mode="before")
    @classmethod
    def _show_weights(cls, settings: Any) -> Any:
        """Add the arms that start from weights, where these are given and no arms are."""
        if not isinstance(settings, dict) or settings.get("arm") or not settings.get("weights"):
            return settings
        return settings | {"arm": [*USUAL_ARMS, *USUAL_WITH_WEIGHTS]}

    def use_values(self) -> dict[str, Any]:
        """Return the values of each setting of SyntheticUse."""
        return {name: getattr(self, name) for name in USE_SETTINGS}

    def reading(self) -> ReadingFlags:
        """Return what is said of the layout of the user's images."""
        return ReadingFlags(**{name: getattr(self, name) for name in READING_FLAGS}, task=self.task)

    def resolved(self, device_type: str) -> Self:
        """Replace `auto` by its value on this kind of device."""
        changed: dict[str, Any] = {}
        if self.preset == "auto":
            changed["preset"] = "full" if device_type == "cuda" else "quick"
        return self.model_copy(update=changed)


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
