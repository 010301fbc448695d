"""The size of a PNG or JPEG from its first bytes, where that is plain: a guess of the set's shape.

A fifth of the time that Pillow takes to open a file, and of a PNG a much smaller part: asked for
EXIF, which may stand last, Pillow decodes all of it.
"""

from __future__ import annotations

import os
from pathlib import Path

READ_BYTES = 4096
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_NO_FRAMES = (0xC4, 0xC8, 0xCC)  # tables among the markers 0xC0 to 0xCF, which begin frames


def plain_size(path: Path) -> tuple[int, int] | None:
    """Read (W, H); None for other files, and for those that say "exif": they may be turned.

    Raises OSError where the file cannot be read.
    """
    if not os.path.isfile(path):  # a named pipe would be waited for without end
        return None
    with open(path, "rb") as file:
        head = file.read(READ_BYTES)
    if b"exif" in head.lower():
        return None
    if head.startswith(_PNG) and len(head) >= 24:
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    return _jpeg_size(head) if head.startswith(b"\xff\xd8") else None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Follow the markers of a JPEG to its frame, ISO 10918-1, B.1 and B.2.2."""
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES:
            height, width = head[at + 5 : at + 7], head[at + 7 : at + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        if marker < 0xC0 or 0xD0 <= marker <= 0xDA or length < 2:  # of no such form before a frame
            return None
        at += 2 + length
    return None
