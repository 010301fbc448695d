"""Twins: two files of one folder whose names differ by suffix or a word: 7.jpg, 7.png, 7-d.bmp.

The names do not say what the second file is, so a few pairs are opened: drawn in few flat colours
beside a picture it is a mask, with the same content a preview, and anything else is a question.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

import numpy as np

from augment.data.copies.copies_together import is_copy_name
from augment.data.layouts.mask_words import mask_of
from augment.data.layouts.reading_flags import FOLDERS
from augment.data.pictures.decode import read_picture
from augment.data.pictures.framing import Frame

MASKS, PREVIEWS = "masks", "previews and other versions of one picture"
OPENED_PAIRS = 24  # pairs of one kind that are opened
MOST_PIXELS = 50_000  # of a picture that are looked at
MOST_ALIKE = 0.9  # share of these that must be alike; of the pictures that must have a twin
FLAT_COLOURS, FLAT_SHARE = 32, 0.9  # of a mask; of its pixels in its four commonest colours
TIMES_MORE = 4  # colours of a picture beside those of its mask
LEAST_CORRELATION = 0.97  # of two versions of one picture, 16 pixels a side
_LAST = re.compile(r"(.+?)([^\W\d_]{1,12})")
_FIRST = re.compile(r"([^\W\d_]{1,12})([ _.\-].+)")
_SIGNS = " _.-"
_LOSSLESS = (".ppm", ".pgm", ".bmp", ".png", ".tiff", ".tif", ".dicom", ".dcm")  # the last first


@dataclass
class Twins:
    """What was found in a set: pictures to leave out, by kind, or why they cannot be told."""

    left_out: dict[str, list[str]] = field(default_factory=dict)
    refusal: str = ""


@dataclass
class _Looks:
    """What a picture looks like."""

    colours: int  # of 8 bits a channel
    flat: float  # share of the pixels in the four commonest colours, in steps of four levels
    sketch: np.ndarray  # [256] grey, mean 0, norm 1; zeros for an even picture
    pixels: int


def find_twins(root: Path, images: list[str]) -> Twins:
    """Find the masks and previews among images, by name and by looking at a few pairs.

    Files that cannot be opened tell nothing.
    """
    found = Twins()
    n_images = len(images)
    for pairs in _by_suffix(images) + _by_word(images):
        looks = [_looks(root, pair) for pair in pairs[:: -(-len(pairs) // OPENED_PAIRS)]]
        opened = [each for each in looks if each is not None]
        if not opened:
            continue
        if _share(_is_mask, opened) >= MOST_ALIKE:
            found.left_out.setdefault(MASKS, []).extend(second for _, second in pairs)
        elif _of_two_suffixes(pairs):
            if all(_is_version(*each) for each in opened):
                lesser = _lesser(pairs, opened)
                found.left_out.setdefault(PREVIEWS, []).extend(lesser)
        elif len(pairs) >= MOST_ALIKE * (n_images - len(pairs)) and not _share(_is_version, opened):
            first, second = pairs[0]
            found.refusal = found.refusal or (
                f"each picture has another one named after it ({first} and {second}), which is no "
                "version of it and is not drawn like a mask: move those that are not to be learnt "
                f"out of the set, or pass --labels {FOLDERS} if both are pictures of the class"
            )
    for kind, names in found.left_out.items():
        found.left_out[kind] = sorted(set(names))
    return found


def _by_suffix(images: list[str]) -> list[list[tuple[str, str]]]:
    """List the pairs of files of one name, for each two suffixes in both orders."""
    suffixes: dict[str, list[str]] = defaultdict(list)
    for path in images:
        stem, _, suffix = path.rpartition(".")
        suffixes[stem].append(suffix)
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for stem, own in suffixes.items():
        for one, other in permutations(own, 2):
            pairs[one, other].append((f"{stem}.{one}", f"{stem}.{other}"))
    # either of two may be the mask, and both are the version of the other
    return list(pairs.values())


def _by_word(images: list[str]) -> list[list[tuple[str, str]]]:
    """List the pairs of a picture and one with a word more at the end or the start of its name.

    Words that copies and masks are known by are left to those who know them.
    """
    stems = {path.rpartition(".")[0]: path for path in images}
    pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for stem, path in stems.items():
        folder, slash, name = stem.rpartition("/")
        last, first = _LAST.fullmatch(name), _FIRST.fullmatch(name)
        bases = []
        if last:
            bases += [(last[1], f"…{last[2]}"), (last[1].rstrip(_SIGNS), f"…-{last[2]}")]
        if first:
            bases.append((first[2].lstrip(_SIGNS), f"{first[1]}-…"))
        for base, word in bases:
            other = stems.get(f"{folder}{slash}{base}")
            if other and other != path and not (mask_of(name) or is_copy_name(name)):
                pairs[word.lower()].append((other, path))
                break
    return [each for each in pairs.values() if len(each) > 1]


def _of_two_suffixes(pairs: list[tuple[str, str]]) -> bool:
    """Tell whether the names of a pair are one but for the suffix."""
    first, second = pairs[0]
    return first.rpartition(".")[0] == second.rpartition(".")[0]


def _looks(root: Path, pair: tuple[str, str]) -> tuple[_Looks, _Looks] | None:
    """Open both pictures of a pair; None where one cannot be read."""
    first, second = (_look(root / path) for path in pair)
    return (first, second) if first and second else None


def _look(path: Path) -> _Looks | None:
    """Open one picture at its own size."""
    head = read_picture(path, None)
    if isinstance(head, str):
        return None
    width, height = head.header.width, head.header.height
    whole = read_picture(path, Frame(width, height))
    small = read_picture(path, Frame(16, 16))
    if isinstance(whole, str) or isinstance(small, str) or not (whole.decoded and small.decoded):
        return None
    pixels = whole.decoded.pixels.reshape(width * height, -1).astype(np.float32)
    pixels = pixels[:: -(-len(pixels) // MOST_PIXELS)]
    n_colours = len(np.unique(pixels, axis=0))
    levels = pixels * (64 / max(256, pixels.max() + 1))  # [N, C], steps of four of 256
    counts = np.unique(levels.astype(np.uint8), axis=0, return_counts=True)[1]
    flat = float(np.sort(counts)[-4:].sum() / len(pixels))
    grey = small.decoded.pixels.reshape(256, -1).mean(1)
    grey = grey - grey.mean()
    return _Looks(n_colours, flat, grey / (np.linalg.norm(grey) or 1), width * height)


def _is_mask(picture: _Looks, other: _Looks) -> bool:
    """Tell whether the other one is drawn in few colours, and the picture is not."""
    few = other.colours <= FLAT_COLOURS and other.colours * TIMES_MORE <= picture.colours
    noisy = other.flat >= FLAT_SHARE and picture.flat < FLAT_SHARE / 2  # a mask as JPEG
    return few or noisy


def _is_version(picture: _Looks, other: _Looks) -> bool:
    """Tell whether two pictures have the same content."""
    return float(picture.sketch @ other.sketch) >= LEAST_CORRELATION


def _share(test: Callable[[_Looks, _Looks], bool], opened: list[tuple[_Looks, _Looks]]) -> float:
    """Return the share of pairs that a test holds for."""
    return sum(test(*each) for each in opened) / len(opened)


def _lesser(pairs: list[tuple[str, str]], opened: list[tuple[_Looks, _Looks]]) -> list[str]:
    """Return the files of fewer pixels; of as many, those of the suffix that keeps less."""
    sizes = [sum(each[k].pixels for each in opened) for k in (0, 1)]
    suffixes = [f".{path.rpartition('.')[2]}" for path in pairs[0]]
    ranks = [
        (size, _LOSSLESS.index(suffix.lower()) if suffix.lower() in _LOSSLESS else -1, suffix)
        for size, suffix in zip(sizes, suffixes, strict=True)
    ]
    lesser = 0 if ranks[0] < ranks[1] else 1
    return [pair[lesser] for pair in pairs]
