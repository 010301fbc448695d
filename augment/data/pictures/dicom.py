"""DICOM files, with the extra `dicom`: frames in the units of the modality."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

MAGIC_AT, MAGIC = 128, b"DICM"  # after a preamble of 128 bytes


def is_dicom(head: bytes) -> bool:
    """Recognise a DICOM file by its first bytes."""
    return head[MAGIC_AT:].startswith(MAGIC)


def dicom_header(file: BinaryIO) -> tuple[int, int, str, int]:
    """Read (W, H, photometric interpretation, number of frames)."""
    record = _read(file, stop_before_pixels=True)
    frames = int(record.get("NumberOfFrames") or 1)
    return int(record.Columns), int(record.Rows), str(record.PhotometricInterpretation), frames


def dicom_pixels(file: BinaryIO, frame: int) -> np.ndarray:
    """Read a frame: [H, W] float32, rescaled (Hounsfield units, say), or [H, W, 3] colour.

    MONOCHROME1, where the lowest value is white, is inverted before it is rescaled.
    """
    from pydicom.pixels import apply_rescale, pixel_array  # pyright: ignore[reportMissingImports]

    record = _read(file)
    stored = pixel_array(record, index=frame)  # colour is converted to RGB
    if record.PhotometricInterpretation == "MONOCHROME1":
        # of signed values -1 takes the place of the highest
        top = -1 if record.PixelRepresentation else 2**record.BitsStored - 1
        stored = top - stored.astype(np.int64)
    if stored.ndim == 2:
        stored = apply_rescale(stored, record)
    return stored.astype(np.float32)


def _read(file: BinaryIO, **options: Any) -> Any:
    """Read the record of an open file; ValueError without the extra."""
    try:
        from pydicom import dcmread  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError("DICOM needs the extra: pip install 'augment-compare[dicom]'") from None
    file.seek(0)
    return dcmread(file, **options)
