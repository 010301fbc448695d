#!/usr/bin/env bash
# Pillow 13.0.0, Python 3.11, seen on 2026-11-28.
#
# Colour of 16 bits a channel is read as its high byte, without a warning. A 12-bit camera's PNG holds
# values to 4095, so 16 levels of 4,096 are left. Grey of the same depth is read whole (mode I;16).
#
# Output seen:
#   Pillow 13.0.0: grey I;16 4096 levels, colour RGB 16 levels
#
# Exits 0 if that is what happens, 1 if it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m pip install --quiet --disable-pip-version-check --target "$folder/site" --no-deps pillow==13.0.0
cd "$folder"

PYTHONPATH="$folder/site" python3.11 - <<'PYTHON'
import struct
import zlib

import PIL
from PIL import Image


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_png(name, colour_type, channels):
    """A ramp of all 4,096 values of 12 bits, 64×64, 16 bits a channel."""
    rows = [range(64 * y, 64 * y + 64) for y in range(64)]
    data = b"".join(b"\0" + b"".join(struct.pack(">H", v) * channels for v in row) for row in rows)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 16, colour_type, 0, 0, 0))
    with open(name, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))


write_png("grey.png", 0, 1)
write_png("colour.png", 2, 3)
grey, colour = Image.open("grey.png"), Image.open("colour.png")
levels = [
    len({image.getpixel((x, y)) for x in range(64) for y in range(64)}) for image in (grey, colour)
]
print(f"Pillow {PIL.__version__}: grey {grey.mode} {levels[0]} levels, colour {colour.mode} {levels[1]} levels")
raise SystemExit(levels != [4096, 16])
PYTHON
