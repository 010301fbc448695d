"""Data sets known by name: downloaded once into the cache, torchvision's made `NAME.npz` there.

`NAME.npz` has the keys of `augment.data.npz` and can be put into the data folder by hand, where a
machine has no network.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from augment.errors import DataError, MachineError

TIMEOUT = 10  # seconds of silence; offline must not mean waiting for ever

# what torchvision and the libraries below it raise for a failed or a damaged download
DOWNLOAD_ERRORS = (
    OSError,
    RuntimeError,
    EOFError,
    http.client.HTTPException,
    tarfile.TarError,
    zipfile.BadZipFile,
)


def cached_npz(name: str, source: str, options: Sequence[dict[str, Any]], folder: Path) -> Path:
    """Return `folder/NAME.npz`, made on first use.

    `source` is the class in torchvision.datasets, `options` its arguments for the training and
    the test part. Raises MachineError if the folder cannot be written or the download fails.
    """
    file = folder / f"{name}.npz"

    def make() -> None:
        _save_npz(file, _npz_arrays(name, _download(name, source, options, folder)))

    return _made_once(file, make)


def fetched_file(file: Path, url: str, md5: str) -> Path:
    """Return `file`, downloaded on first use; its MD5 sum is checked, of a file put there too.

    Raises MachineError if the folder cannot be written or the download fails, DataError if the
    sum is another one.
    """
    from torchvision.datasets.utils import check_md5, download_url

    def make() -> None:
        partial = file.with_name(f".{file.name}.partial")
        put = f"put {file.name} there (from {url}, MD5 {md5})"
        try:
            with _downloading(file.stem, file.parent, lambda: put):
                download_url(url, str(file.parent), partial.name, md5)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)

    _made_once(file, make)
    if not check_md5(file, md5):
        raise DataError(
            f"{file} is not the file of that name in {url} (its MD5 sum is not {md5}): delete it "
            "to have it fetched again"
        )
    return file


def _made_once(file: Path, make: Callable[[], None]) -> Path:
    """Return `file`; `make` writes it if it is missing. MachineError if it cannot be written."""
    if file.exists():
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # two runs must not write one download
        with FileLock(file.with_name(f".{file.stem}.lock")):
            if not file.exists():
                make()
    except OSError as error:
        raise MachineError(
            f"{file} cannot be written ({error.strerror or error}): make room, or choose another "
            "--data-dir"
        ) from None
    return file


def _download(name: str, source: str, options: Sequence[dict[str, Any]], folder: Path) -> list[Any]:
    """Download the parts as torchvision's data sets; it checks the MD5 sums."""
    import torchvision.datasets as sources

    dataset_class: Any = getattr(sources, source)
    raw = folder / "raw"

    def by_hand() -> str:
        return (
            f"put {name}.npz there (keys train_images, train_labels, test_images, test_labels, "
            f"classes), or the original files in {raw}: {original_files(dataset_class)}"
        )

    with _downloading(name, folder, by_hand):
        return [dataset_class(raw, download=True, **part) for part in options]


@contextlib.contextmanager
def _downloading(name: str, folder: Path, by_hand: Callable[[], str]) -> Iterator[None]:
    """Turn the failures of a download into a MachineError that says what to do by hand."""
    timeout = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(TIMEOUT)  # torchvision has no timeout of its own
        yield
    except DOWNLOAD_ERRORS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(": ")
        raise MachineError(
            f"{name} is not in {folder} and could not be downloaded ({reason}): {by_hand()}"
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)


def original_files(source: Any) -> str:
    """List the original files, as torchvision looks for them below its root, with MD5 sums."""
    if hasattr(source, "md5"):  # EMNIST; it inherits MNIST's `resources`
        pairs = [(f"{source.__name__}/raw/{source.url.rpartition('/')[2]}", source.md5)]
    elif hasattr(source, "resources"):  # MNIST and its kin
        pairs = [(f"{source.__name__}/raw/{file}", md5) for file, md5 in source.resources]
    elif hasattr(source, "split_list"):  # SVHN
        pairs = [(entry[1], entry[2]) for key, entry in source.split_list.items() if key != "extra"]
    else:  # CIFAR, STL-10
        pairs = [(source.filename, source.tgz_md5)]
    return ", ".join(f"{file} (md5 {md5})" for file, md5 in pairs)


def _npz_arrays(name: str, parts: Sequence[Any]) -> dict[str, Any]:
    """Collect the arrays of `NAME.npz` from the training and the test part."""
    arrays: dict[str, Any] = {"classes": np.array(_class_names(name, parts[0]))}
    for part, data in zip(("train", "test"), parts, strict=True):
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = to_arrays(name, data)
    return arrays


def _class_names(name: str, data: Any) -> list[str]:
    """Return the class names in label order."""
    if name == "emnist-letters":
        return [chr(ord("a") + k) for k in range(26)]
    if name == "svhn":
        return [str(k) for k in range(10)]
    return [str(c).split(" - ")[0] for c in data.classes]  # MNIST calls them "0 - zero"


def to_arrays(name: str, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Convert torchvision's layouts → [N, H, W(, C)] uint8, [N] int64."""
    images = np.asarray(data.data)
    labels = np.asarray(getattr(data, "targets", getattr(data, "labels", None)), np.int64)
    if name in ("svhn", "stl10"):  # [N, C, H, W]
        images = images.transpose(0, 2, 3, 1)
    if name == "emnist-letters":  # stored lying on the side, labels from 1
        images, labels = images.transpose(0, 2, 1), labels - 1
    return images, labels


def _save_npz(file: Path, arrays: dict[str, Any]) -> None:
    """Write the arrays whole or not at all."""
    # not `write_atomic`: np.savez streams, and the whole archive need not fit in memory twice
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as handle:
            np.savez(handle, **arrays)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
