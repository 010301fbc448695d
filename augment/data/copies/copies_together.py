"""Copies of one image become one group, which the split keeps on one side.

Copies are found by their pixels (`near_duplicates`) and by names that say so (`001_flip.png`).
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Container, Hashable, Sequence

import numpy as np
import torch

from augment.data.copies.near_duplicates import TooManyImages, copy_pairs, refuse_many
from augment.data.layouts.folder_words import is_version_folder
from augment.data.pictures.mapped import take
from augment.data.raw import RawDataset, first_names
from augment.data.subset import linked_units

# more copies of one image than this, or than this share of all, are a series of similar pictures
MOST_COPIES, MOST_COPIES_SHARE = 8, 0.05
MAX_SOURCE_SHARE = 0.5  # of a folder's files: a stem that more of them share names no image
MOST_VERSIONS = 64  # of one image: more, and most of a class, are a class called rolled-in_scale
# words that people and augmentation tools append to the name of what they copied, or put before it
_WORD = (
    r"(?:aug(?:mented)?|h?flip(?:ped|lr|ud)?|vflip|mirror(?:ed)?|rot(?:ate|ated|ation)?|turn(?:ed)?|"
    r"bright(?:er|ness|ened)?|dark(?:er|ened)?|contrast|gamma|nois[ey]|blur(?:red|ry)?|"
    r"sharp(?:en|ened)?|crop(?:ped)?|zoom(?:ed)?|shift(?:ed)?|translated?|shear(?:ed)?|scaled?|hue|"
    r"saturation|colou?r|jitter|(?:final[_\-])?masked|segmented|gr[ae]y(?:scale)?|transposed?|elastic|distort(?:ed)?|resized?|thumb(?:nail)?|copy)"
    r"(?:[_\-]?(?:\d+|lr|ud|h|v|x|y|horizontal(?:ly)?|vertical(?:ly)?|deg))*"
)
# Keras: the name of the image as prefix, the number in the batch, a random number
_KERAS = re.compile(r"aug(?:mented)?[ _\-]+(.+)_\d+_\d+", re.IGNORECASE)
_INNER = re.compile(r"(.+)[._](?:jpe?g|png|bmp|tiff?|gif|webp)(?=[ _.\-])", re.IGNORECASE)
_ADDITIONS = (
    re.compile(rf"[ _.\-]+\(?{_WORD}\)?(?: \(\d+\))?$", re.IGNORECASE),
    re.compile(rf"^{_WORD}[ _.\-]+", re.IGNORECASE),
    re.compile(r"\.rf\.[0-9a-z]{8,}$", re.IGNORECASE),  # Roboflow: NAME_jpg.rf.HASH.jpg
    # Augmentor: CLASS_original_NAME.png_UUID.png
    re.compile(r"^.+_original_(?=.+\.\w+_[0-9a-f]{8}-)|\.\w+_[0-9a-f]{8}-[0-9a-f\-]{27}$"),
)


def join_copies(raw: RawDataset, notes: list[str]) -> list[str]:
    """Return the group of each image, where copies of one image share a group; noted.

    Equal images are linked by the split itself. A set without copies keeps the groups that it has.
    """
    groups = raw.groups or [""] * len(raw.files)
    links = np.concatenate([_links_by_pixels(raw, notes), _links_by_name(raw.files, raw.labels)])
    if not len(links):
        return groups
    copy_of = _components(links, len(raw.files))  # [N]
    is_copy = np.bincount(copy_of)[copy_of] > 1
    # a given group that has a copy of an image of another one is joined with it
    units = linked_units(groups, copy_of.tolist())
    touched = {unit for unit, copy in zip(units, is_copy, strict=True) if copy}
    names: dict[Hashable, str] = {}
    for unit, group, file in sorted(
        zip(units, groups, raw.files, strict=True), key=lambda u: not u[1]
    ):
        names.setdefault(unit, group or f"copies of {file}")
    first: dict[int, str] = {}
    pairs = [
        f"{file} ≈ {first[copy]}"
        for file, copy, joined in zip(raw.files, copy_of.tolist(), is_copy, strict=True)
        if joined and first.setdefault(copy, file) != file
    ]
    look = (
        "1 image looks like a copy of another or is named so"
        if len(pairs) == 1
        else f"{len(pairs)} images look like copies of others or are named so"
    )
    notes.append(f"{look}; copies stay on one side of the split: {first_names(pairs)}")
    return [
        names[unit] if unit in touched else group for unit, group in zip(units, groups, strict=True)
    ]


def _links_by_pixels(raw: RawDataset, notes: list[str]) -> np.ndarray:
    """Find pairs [P, 2] of images that are one image; noted where that cannot be told."""
    first = [*{key: i for i, key in reversed([*enumerate(raw.hashes)])}.values()]  # of equal images
    distinct = torch.tensor(sorted(first))
    try:
        refuse_many(len(distinct) ** 2 // 2)  # before many are selected
        pairs, _ = copy_pairs(take(raw.images, raw.mapped, distinct)[0])
    except TooManyImages:
        notes.append("too many images to look for near-copies")
        return np.empty((0, 2), int)
    links = distinct[pairs].numpy()
    if not len(links):
        return links
    component = _components(links, len(raw.files))
    sizes = np.bincount(component)[component]  # [N]
    similar = sizes > max(MOST_COPIES, MOST_COPIES_SHARE * len(raw.files))
    if similar.any():
        names = [file for file, alike in zip(raw.files, similar, strict=True) if alike]
        notes.append(
            f"{len(names)} images look nearly alike, too many for copies of one: the split may "
            f"separate them: {first_names(names)}"
        )
    return links[~similar[links[:, 0]]]


def _links_by_name(files: Sequence[str], labels: Sequence[int]) -> np.ndarray:
    """Find pairs [P, 2] of files of one folder of which names say that they are one image.

    Folders that are versions of each other, as Original/cat and Augmented/cat, count as one, but
    for images of different classes: the versions may be the classes.
    """
    sources: dict[tuple[str, str], list[int]] = defaultdict(list)  # folder, source → indices
    named = [(folder, posixpath.splitext(name)[0]) for folder, name in map(posixpath.split, files)]
    folders = {folder: _without_version(folder) for folder, _ in named}
    stems: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for folder, stem in named:
        stems[folders[folder]][stem].add(folder)
    for i, (folder, stem) in enumerate(named):
        key = folders[folder]
        source = _inner_name(stem, stems[key]) or _source(stem)
        sources[key, _counted_source(source, folder, stems[key])].append(i)
    n_files = Counter(folders[folder] for folder, _ in named)
    n_of_class = Counter(
        (folders[folder], label) for (folder, _), label in zip(named, labels, strict=True)
    )
    links = [
        (same[0], i)
        for (folder, source), same in sources.items()
        if len(same) > 1
        and len(same) <= MAX_SOURCE_SHARE * n_files[folder]
        and len(same) <= max(MOST_VERSIONS, MAX_SOURCE_SHARE * n_of_class[folder, labels[same[0]]])
        and (any(named[i][1] != source for i in same) or len({named[i][0] for i in same}) > 1)
        for i in same[1:]
        if labels[i] == labels[same[0]] or named[i][0] == named[same[0]][0]
    ]
    return np.array(links, int).reshape(-1, 2)


def _without_version(folder: str) -> str:
    """Take the names of versions out of a folder's path."""
    return "/".join(each for each in folder.split("/") if not is_version_folder(each))


def _counted_source(stem: str, folder: str, stems: dict[str, set[str]]) -> str:
    """Strip the counter of a copy, 1_02, where another version of its folder holds the image, 1."""
    shorter = re.sub(r"[_\-]\d+$", "", stem)
    return shorter if stems.get(shorter, set()) - {folder} else stem


def _inner_name(stem: str, stems: Container[str]) -> str:
    """Return the image whose whole name, suffix and all, stands in a name; or "".

    A tool may have put something before it: cat_original_M1.jpg_01b0dcb3.
    """
    found = _INNER.match(stem)
    inner = found[1] if found else ""
    while inner and inner not in stems:
        inner = re.sub(r"^[^ _.\-]*[ _.\-]?", "", inner, count=1)
    return inner


def _source(stem: str) -> str:
    """Strip from a file's name what says that it is a copy."""
    while stem != (shorter := _strip(stem)):
        stem = shorter
    return stem


def is_copy_name(stem: str) -> bool:
    """Tell whether the name of a file says that it is a copy of another one."""
    return _source(stem) != stem


def _strip(stem: str) -> str:
    """Strip one such word, unless nothing would be left."""
    if found := _KERAS.fullmatch(stem):
        return found[1]
    for addition in _ADDITIONS:
        if shorter := addition.sub("", stem, count=1):
            stem = shorter
    return stem


def _components(links: np.ndarray, n: int) -> np.ndarray:
    """Number the connected components of links [P, 2] between n images: [n]."""
    # imported here: most sets have no copies, and need not wait for it
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n, n))
    return connected_components(graph, directed=False)[1]
