"""DATASETS by name or path → a pool that labelled subsets are taken from, and a test set.

`load_dataset("cifar10")` downloads once into the data folder; `load_dataset("./images")` reads a
folder of images or an .npz. The test set is split off before anything else happens.
"""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augment.data.boxes.pictures import boxed_side
from augment.data.boxes.reading import read_boxes
from augment.data.boxes.split import split_boxes
from augment.data.boxes.task import boxes_to_learn
from augment.data.copies.near_duplicates import near_copies
from augment.data.download import cached_npz
from augment.data.folder import NO_FLAGS, read_folder
from augment.data.images import resize
from augment.data.layouts.direction_names import direction_notes
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.medmnist import MEDMNIST, SIZES, file_name, read_medmnist, refuse_other_medmnist
from augment.data.npz import read_npz
from augment.data.pictures.framing import SIDES, Framing
from augment.data.raw import MAX_NAMES, RawDataset, notes_on_error
from augment.data.split import TEST_SHARE, Dataset, split
from augment.errors import DataError, UsageError, unknown
from augment.runtime.machine import data_dir as default_data_dir


@dataclass(frozen=True)
class NamedDataset:
    """A data set known by name: what it is, the transforms that suit it, where it comes from."""

    about: str  # one line for `augment list`
    classic: str  # key of CLASSIC
    torchvision: str | None = None  # class in torchvision.datasets
    # keyword arguments of that class for its training part and its test part
    options: tuple[dict[str, Any], dict[str, Any]] = ({"train": True}, {"train": False})
    medmnist: bool = False  # in MEDMNIST; with neither it is embedded

    def files(self, name: str) -> list[str]:
        """List the names of its files in the data folder, of which one is enough."""
        if self.medmnist:
            return [file_name(name, side) for side in SIZES]
        return [f"{name}.npz"] if self.torchvision else []


ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
SPLIT_OPTIONS = ({"split": "train"}, {"split": "test"})
LETTER_OPTIONS = ({"split": "letters", "train": True}, {"split": "letters", "train": False})

DATASETS: dict[str, NamedDataset] = {
    "digits": NamedDataset("1,797 digits 8×8 grey, embedded in scikit-learn", "document"),
    "mnist": NamedDataset("70,000 digits 28×28 grey", "document", "MNIST"),
    "fashion-mnist": NamedDataset("70,000 clothes 28×28 grey", "natural", "FashionMNIST"),
    "kmnist": NamedDataset("70,000 kana 28×28 grey", "document", "KMNIST"),
    "emnist-letters": NamedDataset(
        "145,600 letters 28×28 grey", "document", "EMNIST", LETTER_OPTIONS
    ),
    "cifar10": NamedDataset("60,000 photographs 32×32 colour", "natural", "CIFAR10"),
    "cifar100": NamedDataset("60,000 photographs 32×32 colour, 100 classes", "natural", "CIFAR100"),
    "svhn": NamedDataset("99,289 house numbers 32×32 colour", "document", "SVHN", SPLIT_OPTIONS),
    "stl10": NamedDataset("13,000 photographs 96×96 colour", "natural", "STL10", SPLIT_OPTIONS),
    **{
        name: NamedDataset(
            f"{found.about}; MedMNIST, 28, 64, 128, 224 px", found.classic, medmnist=True
        )
        for name, found in MEDMNIST.items()
    },
}


def load_dataset(
    name: str,
    *,
    size: Framing | int | None = None,
    data_dir: Path | None = None,
    skip_bad: bool = False,
    drop_small_classes: bool = False,
    reading: ReadingFlags = NO_FLAGS,
) -> Dataset[Any]:
    """Load by name (from the cache, else downloaded once) or by path: `task` tells of what kind.

    `size` is the longer side in pixels, or a Framing that says more; None keeps the native size
    where it is small, else chooses one.
    Raises UsageError for an unknown name, DataError for unusable data, MachineError when offline.
    """
    if reading and name in DATASETS:
        raise UsageError(f"--dataset {name} is known: flags on tables and folders are for paths")
    if reading.task == "detect" and (name in DATASETS or Path(name).expanduser().is_file()):
        raise UsageError(f"--dataset {name} has classes, no boxes: leave --task detect out")
    if name == "digits":
        side = Framing.of(size).size
        digits = embedded_digits(side if isinstance(side, int) else None)
        return split(name, digits, "document", 0.5)
    if name in DATASETS:
        raw = _read_named(name, size, default_data_dir(data_dir))
        return split(name, raw, DATASETS[name].classic, TEST_SHARE, drop_small=drop_small_classes)
    refuse_other_medmnist(name)
    if not name or not _looks_like_path(name):
        raise unknown("dataset", name, [*DATASETS, "or a path such as ./images"])
    path = Path(os.path.expanduser(name))
    boxes, note = boxes_to_learn(path, reading) if path.is_dir() else (None, "")
    if boxes:
        raw = read_boxes(
            path, boxes, boxed_side(Framing.of(size)), skip_bad=skip_bad, flags=reading
        )
        return split_boxes(name, raw, drop_small=drop_small_classes)
    with notes_on_error([note] if note else []):
        raw = _read_path(path, size, skip_bad, reading, data_dir)
    raw.notes += [note] if note else []
    # colour is taken for photographs, which may be mirrored; grey for scans, which may not
    classic = "natural" if raw.images.shape[1] == 3 else "document"
    with notes_on_error(raw.notes):
        data = split(name, raw, classic, TEST_SHARE, drop_small=drop_small_classes)
    data.notes.extend(_label_conflicts(raw))
    data.notes.extend(direction_notes(data.pool.classes, classic))
    if data.official_test:  # else `split` keeps copies on one side
        data.notes.extend(near_copies(data.pool, data.test, data.pool_files, data.test_files))
    return data


def _read_named(name: str, size: Framing | int | None, folder: Path) -> RawDataset:
    """Read a data set known by name from the data folder, downloaded on first use."""
    named = DATASETS[name]
    if named.medmnist:
        return read_medmnist(name, size, folder)
    file = cached_npz(name, str(named.torchvision), named.options, folder)
    try:
        # whatever the machine: tables of one set can be compared
        return read_npz(file, dataclasses.replace(Framing.of(size), affords=SIDES[0]))
    except DataError as error:
        raise DataError(f"{error}; delete {file} to have it fetched again") from None


def _label_conflicts(raw: RawDataset) -> list[str]:
    """Note the images that carry two labels, the first MAX_NAMES of them."""
    files_by_label: dict[bytes, dict[int, str]] = defaultdict(dict)  # pixels → label → first file
    for key, label, file in zip(raw.hashes, raw.labels, raw.files, strict=True):
        files_by_label[key].setdefault(label, file)
    conflicts = [files for files in files_by_label.values() if len(files) > 1]
    return [
        "one picture is labelled "
        + " and ".join(f"{raw.classes[label]} ({file})" for label, file in sorted(files.items()))
        for files in conflicts[:MAX_NAMES]
    ]


def _looks_like_path(name: str) -> bool:
    """Tell a path from a misspelt name: a slash, a dot first, an .npz ending, or it exists."""
    return (
        os.sep in name
        or name.startswith((".", "~"))
        or name.endswith(".npz")
        or Path(name).exists()
    )


def _read_path(
    path: Path,
    size: Framing | int | None,
    skip_bad: bool,
    flags: ReadingFlags,
    data_dir: Path | None,
) -> RawDataset:
    """Read a user's folder or .npz."""
    if not path.exists():
        raise UsageError(f"--dataset {path}: no such folder or file")
    if path.is_dir():
        return read_folder(path, size, skip_bad=skip_bad, flags=flags, data_dir=data_dir)
    if flags:
        raise UsageError(f"{path} is no folder, so no flag can say how its tables are read")
    if path.suffix == ".npz" and path.is_file():
        return read_npz(path, size)
    unpack = "; unpack it, and give the folder" if path.suffix in ARCHIVES else ""
    raise DataError(f"{path} is neither a folder of images nor an .npz file{unpack}")


def embedded_digits(size: int | None = None) -> RawDataset:
    """Read scikit-learn's handwritten digits, grey levels 0…16 scaled to 0…255."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = torch.from_numpy(np.round(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    n = len(images)  # images is [N, 1, 8, 8]
    files = [f"digits/{i}" for i in range(n)]
    images = resize(images, size) if size else images
    return RawDataset(images, bunch.target.tolist(), [str(k) for k in range(10)], [""] * n, files)
