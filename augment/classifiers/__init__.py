"""CLASSIFIERS: what is trained in every arm, by the names that the command line knows.

A new one is a `Classifier` in `models` with a network of its own, and a line below.
"""

from __future__ import annotations

from augment.classifiers.classifier import Classifier
from augment.classifiers.models import Airbench, ResNet, ResNet18

CLASSIFIERS: dict[str, type[Classifier]] = {
    "resnet": ResNet,
    "airbench": Airbench,
    "resnet18": ResNet18,
}
