"""DATASETS by name or path → a pool to draw labelled images from, and a test set kept apart."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augment.data.folder import Found, read_npz, read_path
from augment.data.images import LabelledImages, pixel_hashes, resize
from augment.data.subset import hold_out
from augment.errors import DataError, MachineError, UsageError, unknown
from augment.runtime import data_dir as default_data_dir
from augment.runtime import seed_for

TEST_SHARE = 0.2  # of a data set that comes without a test split


@dataclass(frozen=True)
class Dataset:
    """One data set, split: nothing in `test` is ever learnt from or chosen on."""

    name: str
    pool: LabelledImages
    test: LabelledImages
    classic: str  # which label-preserving transforms suit these pictures: a key of CLASSIC
    official_test: bool = True
    pool_files: list[str] = field(default_factory=list)
    test_files: list[str] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)  # file, reason it was left out
    notes: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        """A short hash of all pixels, labels and class names."""
        return f"{seed_for(self.pool.sha, self.test.sha):016x}"


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
    if name in DATASETS:
        folder = default_data_dir(data_dir)
        found = embedded_digits() if name == "digits" else cached(name, folder, size)
        if name == "digits" and size:
            found.images = resize(found.images, size)
        classic, share = DATASETS[name].classic, 0.5 if name == "digits" else TEST_SHARE
    elif looks_like_path(name):
        path = Path(name).expanduser()
        if not path.exists():
            raise UsageError(f"--dataset {name}: no such folder or file")
        found = read_path(path, size, skip_bad=skip_bad)
        classic, share = ("natural" if found.images.shape[1] == 3 else "document"), TEST_SHARE
    else:
        raise unknown("dataset", name, [*DATASETS, "or a path such as ./images"])
    if drop_small_classes:
        drop_small(found)
    return split(name, found, classic, share)


def looks_like_path(name: str) -> bool:
    """A slash, a dot at the start or an .npz ending, or something that exists under this name."""
    return (
        os.sep in name
        or name.startswith((".", "~"))
        or name.endswith(".npz")
        or Path(name).exists()
    )


def split(name: str, found: Found, classic: str, test_share: float) -> Dataset:
    """Found images → pool and test; a picture never stands on both sides."""
    notes, labels = list(found.notes), torch.tensor(found.labels)
    splits = list(found.splits)
    if "test" not in splits and "train" in splits and "val" in splits:
        splits = ["test" if s == "val" else s for s in splits]
        notes.append("no test split: val is the test set")
    hashes = pixel_hashes(found.images)
    official = "test" in splits
    everything = LabelledImages(found.images, labels, tuple(found.classes))
    if official:
        in_test = torch.tensor([s == "test" for s in splits])
        check_groups(found, splits)
        if "val" in splits:
            notes.append("val images join the pool: nothing is chosen on them")
    else:
        units = [g or h for g, h in zip(found.groups or hashes, hashes, strict=True)]
        in_test = torch.tensor(
            hold_out(found.labels, units, found.classes, test_share, everything.sha)
        )
    seen = {h for h, t in zip(hashes, in_test.tolist(), strict=True) if t}
    twins = torch.tensor([h in seen for h in hashes]) & ~in_test
    if twins.any():
        notes.append(f"removed {int(twins.sum())} training images that are also test images")
    in_pool = ~in_test & ~twins
    pool, test = everything.select(in_pool), everything.select(in_test)
    check_classes(pool, test, notes)
    return Dataset(
        name, pool, test, classic, official,
        [f for f, keep in zip(found.files, in_pool.tolist(), strict=True) if keep],
        [f for f, keep in zip(found.files, in_test.tolist(), strict=True) if keep],
        found.bad, notes,
    )  # fmt: skip


def check_groups(found: Found, splits: list[str]) -> None:
    """A group (a patient, a part) on both sides of a given split makes the score untrue."""
    sides = {"train": set(), "test": set()}
    for group, part in zip(found.groups or [], splits, strict=False):
        if group:
            sides["test" if part == "test" else "train"].add(group)
    both = sorted(sides["train"] & sides["test"])
    if both:
        raise DataError(
            f"metadata.csv: group '{both[0]}' ({len(both)} in all) stands in train and in test; "
            "give each group to one side"
        )


def check_classes(pool: LabelledImages, test: LabelledImages, notes: list[str]) -> None:
    """Two classes at least, two images a class to learn from; test classes known to train."""
    if len(pool.classes) < 2:
        raise DataError(f"a single class ('{pool.classes[0]}'): at least two are needed")
    for name, n_pool, n_test in zip(pool.classes, pool.counts(), test.counts(), strict=True):
        if n_pool == 0:
            raise DataError(f"class '{name}' has {n_test} test images but none to learn from")
        if n_pool == 1:
            raise DataError(
                f"class '{name}' has 1 image to learn from, at least 2 are needed: "
                "add images or pass --drop-small-classes"
            )
        if n_test == 0:
            notes.append(f"class '{name}' has no test image: its own scores are empty")


def drop_small(found: Found) -> None:
    """Take out, in place, the classes that have too few images to be split or learnt from."""
    counts = np.bincount(
        [lab for lab, s in zip(found.labels, found.splits, strict=True) if s != "test"],
        minlength=len(found.classes),
    )
    least = 2 if "test" in found.splits else 3
    small = [name for name, n in zip(found.classes, counts, strict=True) if n < least]
    keep = [i for i, lab in enumerate(found.labels) if found.classes[lab] not in small]
    if not keep:
        raise DataError("--drop-small-classes leaves no class")
    kept = [name for name in found.classes if name not in small]
    found.labels = [kept.index(found.classes[found.labels[i]]) for i in keep]
    found.images, found.classes = found.images[keep], kept
    found.splits, found.files = [found.splits[i] for i in keep], [found.files[i] for i in keep]
    found.groups = [found.groups[i] for i in keep] if found.groups else None
    if small:
        found.notes.append(f"dropped small classes: {', '.join(small)}")


def embedded_digits() -> Found:
    """scikit-learn's handwritten digits, 0…16 → 0…255."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = torch.from_numpy(np.round(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    n = len(images)
    files = [f"digits/{i}" for i in range(n)]
    return Found(images, bunch.target.tolist(), [str(k) for k in range(10)], [""] * n, files)


def cached(name: str, folder: Path, size: int | None) -> Found:
    """`folder/NAME.npz`, made on first use from torchvision's download."""
    file = folder / f"{name}.npz"
    if not file.exists():
        download(name, folder, file)
    return read_npz(file, size)


def download(name: str, folder: Path, file: Path) -> None:
    """Fetch through torchvision (which checks its MD5 sums) and convert once, atomically."""
    import torchvision.datasets as sources

    named = DATASETS[name]
    source: Callable[..., Any] = getattr(sources, str(named.torchvision))
    timeout = socket.getdefaulttimeout()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(10)  # seconds; offline must not mean waiting for ever
        parts = [source(folder / "raw", download=True, **options) for options in named.options]
    except (OSError, RuntimeError) as error:
        raise MachineError(
            f"{name} is not in {folder} and could not be downloaded "
            f"({str(error).splitlines()[0]}): put {name}.npz there (keys train_images, "
            f"train_labels, test_images, test_labels, classes), or into {folder / 'raw'} what "
            f"torchvision's {named.torchvision} reads ({originals(source)})"
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)
    arrays: dict[str, Any] = {"classes": np.array(class_names(name, parts[0]))}
    for part, data in zip(("train", "test"), parts, strict=True):
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = to_arrays(name, data)
    partial = file.with_suffix(".partial.npz")
    np.savez(partial, **arrays)
    partial.replace(file)


def originals(source: Any) -> str:
    """The original files and their MD5 sums, as torchvision knows them."""
    if hasattr(source, "resources"):
        pairs = source.resources
    elif hasattr(source, "split_list"):
        pairs = [(entry[1], entry[2]) for key, entry in source.split_list.items() if key != "extra"]
    elif hasattr(source, "tgz_md5"):
        pairs = [(source.filename, source.tgz_md5)]
    else:
        pairs = [("gzip.zip", source.md5)]
    return ", ".join(f"{file} md5 {md5}" for file, md5 in pairs)


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
