"""DETECTORS: what is trained in every arm where boxes are learnt, by their names.

Each has the contract of a learner (`training/learner.py`) and `predict`: see `centernet.CenterNet`.
"""

from __future__ import annotations

from augment.detectors.centernet import CenterNet
from augment.detectors.torchvision_models import FCOS, SSDLite, TorchvisionDetector

DETECTORS: dict[str, type[CenterNet] | type[TorchvisionDetector]] = {
    "centernet": CenterNet,
    "fcos_resnet50_fpn": FCOS,
    "ssdlite320": SSDLite,
}
