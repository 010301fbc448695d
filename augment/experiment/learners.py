"""LEARNERS: what the arms of each task train and score, and which of it a recipe names."""

from __future__ import annotations

from typing import Any

from augment.classifiers import CLASSIFIERS
from augment.detectors import DETECTORS
from augment.experiment.recipe import CLASSIFY, DETECT, Recipe
from augment.generators import GENERATORS

LEARNERS: dict[str, dict[str, Any]] = {CLASSIFY: CLASSIFIERS, DETECT: DETECTORS}
# sections of a recipe's `set`: each holds for all entries of its registry
SECTIONS: dict[str, dict[str, Any]] = {
    "generator": GENERATORS,
    "classifier": CLASSIFIERS,
    "detector": DETECTORS,
}


def learner_of(recipe: Recipe) -> str:
    """Return the name of the learner that a resolved recipe trains in every arm."""
    return {CLASSIFY: recipe.classifier, DETECT: recipe.detector or next(iter(DETECTORS))}[
        recipe.task or CLASSIFY
    ]


def section_of(name: str) -> str:
    """Return the kind of a registered learner: a key of SECTIONS."""
    return next(kind for kind, registry in SECTIONS.items() if name in registry)
