"""Images in an `.npz` of plain arrays, with MedMNIST's keys. Nothing is ever unpickled.

train_images and train_labels are needed; val and test parts and `classes` may be there.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from augment.data.pictures.fitting import fit_pixels
from augment.data.pictures.framing import Frame, Framing, choose_frame, framing_notes
from augment.data.pictures.stacking import one_channel_if_grey
from augment.data.raw import RawDataset
from augment.errors import DataError

PARTS = ("train", "val", "test")  # in this order in the images that are returned
MAX_BYTES = 16 * 2**30  # unpacked; more is refused before it is read


def read_npz(path: Path, size: Framing | int | None) -> RawDataset:
    """Read {train,val,test}_images [N, H, W] or [N, H, W, C] uint8, labels [N] or [N, 1] integers.

    `classes` [K] names the classes in label order; without it they are called by their labels.
    """
    arrays = _read_arrays(path)
    parts = [part for part in PARTS if f"{part}_images" in arrays]
    if "train" not in parts:
        raise DataError(f"{path} has no train_images: it holds {', '.join(arrays) or 'nothing'}")
    expected = {"classes", *(f"{part}_{what}" for part in parts for what in ("images", "labels"))}
    if unexpected := sorted(arrays.keys() - expected):
        raise DataError(
            f"{path} holds {', '.join(unexpected[:3])}, which is none of train_images, "
            "train_labels, test_images, test_labels, val_images, val_labels and classes: "
            "rename or remove it"
        )
    images = [_part_images(path, part, arrays) for part in parts]
    shapes = {tuple(pixels.shape[1:]) for pixels in images}
    if len(shapes) > 1:
        raise DataError(f"{path}: pictures of {len(shapes)} shapes: {sorted(shapes)}")
    labels = np.concatenate([np.asarray(arrays[f"{part}_labels"]).reshape(-1) for part in parts])
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise DataError(f"{path}: labels must be integers from 0, one an image")
    if "classes" in arrays:
        classes = [str(name) for name in _decode_names(arrays["classes"].reshape(-1))]
        if len(classes) <= labels.max():
            raise DataError(
                f"{path}: label {labels.max()} has no name among {len(classes)} classes"
            )
        if len(set(classes)) < len(classes):
            raise DataError(f"{path}: two classes have one name in 'classes'")
    else:
        # labels may skip numbers, 3 and 7 say: they become 0 and 1, named "3" and "7"
        values, labels = np.unique(labels, return_inverse=True)
        classes = [str(value) for value in values]
    height, width = images[0].shape[-2:]  # [N, C, H, W]
    framing, sizes = Framing.of(size), [(width, height)]
    frame = choose_frame(sizes, framing)
    notes = framing_notes(sizes, framing, frame)
    pixels, _ = one_channel_if_grey(_fit_all(torch.cat(images), frame), None, notes)
    places = [(part, i) for part, n in zip(parts, map(len, images), strict=True) for i in range(n)]
    return RawDataset(
        pixels,
        labels.astype(np.int64).tolist(),
        classes,
        [part for part, _ in places],
        [f"{path.name}:{part}/{i}" for part, i in places],
        notes=notes,
    )


def _fit_all(images: Tensor, frame: Frame) -> Tensor:
    """Fit [N, C, H, W] uint8 into a frame, each picture as the same one from a file."""
    height, width = images.shape[-2:]
    if frame[:2] == (width, height):
        return images
    fitted = np.empty((*images.shape[:2], frame.height, frame.width), np.uint8)
    for place, image in zip(fitted, images.numpy(), strict=True):
        # Pillow takes [H, W] or [H, W, 3]
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        place[:] = np.atleast_3d(fit_pixels(pixels, frame)).transpose(2, 0, 1)
    return torch.from_numpy(fitted)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of the file; DataError for anything but plain arrays in a sound zip file."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_BYTES:
            raise DataError(f"{path} unpacks to {unpacked:,} bytes, more than {MAX_BYTES:,}")
        with np.load(path, allow_pickle=False) as archive:
            return {key: np.asarray(archive[key]) for key in archive.files}
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and numpy each raise their own for damaged bytes
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as an .npz of plain arrays: {reason}") from None


def _part_images(path: Path, part: str, arrays: dict[str, np.ndarray]) -> Tensor:
    """Check the images of one split and return them as [N, C, H, W] uint8."""
    pixels, labels = arrays[f"{part}_images"], arrays.get(f"{part}_labels")
    if labels is None:
        raise DataError(f"{path} has {part}_images but no {part}_labels")
    well_formed = pixels.dtype == np.uint8 and pixels.ndim in (3, 4) and pixels.size
    if not well_formed or len(pixels) != labels.size:
        raise DataError(
            f"{path}: {part}_images must be [N, H, W(, C)] uint8 with N labels, "
            f"not {pixels.shape} {pixels.dtype} with {labels.size}"
        )
    if pixels.ndim == 3:
        pixels = pixels[..., None]  # [N, H, W, C]
    if pixels.shape[-1] not in (1, 3):
        raise DataError(f"{path}: {part}_images has {pixels.shape[-1]} channels, not 1 or 3")
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def _decode_names(names: np.ndarray) -> np.ndarray:
    """Read names that are kept as bytes as UTF-8."""
    return np.char.decode(names, "utf-8", "replace") if names.dtype.kind == "S" else names
