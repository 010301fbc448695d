"""Masks among images: files that mark where something is in an image, and are no image to learn."""

from __future__ import annotations

from collections import defaultdict

from augment.data.layouts.entries import LeftOut
from augment.data.layouts.folder_words import is_media_folder
from augment.data.layouts.mask_words import (
    are_masks_of,
    is_label_folder,
    is_mask_folder,
    is_mask_media,
    is_named_masks,
    mask_of,
    masked_image,
)

MOST = 0.9  # share of a folder's files that must belong to an image elsewhere


def without_masks(images: list[str], left_out: LeftOut) -> list[str]:
    """Leave out the masks of other images: folders beside images/, and NAME_mask beside NAME."""
    stems: dict[str, set[str]] = defaultdict(set)  # by folder; "" at the end of the root's
    for path in images:
        folder, _, name = path.rpartition("/")
        stems[folder].add(name.rpartition(".")[0])
    every = {"/".join(f.split("/")[:n]) for f in stems for n in range(1, f.count("/") + 2) if f}
    media_parents = {f.rpartition("/")[0] for f in every if is_media_folder(f.rpartition("/")[2])}
    masked = tuple(
        f"{folder}/"
        for folder in sorted(every)
        if _holds_masks(folder, stems, media_parents, every)
    )
    kept = []
    for path in images:
        folder, _, name = path.rpartition("/")
        base = mask_of(name.rpartition(".")[0])
        if path.startswith(masked) or (base and base in stems[folder]):
            left_out["masks"].append(path)
        else:
            kept.append(path)
    return kept


def _holds_masks(
    folder: str, stems: dict[str, set[str]], media_parents: set[str], every: set[str]
) -> bool:
    """Tell whether a folder holds masks, by its name and by those of the files in it."""
    parent, _, name = folder.rpartition("/")
    is_label = is_label_folder(name)
    if not (is_label or is_mask_folder(name)):
        return False
    among = parent in media_parents or (parent and stems.get(parent))
    if among and not is_label:
        return True
    inside = [f for f in stems if f"{f}/".startswith(f"{folder}/")]
    own = {stem for f in inside for stem in stems[f]}
    beside = {stem for f in stems if f not in inside for stem in stems[f]}
    sisters = {f.rpartition("/")[2] for f in every if f.rpartition("/")[0] == parent}
    named = is_mask_media(name) or any(are_masks_of(name, sister) for sister in sisters)
    if named:  # mask_7 in mask_image/ is of cat_7 in cat_image/
        beside |= {stem.partition("_")[2] for stem in beside}
    of_others = {stem for stem in own if masked_image(stem, first=named) in beside}
    if len(of_others) < MOST * len(own):
        return False
    # with_mask/1.png beside without_mask/1.png are classes: names of files must tell, else
    return bool(among) or named or is_named_masks(name) or all(map(mask_of, of_others))
