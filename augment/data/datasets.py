"""DATASETS by name or path → a pool to draw labelled images from, and a test set kept apart."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augment.data.download import cached
from augment.data.folder import SHOWN, Found, read_folder
from augment.data.images import pixel_hashes, resize
from augment.data.near_duplicates import near_copies
from augment.data.npz import read_npz
from augment.data.split import TEST_SHARE, Dataset, split
from augment.errors import DataError, UsageError, unknown
from augment.runtime.machine import data_dir as default_data_dir


@dataclass(frozen=True)
class Named:
    """A data set known by name: how it is fetched, its licence, and its kind of picture."""

    about: str
    classic: str
    torchvision: str | None = None  # class in torchvision.datasets; None: embedded
    options: tuple[dict[str, Any], dict[str, Any]] = ({"train": True}, {"train": False})


SPLIT = ({"split": "train"}, {"split": "test"})


LETTERS = ({"split": "letters", "train": True}, {"split": "letters", "train": False})


DATASETS: dict[str, Named] = {
    "digits": Named("1,797 digits 8×8 grey, embedded in scikit-learn", "document"),
    "mnist": Named("70,000 digits 28×28 grey", "document", "MNIST"),
    "fashion-mnist": Named("70,000 clothes 28×28 grey", "natural", "FashionMNIST"),
    "kmnist": Named("70,000 kana 28×28 grey", "document", "KMNIST"),
    "emnist-letters": Named("145,600 letters 28×28 grey", "document", "EMNIST", LETTERS),
    "cifar10": Named("60,000 photographs 32×32 colour", "natural", "CIFAR10"),
    "cifar100": Named("60,000 photographs 32×32 colour, 100 classes", "natural", "CIFAR100"),
    "svhn": Named("99,289 house numbers 32×32 colour", "document", "SVHN", SPLIT),
    "stl10": Named("13,000 photographs 96×96 colour", "natural", "STL10", SPLIT),
}


def load_dataset(
    name: str,
    *,
    size: int | None = None,
    data_dir: Path | None = None,
    skip_bad: bool = False,
    drop_small_classes: bool = False,
) -> Dataset:
    """Load by name (from the cache, else downloaded once) or by path.

    Raises UsageError for an unknown name, DataError for unusable data, MachineError when offline.
    """
    if name == "digits":
        return split(name, embedded_digits(size), "document", 0.5)
    if name in DATASETS:
        named = DATASETS[name]
        file = cached(name, str(named.torchvision), named.options, default_data_dir(data_dir))
        try:
            found = read_npz(file, size)
        except DataError as error:
            raise DataError(f"{error}; delete {file} to have it fetched again") from None
        return split(name, found, named.classic, TEST_SHARE, drop_small=drop_small_classes)
    if not name or not looks_like_path(name):
        raise unknown("dataset", name, [*DATASETS, "or a path such as ./images"])
    found = read_path(Path(os.path.expanduser(name)), size, skip_bad=skip_bad)
    classic = "natural" if found.images.shape[1] == 3 else "document"
    data = split(name, found, classic, TEST_SHARE, drop_small=drop_small_classes)
    data.notes.extend(clashes(found))
    data.notes.extend(near_copies(data.pool, data.test, data.pool_files, data.test_files))
    return data


def clashes(found: Found) -> list[str]:
    """The pictures that carry two labels, the first SHOWN of them."""
    seen: dict[bytes, dict[int, str]] = defaultdict(dict)
    for key, label, file in zip(pixel_hashes(found.images), found.labels, found.files, strict=True):
        seen[key].setdefault(label, file)
    return [
        "one picture is labelled "
        + " and ".join(f"{found.classes[i]} ({file})" for i, file in sorted(labelled.items()))
        for labelled in [own for own in seen.values() if len(own) > 1][:SHOWN]
    ]


def looks_like_path(name: str) -> bool:
    """A slash, a dot at the start or an .npz ending, or something that exists under this name."""
    return (
        os.sep in name
        or name.startswith((".", "~"))
        or name.endswith(".npz")
        or Path(name).exists()
    )


def read_path(path: Path, size: int | None, *, skip_bad: bool) -> Found:
    """A user's folder or .npz."""
    if not path.exists():
        raise UsageError(f"--dataset {path}: no such folder or file")
    if path.is_dir():
        return read_folder(path, size, skip_bad=skip_bad)
    if path.suffix == ".npz" and path.is_file():
        return read_npz(path, size)
    raise DataError(f"{path} is neither a folder of images nor an .npz file")


def embedded_digits(size: int | None = None) -> Found:
    """scikit-learn's handwritten digits, 0…16 → 0…255."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = torch.from_numpy(np.round(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    n = len(images)
    files = [f"digits/{i}" for i in range(n)]
    images = resize(images, size) if size else images
    return Found(images, bunch.target.tolist(), [str(k) for k in range(10)], [""] * n, files)
