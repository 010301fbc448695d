#!/usr/bin/env bash
# Pillow 13.0.0, tifffile 2026.3.3, Python 3.11, seen on 2026-11-28.
#
# A TIFF may say that 0 is white (PhotometricInterpretation 0; film scanners and some X-ray devices).
# Pillow inverts such a file of 8 bits, does not invert one of 16 bits, and refuses the same 16 bits in
# big endian. tifffile inverts none. So one picture is read as two, by its depth and its reader.
# The picture written here is white in its first pixel.
#
# Output seen:
#   8 bits little endian: Pillow white, tifffile black
#   8 bits big endian: Pillow white, tifffile black
#   16 bits little endian: Pillow black, tifffile black
#   16 bits big endian: Pillow refuses it, tifffile black
#
# Exits 0 if that is what happens, 1 if it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m pip install --quiet --disable-pip-version-check --target "$folder/site" --no-deps pillow==13.0.0 numpy==2.4.6 tifffile==2026.3.3
cd "$folder"

PYTHONPATH="$folder/site" python3.11 - <<'PYTHON'
import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

found = []
for bits in (8, 16):
    top = 2**bits - 1
    stored = np.linspace(0, top, 256).astype(f"u{bits // 8}").reshape(16, 16)  # 0 first: white
    for order, name in (("<", "little"), (">", "big")):
        tifffile.imwrite("film.tif", stored, photometric="miniswhite", byteorder=order)
        try:
            with Image.open("film.tif") as image:
                pillow = "white" if np.asarray(image)[0, 0] == top else "black"
        except UnidentifiedImageError:
            pillow = "refuses it"
        other = "white" if tifffile.imread("film.tif")[0, 0] == top else "black"
        print(f"{bits} bits {name} endian: Pillow {pillow}, tifffile {other}")
        found.append((pillow, other))
raise SystemExit(found != [("white", "black")] * 2 + [("black", "black"), ("refuses it", "black")])
PYTHON
