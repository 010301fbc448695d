"""Split pictures with boxes into a pool and a test set, as `data.split` does images of a class."""

from __future__ import annotations

from itertools import compress

import numpy as np
import torch

from augment.data.boxed_images import NO_BOX, BoxedImages
from augment.data.boxes.reading import RawBoxes
from augment.data.boxes.stratify import boxed_hold_out, class_presence
from augment.data.copies.copies_together import join_copies
from augment.data.copies.near_duplicates import near_copies
from augment.data.raw import first_names, notes_on_error
from augment.data.split import TEST_SHARE, Dataset, given_test_mask
from augment.data.subset import linked_units
from augment.errors import DataError

MIN_POOL = 2  # pictures of a class to learn from


def split_boxes(name: str, raw: RawBoxes, *, drop_small: bool = False) -> Dataset[BoxedImages]:
    """Split raw pictures; one of them, its copies, and a group never stand on both sides.

    Raises DataError if a class is too small, unless `drop_small` drops its boxes.
    """
    with notes_on_error(raw.notes):
        return _split(name, raw, drop_small)


def _split(name: str, raw: RawBoxes, drop_small: bool) -> Dataset[BoxedImages]:
    """Split raw pictures."""
    # as of images of one class each: colour may be mirrored, grey may not
    classic = "natural" if raw.images.shape[1] == 3 else "document"
    notes, hashes = list(raw.notes), raw.hashes
    notes += _contradictions(raw)
    groups = raw.groups or [""] * len(raw.files)
    given = given_test_mask(raw, notes)
    if given is None:
        groups = join_copies(raw, notes)
        units = linked_units(groups, hashes)
        present = class_presence(raw.boxes, len(raw.classes))
        key = BoxedImages(raw.images, raw.boxes, tuple(raw.classes)).sha
        real = np.array([each != "synthetic" for each in raw.splits])
        chosen = boxed_hold_out(present[real], list(compress(units, real)), TEST_SHARE, key)
        in_test = np.zeros(len(real), bool)
        in_test[real] = chosen
    else:
        in_test = given.numpy()
    test_hashes = {h for h, test in zip(hashes, in_test, strict=True) if test}
    repeats = np.array([h in test_hashes for h in hashes]) & ~in_test
    if repeats.any():
        notes.append(f"training images removed that are also test images: {repeats.sum()}")
    in_pool = ~in_test & ~repeats
    boxes, classes = _learnable(
        raw, in_pool, in_test, notes, official=given is not None, drop_small=drop_small
    )

    def side(mask: np.ndarray) -> BoxedImages:
        chosen = torch.from_numpy(mask)
        own = boxes[chosen]
        most = max(1, int((own[..., 0] != NO_BOX).sum(1).max())) if len(own) else 1
        return BoxedImages(raw.images[chosen], own[:, :most].contiguous(), classes)

    pool, test = side(in_pool), side(in_test)
    files, grouped = (
        [list(compress(values, mask)) for mask in (in_pool, in_test)]
        for values in (raw.files, groups)
    )
    if given is not None:  # else copies are on one side
        notes += near_copies(pool, test, *files)
    notes += [
        f"{len(part) - with_box} of {len(part)} pictures {of} are without boxes"
        for part, of in ((pool, "to learn from"), (test, "to test on"))
        if (with_box := int((part.labels[:, 0, 0] != NO_BOX).sum())) < len(part)
    ]
    return Dataset[BoxedImages](
        name,
        pool,
        test,
        classic,
        given is not None,
        pool_files=files[0],
        test_files=files[1],
        bad=raw.bad,
        notes=notes,
        pool_groups=grouped[0],
        test_groups=grouped[1],
        layout=raw.layout,
    )


def _learnable(
    raw: RawBoxes,
    in_pool: np.ndarray,
    in_test: np.ndarray,
    notes: list[str],
    *,
    official: bool,
    drop_small: bool,
) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Keep the classes that can be learnt; return the boxes, renumbered, and the classes.

    A given test split may lack a class. Boxes of a dropped class are dropped, the pictures stay.
    """
    present = class_presence(raw.boxes, len(raw.classes))
    n_pool, n_test = (present[mask].sum(0).tolist() for mask in (in_pool, in_test))
    learnable = [
        k for k in range(len(raw.classes)) if n_pool[k] >= MIN_POOL and (official or n_test[k] >= 1)
    ]
    small = [
        f"class '{name}' is on {n_pool[k]} to learn from and {n_test[k]} to test on"
        for k, name in enumerate(raw.classes)
        if k not in learnable
    ]
    if small and not drop_small:
        more = f"; {len(small) - 3} more classes" if len(small) > 3 else ""
        raise DataError(
            f"too few pictures: {'; '.join(small[:3])}{more}; at least {MIN_POOL} and "
            f"{0 if official else 1} are needed (copies and groups stay on one side): add pictures "
            "or pass --drop-small-classes"
        )
    if not any(n_test[k] for k in learnable):
        raise DataError(
            "no picture of the test set has a box of a class that can be learnt"
            f"{': ' if small else ''}{'; '.join(small[:3])}: annotate the test set, or leave it out"
        )
    if small:
        notes.append(f"boxes of small classes are dropped ({len(small)}): {'; '.join(small)}")
    if untested := [raw.classes[k] for k in learnable if not n_test[k]]:
        notes.append(f"classes without a test box, whose scores are empty: {first_names(untested)}")
    new_label = torch.full((len(raw.classes) + 1,), NO_BOX)  # the last is of padding, -1
    new_label[learnable] = torch.arange(len(learnable), dtype=torch.float32)
    boxes = raw.boxes.clone()
    boxes[..., 0] = new_label[raw.boxes[..., 0].long()]
    boxes[boxes[..., 0] == NO_BOX] = NO_BOX
    # boxes first, padding last
    order = (boxes[..., 0] == NO_BOX).int().argsort(dim=1, stable=True)
    boxes = boxes.gather(1, order[..., None].expand_as(boxes))
    return boxes, tuple(raw.classes[k] for k in learnable)


def _contradictions(raw: RawBoxes) -> list[str]:
    """Note pictures that are equal to the pixel and have different boxes."""
    first: dict[bytes, int] = {}
    pairs = []
    for k, key in enumerate(raw.hashes):
        other = first.setdefault(key, k)
        if other != k and not torch.equal(raw.boxes[other], raw.boxes[k]):
            pairs.append(f"{raw.files[other]} and {raw.files[k]}")
    if not pairs:
        return []
    return [f"equal pictures with different boxes ({len(pairs)}): {first_names(pairs)}"]
