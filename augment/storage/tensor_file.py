"""A safetensors file that is written piece by piece, so that it may be larger than the memory.

It is 8 bytes of header length, a JSON header, then the tensors.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

DTYPE_BYTES = {"I64": 8, "F32": 4, "U8": 1, "BOOL": 1}  # of safetensors' names


class TensorFile:
    """A safetensors file that is filled piece by piece: it may be larger than the memory.

    Close it when every tensor has all its rows.
    """

    def __init__(self, path: Path, shapes: dict[str, tuple[str, tuple[int, ...]]]) -> None:
        """Lay out a file for `shapes`: name → (dtype, shape), the widest first, as readers ask."""
        header: dict[str, Any] = {}
        end = 0
        for name, (dtype, shape) in shapes.items():
            start, end = end, end + DTYPE_BYTES[dtype] * math.prod(shape)
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
        head = len(text).to_bytes(8, "little") + text
        # where the next rows of each tensor go, in bytes from the start of the file
        self.offsets = {
            name: len(head) + entry["data_offsets"][0] for name, entry in header.items()
        }
        self.file = path.open("wb")
        self.file.write(head)
        self.file.truncate(len(head) + end)  # its whole length, with holes

    def append(self, name: str, rows: Any) -> None:
        """Write the next rows of a tensor, of the dtype that was laid out."""
        raw = rows.contiguous().numpy().tobytes()
        self.file.seek(self.offsets[name])
        self.file.write(raw)
        self.offsets[name] += len(raw)

    def close(self) -> None:
        """Hand what is written to the system; whoever seals the artefact syncs it."""
        self.file.close()
