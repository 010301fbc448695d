"""What the name of a folder or a file tells of masks. Pure functions of names."""

from __future__ import annotations

import re
from itertools import pairwise

from augment.data.layouts.folder_words import MEDIA, is_media_folder, tokens

MASKS = set(
    "mask masks groundtruth gt segmentation segmentations annotation annotations "
    "segmentationclass segmentationobject heatmap heatmaps".split()
)
_MASK_NAME = re.compile(
    r"(.+?)[ _.-]+(?:mask|masks|segmentation|seg|gt|groundtruth|annotation|anno|label|labels|"
    r"overlay|heatmap|depth|contour|roi|superpixels)(?:[ _-]?\d+)?",
    re.IGNORECASE,
)
_MASK_FIRST = re.compile(r"(?:masks?|gt|seg|segmentation)[ _.-]+(.+)", re.IGNORECASE)


def mask_of(stem: str) -> str:
    """Return the stem of the picture that a file named so would be the mask of, or ""."""
    found = _MASK_NAME.fullmatch(stem)
    return found[1] if found else ""


def is_mask_folder(name: str) -> bool:
    """Tell whether a folder is named after masks, among other words: "lung masks", gt."""
    words = tokens(name)
    pairs = map("".join, pairwise(words))
    return any(word in MASKS for word in (*words, *pairs, "".join(words)))


def is_named_masks(name: str) -> bool:
    """Tell whether a folder is named after masks alone; "mask" may be what a face wears."""
    return "".join(tokens(name)) in MASKS - {"mask"}


def is_label_folder(name: str) -> bool:
    """Tell whether a folder is called labels, as masks and annotations are."""
    return name.lower() in ("label", "labels")


def masked_image(stem: str, *, first: bool) -> str:
    """Return what a mask's name shares with that of its picture: 7 of 7_mask, `first`: mask_7."""
    found = _MASK_FIRST.fullmatch(stem) if first else None
    return found[1] if found else mask_of(stem) or stem


def is_mask_media(name: str) -> bool:
    """Tell whether a folder is named after masks and pictures alone: mask_image, GT_images."""
    words = set(tokens(name))
    return words <= MASKS | MEDIA and bool(words & MASKS) and bool(words & MEDIA)


def are_masks_of(name: str, of: str) -> bool:
    """Tell whether a folder is named after masks of another one: "Lion GT", Annotation-Lion.

    "face_mask" beside "face" may be what a face wears.
    """
    words, others = tokens(name), tokens(of)
    n = len(others)
    rest = words[n:] if words[:n] == others else words[:-n] if words[-n:] == others else []
    return bool(others) and "".join(rest) in MASKS - {"mask"}


def is_no_class(name: str) -> bool:
    """Tell whether a folder is named after images or masks alone."""
    return is_media_folder(name) or is_label_folder(name) or is_named_masks(name)
