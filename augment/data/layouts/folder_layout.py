"""What the folders on an image's path mean: wrapper, split, class, group. No image is opened.

A pure function of the paths. Where two readings are possible the layout holds a refusal, a
sentence that names both, and no image gets a class.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from augment.data.layouts.class_level import OUTSIDE, at_level
from augment.data.layouts.entries import SPLITS, LeftOut, Place, folders_below
from augment.data.layouts.folder_levels import read_levels
from augment.data.layouts.folder_words import is_media_folder, split_word, with_dates
from augment.data.layouts.masks import without_masks
from augment.data.layouts.reading_flags import ReadingFlags
from augment.data.layouts.split_folders import parted_names, split_folders
from augment.data.layouts.unlabelled import UNKNOWN, without_flat_test, without_unlabelled
from augment.data.raw import first_names

COPIES = "copies of the set inside itself"


@dataclass
class FolderLayout:
    """Class, split and group of each image as its folders tell them."""

    places: list[Place]
    base: str = ""  # the folder that holds the splits or classes, with a slash; "" is the root
    parts: dict[str, str] = field(default_factory=dict)  # folder of a split → split
    left_out: LeftOut = field(default_factory=lambda: defaultdict(list))
    levels: str = ""  # what was taken for classes and groups; "" where that is plain
    refusal: str = ""  # why the folders tell no classes

    def named_splits(self, splits: set[str]) -> list[str]:
        """List the splits, with their folders where one has several or another name."""
        found = []
        for split in sorted(splits):
            own = sorted(name for name, of in self.parts.items() if of == split)
            plain = len(own) == 1 and split_word(own[0])
            found.append(split if plain else f"{split} ({', '.join(own)})")
        return found


def understand_folders(images: list[str], folders: list[str], flags: ReadingFlags) -> FolderLayout:
    """Find the meaning of each level of folders from the paths of images and all folders."""
    layout = FolderLayout([])
    images = without_masks(images, layout.left_out)
    places = [Place(path, tuple(path.split("/")[:-1])) for path in images]
    if flags.class_level:
        whole = FolderLayout([])
        _without_wrappers(places, whole)
        copies = set(whole.left_out[COPIES])
        layout.left_out[COPIES] += sorted(copies)
        layout.places, layout.levels, layout.refusal = at_level(
            [place for place in places if place.path not in copies],
            flags.class_level,
            layout.left_out,
        )
        return layout
    dates = {dirs: with_dates(dirs) for dirs in {place.dirs for place in places}}
    places = [place._replace(dirs=dates[place.dirs]) for place in places]
    places = _without_wrappers(places, layout)
    if layout.refusal:
        return layout
    places, in_names = parted_names(places)
    names = dict.fromkeys(place.dirs[0] for place in places if place.dirs)
    depth = layout.base.count("/")
    visible = [f.split("/")[depth:] for f in folders if f.startswith(layout.base)]
    parts, layout.refusal = split_folders(places, list(names), visible)
    if parts:
        beside = [name for name in names if name not in parts]
        layout.left_out["folders beside train/"] += beside
        layout.left_out["unlabelled images"] += [
            p.path for p in places if p.dirs and parts.get(p.dirs[0]) == "unlabelled"
        ]
        layout.parts = {name: split for name, split in parts.items() if split != "unlabelled"}
        order = sorted(layout.parts, key=lambda name: (layout.parts[name], name))
        top_level = [p for p in places if not p.dirs]
        places = [q for name in order for q in _inside(places, name, layout.parts[name])]
        layout.left_out["images beside train/"] += [p.path for p in top_level]
    elif not layout.refusal:
        places = without_unlabelled(places, names, layout.base, layout.left_out)
    if not layout.refusal:
        loose = [place.path for place in places if not place.dirs]
        layout.left_out[OUTSIDE] += loose
        inside = [place for place in places if place.dirs]
        layout.places, layout.levels, layout.refusal = read_levels(inside, flags)
        layout.levels = layout.levels or in_names
    return layout


def _without_wrappers(places: list[Place], layout: FolderLayout) -> list[Place]:
    """Go down while a single folder holds everything; leave out copies of the set inside itself."""
    while True:
        places = without_flat_test(_without_copies(places, layout), layout.left_out)
        tops = {place.dirs[0] for place in places if place.dirs}
        if len(tops) != 1 or layout.refusal:
            return places
        (top,) = tops
        inside = [place for place in places if place.dirs]
        direct = [place for place in inside if len(place.dirs) == 1]
        below = {place.dirs[1] for place in inside if len(place.dirs) > 1}
        few = len(below) > 1 and 2 * len(direct) < len(inside)
        if top.lower() in SPLITS or not below or (direct and not few):
            return places
        layout.left_out[OUTSIDE] += [place.path for place in places if not place.dirs]
        layout.base += f"{top}/"
        places = [place.below() for place in inside]


def _without_copies(places: list[Place], layout: FolderLayout) -> list[Place]:
    """Leave out a folder that repeats what stands beside it: set/set/cat beside set/cat."""
    children = folders_below(places)
    for top in list(children):
        shared = children[top] & children.keys() - {top}
        if not shared:
            continue
        own = {
            place.path.removeprefix(f"{layout.base}{top}/")
            for place in places
            if place.dirs[:1] == (top,)
        }
        rest = {
            place.path.removeprefix(layout.base) for place in places if place.dirs[:1] != (top,)
        }
        if own <= rest:
            layout.left_out[COPIES] += [p.path for p in places if p.dirs[:1] == (top,)]
            places = [place for place in places if place.dirs[:1] != (top,)]
        elif len(shared) > 1 or shared == children[top]:
            layout.refusal = (
                f"{layout.base}{top}/ holds folders of the same names as beside it "
                f"({first_names(sorted(shared))}): give the path of one of the two, or move it away"
            )
    return places


def _inside(places: list[Place], name: str, split: str) -> list[Place]:
    """Take the images of a split, without the wrappers in it: seg_train/seg_train/, images/.

    Of test/test/ and test/unknown/ none has a class.
    """
    found = [p.below()._replace(split=split) for p in places if p.dirs[:1] == (name,)]
    while True:
        tops = {place.dirs[:1] for place in found}
        if len(tops) != 1 or tops == {()}:
            return found
        ((top,),) = tops
        flat = split == "test" and (top == name or top.lower() in UNKNOWN)
        deeper = all(len(place.dirs) > 1 for place in found)
        if not (is_media_folder(top) or (top == name and deeper) or flat):
            return found
        found = [place.below() for place in found]
