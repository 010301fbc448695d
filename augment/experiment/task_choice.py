"""What a recipe's data sets ask for, once they are read: its task, and what is usual for that."""

from __future__ import annotations

import shlex
from typing import Any

from augment.errors import UsageError, unknown
from augment.experiment.arms import ARMS
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.mixing import SCHEDULES
from augment.experiment.recipe import BOXED_ARMS, CLASSIFY, DETECT, DETECTION_ARMS, Recipe
from augment.experiment.synthetic_use import PLACINGS

_ELSEWHERE = "{} is for data sets with boxes, and {} has classes: leave it out"
# what a command that learns classes alone says of data that ask for more
_REFUSED = {
    DETECT: "{command} learns classes, and {name} has boxes: augment run --dataset {quoted} "
    "--select --share 0.25,0.5 --placing paste,vary finds out whether generated objects help, "
    "and how they are best used"
}


def with_task(recipe: Recipe, data: DatasetCache) -> Recipe:
    """Return the recipe with its task, and with the arms usual for it where none are named.

    UsageError if a setting is of no use to the task. Loads the data sets.
    """
    return _CHECKED[data.task_of(recipe)](recipe)


def refuse_boxes(recipe: Recipe, data: DatasetCache, command: str) -> None:
    """Raise UsageError if boxes are to be learnt, which `command` cannot do. Loads the data."""
    refusal, name = _REFUSED.get(data.task_of(recipe)), recipe.dataset[0]
    if refusal:
        raise UsageError(refusal.format(command=command, name=name, quoted=shlex.quote(name)))


def _classifying(recipe: Recipe) -> Recipe:
    """Check that no setting is one of detection."""
    pasted = [f"--arm {name}" for name in recipe.arm if ARMS[name].pasted]
    given = [f"--{name}" for name in ("detector", "placing") if getattr(recipe, name)]
    for flag in pasted + given:
        raise UsageError(_ELSEWHERE.format(flag, recipe.dataset[0]))
    return recipe


def _detecting(recipe: Recipe) -> Recipe:
    """Take arms of detection and a way to place objects, where none is named."""
    changed: dict[str, Any] = {"task": DETECT}
    if "arm" not in recipe.model_fields_set:
        changed["arm"] = list(DETECTION_ARMS)
    if not recipe.use_values()["placing"]:
        changed["placing"] = [PLACINGS[0]]
    recipe = recipe.model_copy(update=changed)
    for arm in recipe.arm:
        if arm not in BOXED_ARMS:
            raise unknown("arm for a data set with boxes", arm, BOXED_ARMS)
    for mixing in recipe.use_values()["mixing"]:
        if mixing not in SCHEDULES:
            raise unknown("--mixing for a data set with boxes", mixing, SCHEDULES)
    return recipe


_CHECKED = {CLASSIFY: _classifying, DETECT: _detecting}
