"""Compose pictures with exact boxes: objects pasted at free places, or in place of labelled ones.

The slots of a trial (pictures, classes, sizes) are the same whatever is pasted, so that arms differ
by the objects alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augment.data.boxed_images import NO_BOX, BoxedImages
from augment.data.crops import Crops, longer_sides, window_sides
from augment.data.images import LabelledImages, to_float, to_uint8
from augment.transforms.pasting import blend, box_masks, free_place, soft_masks

LABELLED, PASTED, GENERATED = range(3)  # where a box comes from


@dataclass(frozen=True)
class Objects:
    """Crops of objects, labelled or generated."""

    images: LabelledImages  # [M, C, S, S]
    inner: Tensor  # [M, 4] place of the box in the crop, in shares of its side
    source: Tensor  # [M] int64: the labelled crop that it is, or is most like

    def masks(self) -> Tensor:
        """Estimate how much of each pixel is object: [M, 1, S, S]."""
        parts = zip(self.images.images.split(512), self.inner.split(512), strict=True)
        return torch.cat([soft_masks(to_float(images), inner) for images, inner in parts])


@dataclass(frozen=True)
class Composition:
    """Composed pictures."""

    images: BoxedImages
    origins: Tensor  # [N, B] uint8: LABELLED, PASTED or GENERATED; LABELLED where labels pad


@dataclass(frozen=True)
class Mix:
    """How many pictures are composed, and of what."""

    n: int  # pictures; the labelled ones in turn
    share: float  # of generated objects, 0…1
    seed: int


def labelled_objects(crops: Crops) -> Objects:
    """Take the labelled crops as objects to paste."""
    return Objects(crops.images, crops.inner, torch.arange(len(crops)))


def generated_objects(images: LabelledImages, crops: Crops) -> Objects:
    """Give each generated crop the box of the labelled crop of its class that it is most like."""
    source = torch.zeros(len(images), dtype=torch.int64)
    known = to_float(crops.images.images).flatten(1)
    for label in images.labels.unique():
        own = (crops.images.labels == label).nonzero().flatten()
        rows = (images.labels == label).nonzero().flatten()
        for part in rows.split(512):  # bounds the memory
            distance = torch.cdist(to_float(images.images[part]).flatten(1), known[own])
            source[part] = own[distance.argmin(1)]
    return Objects(images, crops.inner[source], source)


def in_turn(data: BoxedImages, n: int) -> Composition:
    """Take n pictures, the labelled ones in turn, as they are."""
    images = data.select(torch.arange(n) % len(data))
    return Composition(images, torch.full(images.labels.shape[:2], LABELLED, dtype=torch.uint8))


def vary_in_place(data: BoxedImages, crops: Crops, new: Objects, mix: Mix) -> Composition:
    """Put generated objects in place of a share of the labelled ones that they are most like.

    Boxes and surroundings stay. Each turn through the labelled pictures takes other objects.
    """
    made, rng = in_turn(data, mix.n), torch.Generator().manual_seed(mix.seed)
    masks = box_masks(crops.inner, new.images.shape[-1])
    found = [(new.source == k).nonzero().flatten().tolist() for k in range(len(crops))]
    of_picture = [(crops.pictures == k).nonzero().flatten().tolist() for k in range(len(data))]
    for picture in range(mix.n):
        image = to_float(made.images.images[picture])
        for k in of_picture[picture % len(data)]:
            varied = float(torch.rand((), generator=rng)) < mix.share
            if varied and found[k]:
                turn = picture // len(data) % len(found[k])
                pixels = to_float(new.images.images[found[k][turn]])
                left, top, right, _ = crops.windows[k].tolist()
                blend(image, pixels, masks[k], (left, top, right - left))
                made.origins[picture, crops.rows[k]] = GENERATED
        made.images.images[picture] = to_uint8(image)
    return made


def paste(base: Composition, crops: Crops, new: Objects | None, mix: Mix) -> Composition:
    """Paste objects at free places of pictures, in the mean as many as were labelled in each.

    A share of them is generated, the others are the labelled ones. Classes are those of the
    labelled boxes, and sizes those of the class. What finds no free place is left out.
    """
    rng, known = torch.Generator().manual_seed(mix.seed), labelled_objects(crops)
    n_slots = round(len(crops) * mix.n / (1 + int(crops.pictures.max()))) if len(crops) else 0
    slots = _slots(crops, new, n_slots, mix.share, rng)
    sources = {PASTED: (known, known.masks())}
    sources |= {GENERATED: (new, new.masks())} if new else {}
    shape = base.images.shape[1:]
    rows: list[Tensor] = []  # of each picture: [B, 6], the last its origin
    for picture, of_picture in enumerate(zip(*(s.tensor_split(mix.n) for s in slots), strict=True)):
        image = to_float(base.images.images[picture])
        boxes = torch.cat([base.images.labels[picture], base.origins[picture, :, None]], 1)
        boxes = boxes[boxes[:, 0] != NO_BOX]
        for origin, k, longer in zip(*(s.tolist() for s in of_picture), strict=True):
            objects, masks = sources[origin]
            inner = objects.inner[k]
            window = _free_window(inner, longer, boxes[:, 1:5], shape, rng)
            if window is None:
                continue
            blend(image, to_float(objects.images.images[k]), masks[k], window)
            left, top, side = window
            corners = torch.tensor([left, top, left, top]) + inner * side
            label = float(objects.images.labels[k])
            boxes = torch.cat([boxes, torch.tensor([[label, *corners.tolist(), origin]])])
        base.images.images[picture] = to_uint8(image)
        rows.append(boxes)
    return _with_boxes(base.images, rows)


def _free_window(
    inner: Tensor, longer: float, others: Tensor, shape: tuple[int, int], rng: torch.Generator
) -> tuple[int, int, int] | None:
    """Find a free place for a crop whose box is `longer` pixels long: (left, top, side)."""
    width, height = (inner[2:] - inner[:2]).tolist()
    scale, side = longer / max(width, height), int(window_sides(torch.tensor(longer)))
    place = free_place((width * scale, height * scale), others, shape, rng)
    if place is None:
        return None
    left, top = (round(at - float(part) * side) for at, part in zip(place, inner[:2], strict=True))
    return left, top, side


def _slots(
    crops: Crops, new: Objects | None, n: int, share: float, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Decide for each of n slots the origin, the index among objects of it, the longer side.

    All draws are made whatever is generated. Generated objects of a class are taken in turn.
    """
    rounds = -(-n // max(1, len(crops)))
    order = [torch.randperm(len(crops), generator=rng) for _ in range(rounds)]
    indices = torch.cat(order)[:n] if order else torch.zeros(0, dtype=torch.int64)
    sizes, longer = torch.rand(n, generator=rng), torch.empty(n)
    wanted = torch.rand(n, generator=rng) < share
    origins = torch.full((n,), PASTED)
    labels = crops.images.labels[indices]
    for label in labels.unique():
        slots = (labels == label).nonzero().flatten()
        known = longer_sides(crops.boxes[crops.images.labels == label])
        longer[slots] = known[(sizes[slots] * len(known)).long()]
        drawn = (new.images.labels == label).nonzero().flatten() if new else slots[:0]
        if len(drawn):
            taken = slots[wanted[slots]]
            indices[taken] = drawn[torch.arange(len(taken)) % len(drawn)]
            origins[taken] = GENERATED
    return origins, indices, longer


def _with_boxes(images: BoxedImages, rows: list[Tensor]) -> Composition:
    """Give pictures their boxes: rows [B, 6] of each, with the origin behind."""
    most = max(1, *(len(boxes) for boxes in rows))
    labels = torch.full((len(images), most, 5), 0.0)
    labels[..., 0] = NO_BOX
    origins = torch.full((len(images), most), LABELLED, dtype=torch.uint8)
    _, height, width = images.shape
    limit = torch.tensor([width, height, width, height])
    for picture, boxes in enumerate(rows):
        labels[picture, : len(boxes), 0] = boxes[:, 0]
        labels[picture, : len(boxes), 1:] = boxes[:, 1:5].clamp(min=0).minimum(limit)
        origins[picture, : len(boxes)] = boxes[:, 5].to(torch.uint8)
    return Composition(BoxedImages(images.images, labels, images.classes), origins)
