#!/usr/bin/env bash
# Pillow 13.0.0, NumPy 2.4.6, Python 3.11, seen on 2026-11-28.
#
# convert("L") and convert("RGB") of a 16-bit grey image clip at 255 and do not scale: of a 12-bit
# slice 94 % of the pixels become white. The usual `Image.open(f).convert("RGB")` of a loader does this
# to every 16-bit PNG or TIFF, without a warning.
#
# Output seen:
#   Pillow 13.0.0: I;16 to L: 94 % white; I;16 to RGB: 94 % white
#
# Exits 0 if that is what happens, 1 if it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m pip install --quiet --disable-pip-version-check --target "$folder/site" --no-deps pillow==13.0.0 numpy==2.4.6
cd "$folder"

PYTHONPATH="$folder/site" python3.11 - <<'PYTHON'
import numpy as np
import PIL
from PIL import Image

slice_ = Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64))
slice_.save("slice.png")
loaded = Image.open("slice.png")
white = {mode: round(100 * np.mean(np.asarray(loaded.convert(mode)) == 255)) for mode in ("L", "RGB")}
said = "; ".join(f"{loaded.mode} to {mode}: {percent} % white" for mode, percent in white.items())
print(f"Pillow {PIL.__version__}: {said}")
raise SystemExit(white != {"L": 94, "RGB": 94})
PYTHON
