#!/usr/bin/env bash
# OpenCV 5.0.0.93 (headless), Pillow 13.0.0, Python 3.11, seen on 2026-11-28.
#
# cv2.imread turns a phone's picture upright by its EXIF tag, except with IMREAD_UNCHANGED, which is the
# usual way to keep 16 bits: the same file then lies on its side. All other flags cut 16 bits to the
# high byte, so a 12-bit PNG has 16 levels. No flag gives both by its name; IMREAD_ANYDEPTH does, in grey.
#
# Output seen:
#   OpenCV 5.0.0: IMREAD_COLOR upright, 16 levels
#   OpenCV 5.0.0: IMREAD_GRAYSCALE upright, 16 levels
#   OpenCV 5.0.0: IMREAD_UNCHANGED on its side, 4096 levels
#   OpenCV 5.0.0: IMREAD_ANYDEPTH upright, 4096 levels
#
# Exits 0 if that is what happens, 1 if it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m pip install --quiet --disable-pip-version-check --target "$folder/site" --no-deps opencv-python-headless==5.0.0.93 pillow==13.0.0 numpy==2.4.6
cd "$folder"

PYTHONPATH="$folder/site" python3.11 - <<'PYTHON'
import cv2
import numpy as np
from PIL import Image

exif = Image.Exif()
exif[0x0112] = 6  # to be turned by a quarter
Image.new("L", (40, 20)).save("phone.jpg", exif=exif)
Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save("camera.png")
found = {}
for flag in ("IMREAD_COLOR", "IMREAD_GRAYSCALE", "IMREAD_UNCHANGED", "IMREAD_ANYDEPTH"):
    upright = cv2.imread("phone.jpg", getattr(cv2, flag)).shape[:2] == (40, 20)
    levels = len(np.unique(cv2.imread("camera.png", getattr(cv2, flag))))
    found[flag] = upright, levels
    print(f"OpenCV {cv2.__version__}: {flag} {'upright' if upright else 'on its side'}, {levels} levels")
expected = {
    "IMREAD_COLOR": (True, 16),
    "IMREAD_GRAYSCALE": (True, 16),
    "IMREAD_UNCHANGED": (False, 4096),
    "IMREAD_ANYDEPTH": (True, 4096),
}
raise SystemExit(found != expected)
PYTHON
