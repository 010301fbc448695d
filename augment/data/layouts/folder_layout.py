"""What the folders on an image's path mean: wrapper, split, class, group. No image is opened.

A pure function of the paths. Where two readings are possible the layout holds a refusal, a
sentence that names both, and no image gets a class.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from augment.data.layouts.class_level import OUTSIDE, at_level
from augment.data.layouts.entries import SPLITS, LeftOut, Place
from augment.data.layouts.folder_levels import read_levels
from augment.data.layouts.folder_words import is_media_folder, split_word, splits_among, with_dates
from augment.data.layouts.masks import without_masks
from augment.data.layouts.reading_flags import ReadingFlags
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
        """List the splits, with their folders where one has several: test (test, test_2)."""
        found = []
        for split in sorted(splits):
            own = sorted(name for name, of in self.parts.items() if of == split)
            found.append(f"{split} ({', '.join(own)})" if len(own) > 1 else split)
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
    names = dict.fromkeys(place.dirs[0] for place in places if place.dirs)
    depth = layout.base.count("/")
    visible = [f.split("/")[depth:] for f in folders if f.startswith(layout.base)]
    parts, layout.refusal = _split_folders(places, list(names), visible)
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
    else:
        places = without_unlabelled(places, names, layout.base, layout.left_out)
    if not layout.refusal:
        loose = [place.path for place in places if not place.dirs]
        layout.left_out[OUTSIDE] += loose
        inside = [place for place in places if place.dirs]
        layout.places, layout.levels, layout.refusal = read_levels(inside, flags)
    return layout


def _without_wrappers(places: list[Place], layout: FolderLayout) -> list[Place]:
    """Go down while a single folder holds everything; leave out copies of the set inside itself."""
    while True:
        places = without_flat_test(_without_copies(places, layout), layout.base, layout.left_out)
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
    tops = list(dict.fromkeys(place.dirs[0] for place in places if place.dirs))
    children: dict[str, set[str]] = {top: set() for top in tops}
    for place in places:
        if len(place.dirs) > 1:
            children[place.dirs[0]].add(place.dirs[1])
    for top in tops:
        shared = children[top] & set(tops) - {top}
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


def _split_folders(
    places: list[Place], names: list[str], visible: list[list[str]]
) -> tuple[dict[str, str], str]:
    """Find the folders that are splits: folder → split; or a refusal."""
    families: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name in dict.fromkeys([*names, *(v[0] for v in visible if v)]):
        if found := split_word(name):
            families[found[1]][name] = found[0]
    exact = {name: split for name, split in families[()].items() if name.lower() in SPLITS}
    holding = {p.dirs[0] for p in places if len(p.dirs) > 1} | {v[0] for v in visible if v[1:]}
    for family in families.values():
        splits = {split for name, split in family.items() if name in holding}
        if "train" in splits and len(set(family.values())) > 1:
            return family | _more_tests(places, family, families), ""
    if joined := _joined_families(places, families):
        return joined
    for family in families.values():
        if {"val", "test"} <= {split for name, split in family.items() if name in holding}:
            return family | _more_tests(places, family, families), ""
    train = [name for name, split in exact.items() if split == "train" and name in holding]
    beside = [name for name in names if name not in exact]
    if train:
        others = {p.dirs[1] for p in places if len(p.dirs) > 1 and p.dirs[0] in beside}
        own = {p.dirs[1] for p in places if len(p.dirs) > 1 and p.dirs[0] in train}
        if beside and set(beside) <= holding and others and not others & own:
            return {}, (
                f"{train[0]}/ can be a split, or a class beside {first_names(beside)}: name the "
                "level of the class folders with --class-level"
            )
        return exact, ""
    if exact and len(exact) == len(names):
        return {}, (
            "expected train/ with a folder a class in it, "
            f"found only {first_names(sorted(exact))} without such folders"
        )
    flat = next((f for f in families.values() if len(f) > 1 and set(names) <= set(f)), None)
    if flat and not holding & set(flat):
        return {}, (
            f"{first_names(sorted(flat))} are parts of the set, without a folder a class in them: "
            "put each image into a folder of its class, or name a table with --labels"
        )
    return {}, ""


def _joined_families(
    places: list[Place], families: dict[tuple[str, ...], dict[str, str]]
) -> tuple[dict[str, str], str] | None:
    """Find splits of unlike names that hold the same classes: train_mini beside val.

    Returns None for none of these, and a refusal where several could be the training part.
    """
    named = {name: split for family in families.values() for name, split in family.items()}
    below: dict[str, set[str]] = defaultdict(set)
    for place in places:
        if len(place.dirs) > 1:
            below[place.dirs[0]].add(place.dirs[1])
    train = [name for name, split in named.items() if split == "train" and len(below[name]) > 1]
    classes = set().union(*(below[name] for name in train))
    held = {
        name: split
        for name, split in named.items()
        if split in ("val", "test") and len(below[name]) > 1 and below[name] <= classes
    }
    if not train or not held or not splits_among(classes).keys() < classes:
        return None
    rests = [rest for rest, family in families.items() if family.keys() & set(train)]
    if len(train) > 1 and not all(word.isdecimal() for rest in rests for word in rest):
        return {}, (
            f"{first_names(sorted(train))} can each be the training part beside "
            f"{first_names(sorted(held))}: leave one of them in the folder"
        )
    return dict.fromkeys(train, "train") | held, ""


def _more_tests(
    places: list[Place], family: dict[str, str], families: dict[tuple[str, ...], dict[str, str]]
) -> dict[str, str]:
    """Return the folders of another name for a test, as test_2, that hold the same classes."""
    below: dict[str, set[str]] = defaultdict(set)
    for place in places:
        if len(place.dirs) > 1:
            below[place.dirs[0]].add(place.dirs[1])
    classes = set().union(*(below[name] for name in family))
    return {
        name: split
        for other in families.values()
        if other is not family
        for name, split in other.items()
        if split == "test" and len(below[name]) > 1 and below[name] <= classes
    }


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
