"""Safetensors files: written piece by piece, and checkpoints with a checksum."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from augment.errors import AugmentError
from augment.storage.atomic import write_atomic

WIDTHS = {"I64": 8, "F32": 4, "U8": 1, "BOOL": 1}  # bytes of safetensors' dtypes


class TensorFile:
    """A safetensors file that is filled piece by piece: it may be larger than the memory."""

    def __init__(self, path: Path, shapes: dict[str, tuple[str, tuple[int, ...]]]) -> None:
        """`shapes`: name → (safetensors dtype, shape), the widest dtypes first, as readers ask."""
        header: dict[str, Any] = {}
        end = 0
        for name, (dtype, shape) in shapes.items():
            start, end = end, end + WIDTHS[dtype] * math.prod(shape)
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        head = len(text).to_bytes(8, "little") + text
        self.offsets = {
            name: len(head) + about["data_offsets"][0] for name, about in header.items()
        }
        self.file = path.open("wb")
        self.file.write(head)
        self.file.truncate(len(head) + end)

    def append(self, name: str, rows: Any) -> None:
        """Write the next rows of a tensor."""
        raw = rows.contiguous().numpy().tobytes()
        self.file.seek(self.offsets[name])
        self.file.write(raw)
        self.offsets[name] += len(raw)

    def close(self) -> None:
        """What is written is on its way to the disk."""
        self.file.close()


def save_checkpoint(folder: Path, tensors: dict[str, Any], about: dict[str, Any]) -> None:
    """State of a stage in the middle; the older one goes only when this one is durable."""
    from safetensors.torch import save

    body = save(tensors, {"about": json.dumps(about)})
    digest = hashlib.sha256(body).digest()
    write_atomic(folder / "checkpoint.safetensors", digest + body)


def load_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The state and its record, or None where there is none; a damaged one is an error."""
    from safetensors.torch import load

    file = folder / "checkpoint.safetensors"
    if not file.is_file():
        return None
    body = file.read_bytes()
    if hashlib.sha256(body[32:]).digest() != body[:32]:
        raise AugmentError(f"{file} is damaged: delete it to train this stage from its start")
    size = int.from_bytes(body[32:40], "little")
    header = json.loads(body[40 : 40 + size])
    return load(body[32:]), json.loads(header["__metadata__"]["about"])
