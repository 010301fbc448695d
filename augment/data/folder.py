"""A user's own images: a folder a class, a `metadata.csv`, or an `.npz`. Nothing there is changed.

Pixel formats: 1, L, LA, 16-bit → grey; everything else → RGB; one colour picture makes the whole
set RGB. Transparent pictures are laid on white. 16-bit values are scaled by the bit depth that the
set really uses (12-bit pictures keep their levels). EXIF rotation is applied.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from augment.data.images import resize
from augment.errors import DataError

SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".pgm",
        ".ppm",
        ".pbm",
        ".pnm",
        ".jp2",
        ".tga",
    ]
)
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
MAX_PIXELS = 50_000_000  # larger pictures are refused before they are decoded
NATIVE_LIMIT, DEFAULT_SIZE = 64, 32  # sides kept as they are up to 64 pixels, else made 32
UNREADABLE = (
    OSError, UnidentifiedImageError, SyntaxError, ValueError,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


@dataclass
class Found:
    """What a reader found, before it is split: one entry an image in every list."""

    images: Tensor  # [N, C, H, W] uint8
    labels: list[int]
    classes: list[str]
    splits: list[str]  # "train", "val", "test", or "" where none is given
    files: list[str]
    groups: list[str] | None = None  # e.g. the patient; a group never straddles a split
    notes: list[str] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)  # file, reason


@dataclass(frozen=True)
class Entry:
    """One picture on the disk, not yet opened."""

    path: Path
    name: str  # relative to the root, for messages and the manifest
    label: str
    split: str = ""
    group: str = ""


def read_path(path: Path, size: int | None, *, skip_bad: bool = False) -> Found:
    """Read a user's data set; DataError names the file at fault."""
    if path.suffix == ".npz":
        return read_npz(path, size)
    if not path.is_dir():
        raise DataError(f"{path} is neither a folder of images nor an .npz file")
    notes: list[str] = []
    if (path / "metadata.csv").is_file():
        entries = list(metadata_entries(path))
    else:
        entries = list(folder_entries(path, notes))
    if not entries:
        raise DataError(f"{path} holds no images: expected one folder a class, or a metadata.csv")
    return read_entries(entries, size, notes, skip_bad=skip_bad)


def folder_entries(root: Path, notes: list[str]) -> Iterator[Entry]:
    """One folder a class, with or without train/ val/ test/ above them."""
    tops = {name.name.lower(): name for name in visible_folders(root, notes)}
    if "train" in tops:
        parts = [(SPLITS[name], folder) for name, folder in tops.items() if name in SPLITS]
        strange = sorted(set(tops) - set(SPLITS))
        if strange:
            notes.append(f"left out beside train/: {', '.join(strange)}")
    else:
        parts = [("", root)]
    for split, part in sorted(parts):
        for folder in visible_folders(part, notes):
            files = list(image_files(folder, root.resolve(), notes))
            if not files:
                raise DataError(
                    f"class folder {folder} holds no image ({', '.join(sorted(SUFFIXES))}): "
                    "fill it or take it away"
                )
            for file in files:
                yield Entry(file, file.relative_to(root).as_posix(), folder.name, split)


def visible_folders(folder: Path, notes: list[str]) -> list[Path]:
    """Sub-folders in name order, without hidden ones and links (noted)."""
    kept = []
    for item in sorted(folder.iterdir()):
        if not item.is_dir() or item.name == "__MACOSX":
            continue
        if item.name.startswith(".") or item.is_symlink():
            notes.append(f"left out {'link' if item.is_symlink() else 'hidden folder'} {item.name}")
        else:
            kept.append(item)
    return kept


def image_files(folder: Path, root: Path, notes: list[str]) -> Iterator[Path]:
    """Image files below a class folder; links that lead out of the tree are left out, noted."""
    for place, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(place) / name
            if name.startswith(".") or file.suffix.lower() not in SUFFIXES:
                continue
            if file.is_symlink() and not file.resolve().is_relative_to(root):
                notes.append(f"left out {file}: a link out of the folder")
            else:
                yield file


def metadata_entries(root: Path) -> Iterator[Entry]:
    """Rows of `metadata.csv`: file_name,label[,group,split]."""
    table = pd.read_csv(root / "metadata.csv", dtype=str, keep_default_na=False)
    missing = {"file_name", "label"} - set(table.columns)
    if missing:
        raise DataError(f"{root / 'metadata.csv'} lacks the column {' and '.join(sorted(missing))}")
    for row in table.to_dict("records"):
        file, split = root / row["file_name"], row.get("split", "").lower()
        if not file.resolve().is_relative_to(root.resolve()):
            raise DataError(f"{root / 'metadata.csv'} names {row['file_name']}, outside its folder")
        if split and split not in SPLITS:
            raise DataError(
                f"{root / 'metadata.csv'}: split '{split}' is none of {', '.join(SPLITS)}"
            )
        yield Entry(
            file, row["file_name"], row["label"], SPLITS.get(split, ""), row.get("group", "")
        )


def read_entries(
    entries: list[Entry], size: int | None, notes: list[str], *, skip_bad: bool
) -> Found:
    """Decode all pictures, in threads, at one size and one number of channels."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        heads = list(pool.map(head, entries))
        sizes = Counter((h[0], h[1]) for h in heads if not isinstance(h, str))
        target = choose_size(sizes, size)
        pixels = list(
            pool.map(lambda e, h: h if isinstance(h, str) else decode(e, target), entries, heads)
        )
    bad = [(e.name, p) for e, p in zip(entries, pixels, strict=True) if isinstance(p, str)]
    if bad and not skip_bad:
        listed = "; ".join(f"{name} ({why})" for name, why in bad[:3])
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise DataError(
            f"{len(bad)} unreadable images: {listed}{more}: mend them or pass --skip-bad"
        )
    kept = [(e, p) for e, p in zip(entries, pixels, strict=True) if not isinstance(p, str)]
    if not kept:
        raise DataError("no image could be read")
    modes = Counter(h[2] for h in heads if not isinstance(h, str))
    if len(modes) > 1:
        notes.append(f"pixel formats: {', '.join(f'{m} {n}' for m, n in modes.most_common())}")
    if len(sizes) > 1:
        notes.append(f"{len(sizes)} picture sizes, all resized to {target[0]}×{target[1]}")
    if bad:
        notes.append(f"left out {len(bad)} unreadable images: {', '.join(n for n, _ in bad[:5])}")
    classes = sorted({e.label for e in entries})
    return Found(
        stack([p for _, p in kept]),
        [classes.index(e.label) for e, _ in kept],
        classes,
        [e.split for e, _ in kept],
        [e.name for e, _ in kept],
        [e.group for e, _ in kept] if any(e.group for e, _ in kept) else None,
        notes,
        bad,
    )


def choose_size(sizes: Iterable[tuple[int, int]], size: int | None) -> tuple[int, int]:
    """(W, H) for the set: as asked, else native if all are equal and up to 64, else 32."""
    distinct = set(sizes)
    if size:
        return size, size
    if len(distinct) == 1 and max(next(iter(distinct))) <= NATIVE_LIMIT:
        return next(iter(distinct))
    return DEFAULT_SIZE, DEFAULT_SIZE


def head(entry: Entry) -> tuple[int, int, str] | str:
    """(W, H, mode) from the file's head alone, or the reason why it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(entry.path) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    return f"{width}×{height} pixels are more than {MAX_PIXELS:,}"
                turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
                return (height, width, image.mode) if turned else (width, height, image.mode)
    except UNREADABLE as error:
        return reason(error)


def decode(entry: Entry, target: tuple[int, int]) -> np.ndarray | str:
    """The whole picture: [H, W] uint8, [H, W, 3] uint8, or [H, W] float32 for 16-bit grey."""
    try:
        with Image.open(entry.path) as opened:
            opened.load()
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16-bit grey: scaled later, by the set's bit depth
                image = Image.fromarray(np.asarray(image, np.float32))
            elif image.mode == "F":
                return "floating-point pixels have no stated range: save as 8 or 16 bits"
            elif "A" in image.mode or "transparency" in image.info:
                grey = image.mode == "LA"
                image = image.convert("RGBA")
                ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
                image = Image.alpha_composite(ground, image).convert("L" if grey else "RGB")
            elif image.mode not in ("L", "RGB"):
                image = image.convert("L" if image.mode == "1" else "RGB")
            if image.size != target:
                image = image.resize(target, Image.Resampling.BILINEAR)
            return np.asarray(image)
    except UNREADABLE as error:
        return reason(error)


def reason(error: BaseException) -> str:
    """Pillow's message without the path, which the caller names itself."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"more than {MAX_PIXELS:,} pixels"
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


def stack(pixels: list[np.ndarray]) -> Tensor:
    """Pictures of one size → [N, C, H, W] uint8."""
    deep = max((float(p.max()) for p in pixels if p.dtype == np.float32), default=0.0)
    bits = max(8, int(np.ceil(np.log2(deep + 1)))) if deep else 8
    colour = any(p.ndim == 3 for p in pixels)
    rows = np.empty((len(pixels), 3 if colour else 1, *pixels[0].shape[:2]), np.uint8)
    for row, p in zip(rows, pixels, strict=True):
        if p.dtype == np.float32:
            p = np.round(p * (255 / (2**bits - 1))).clip(0, 255)
        row[:] = p.transpose(2, 0, 1) if p.ndim == 3 else p  # grey spreads over three channels
    return torch.from_numpy(rows)


def read_npz(path: Path, size: int | None) -> Found:
    """MedMNIST's keys: {train,val,test}_images [N, H, W] or [N, H, W, C], …_labels [N] or [N, 1].

    `classes` [K] names the classes. Object arrays are refused: nothing is unpickled.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path} cannot be read as an .npz of plain arrays: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    parts = [s for s in ("train", "val", "test") if f"{s}_images" in arrays]
    if "train" not in parts:
        raise DataError(f"{path} has no train_images: it holds {', '.join(arrays) or 'nothing'}")
    images, labels, splits = [], [], []
    for part in parts:
        pixels = arrays[f"{part}_images"]
        if f"{part}_labels" not in arrays:
            raise DataError(f"{path} has {part}_images but no {part}_labels")
        marks = np.asarray(arrays[f"{part}_labels"]).reshape(-1)
        if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or len(pixels) != len(marks):
            raise DataError(
                f"{path}: {part}_images must be [N, H, W(, C)] uint8 with N labels, "
                f"not {pixels.shape} {pixels.dtype} with {len(marks)}"
            )
        if pixels.ndim == 3:
            pixels = pixels[..., None]
        if pixels.shape[-1] not in (1, 3):
            raise DataError(f"{path}: {part}_images has {pixels.shape[-1]} channels, not 1 or 3")
        images.append(torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))))
        labels.append(marks)
        splits += [part] * len(marks)
    marks = np.concatenate(labels)
    if marks.dtype.kind not in "iu" or marks.min() < 0:
        raise DataError(f"{path}: labels must be integers from 0, one an image")
    marks = marks.astype(np.int64)
    count = int(marks.max()) + 1
    classes = [str(c) for c in arrays.get("classes", np.arange(count))]
    if len(classes) < count:
        raise DataError(f"{path}: label {count - 1} has no name among {len(classes)} classes")
    width, height = choose_size({(images[0].shape[-1], images[0].shape[-2])}, size)
    if (height, width) != tuple(images[0].shape[-2:]):
        images = [resize(part, width) for part in images]
    files = [f"{path.name}:{s}/{i}" for s in parts for i in range(splits.count(s))]
    return Found(torch.cat(images), marks.tolist(), classes, splits, files)
