"""Data sets known by name: torchvision's download, converted once to `NAME.npz` in the cache."""

from __future__ import annotations

import http.client
import os
import socket
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from augment.errors import MachineError

TIMEOUT = 10  # seconds of silence; offline must not mean waiting for ever


FAULTS = (
    OSError,
    RuntimeError,
    EOFError,
    http.client.HTTPException,
    tarfile.TarError,
    zipfile.BadZipFile,
)


def cached(name: str, source: str, options: Sequence[dict[str, Any]], folder: Path) -> Path:
    """`folder/NAME.npz`, made on first use; `options` are those of the train and the test part."""
    file = folder / f"{name}.npz"
    if file.exists():
        return file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock"):  # two runs must not write one download
            if not file.exists():
                save(file, to_archive(name, download(name, source, options, folder)))
    except OSError as error:
        raise MachineError(
            f"{file} cannot be written ({error.strerror or error}): make room, or choose another "
            "--data-dir"
        ) from None
    return file


def download(name: str, source: str, options: Sequence[dict[str, Any]], folder: Path) -> list[Any]:
    """The parts as torchvision's data sets; it checks the MD5 sums."""
    import torchvision.datasets as sources

    known: Any = getattr(sources, source)
    raw, timeout = folder / "raw", socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(TIMEOUT)
        return [known(raw, download=True, **part) for part in options]
    except FAULTS as error:
        why = (str(error) or type(error).__name__).splitlines()[0].rstrip(": ")
        raise MachineError(
            f"{name} is not in {folder} and could not be downloaded ({why}): put {name}.npz there "
            f"(keys train_images, train_labels, test_images, test_labels, classes), or the "
            f"original files in {raw}: {originals(known)}"
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)


def originals(source: Any) -> str:
    """The original files, as torchvision looks for them below its root, and their MD5 sums."""
    if hasattr(source, "md5"):  # EMNIST; it inherits MNIST's `resources`
        pairs = [(f"{source.__name__}/raw/{source.url.rpartition('/')[2]}", source.md5)]
    elif hasattr(source, "resources"):
        pairs = [(f"{source.__name__}/raw/{file}", md5) for file, md5 in source.resources]
    elif hasattr(source, "split_list"):
        pairs = [(entry[1], entry[2]) for key, entry in source.split_list.items() if key != "extra"]
    else:
        pairs = [(source.filename, source.tgz_md5)]
    return ", ".join(f"{file} (md5 {md5})" for file, md5 in pairs)


def to_archive(name: str, parts: Sequence[Any]) -> dict[str, Any]:
    """The arrays of `NAME.npz`."""
    arrays: dict[str, Any] = {"classes": np.array(class_names(name, parts[0]))}
    for part, data in zip(("train", "test"), parts, strict=True):
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = to_arrays(name, data)
    return arrays


def class_names(name: str, data: Any) -> list[str]:
    """Class names in label order."""
    if name == "emnist-letters":
        return [chr(ord("a") + k) for k in range(26)]
    if name == "svhn":
        return [str(k) for k in range(10)]
    return [str(c).split(" - ")[0] for c in data.classes]


def to_arrays(name: str, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """torchvision's layouts → [N, H, W(, C)] uint8, [N] int64."""
    images = np.asarray(data.data)
    labels = np.asarray(getattr(data, "targets", getattr(data, "labels", None)), np.int64)
    if name in ("svhn", "stl10"):  # [N, C, H, W]
        images = images.transpose(0, 2, 3, 1)
    if name == "emnist-letters":  # stored lying on the side, labels from 1
        images, labels = images.transpose(0, 2, 1), labels - 1
    return images, labels


def save(file: Path, arrays: dict[str, Any]) -> None:
    """Whole or not at all."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as handle:
            np.savez(handle, **arrays)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
