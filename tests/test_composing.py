"""Crops of boxes and composed pictures: what is labelled is where the label says."""

import pytest
import torch
from boxed_digits import digits_on_canvas

from augment.data.boxed_images import NO_BOX, BoxedImages
from augment.data.crops import CROP_SIDES, MARGIN, crop_boxes, crop_side, cut
from augment.data.images import LabelledImages, to_float
from augment.experiment.composing import (
    GENERATED,
    LABELLED,
    PASTED,
    Mix,
    Objects,
    generated_objects,
    in_turn,
    paste,
    vary_in_place,
)
from augment.transforms.pasting import blend, box_masks, free_place, soft_masks


@pytest.fixture(scope="module")
def canvases():
    return digits_on_canvas(12, side=96, seed=5, classes=3, n_negatives=2)


def squares(n=6, side=64, seed=0):
    """Pictures with one bright rectangle each on a dark ground, its box exact."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.full((n, 1, side, side), 30, dtype=torch.uint8)
    labels = torch.zeros(n, 1, 5)
    for k in range(n):
        width, height = (torch.randint(8, 20, (2,), generator=rng)).tolist()
        x, y = (torch.randint(8, side - 28, (2,), generator=rng)).tolist()
        images[k, 0, y : y + height, x : x + width] = 220
        labels[k, 0] = torch.tensor([k % 2, x, y, x + width, y + height])
    return BoxedImages(images, labels, ("a", "b"))


def test_crops_hold_each_box_whole_with_its_margin_and_aspect(canvases):
    crops = crop_boxes(canvases, 32)
    assert len(crops) == int((canvases.labels[..., 0] >= 0).sum())
    assert crops.images.counts().equal(canvases.counts())
    inner, sides = crops.inner, crops.windows[:, 2:] - crops.windows[:, :2]
    assert (sides[:, 0] == sides[:, 1]).all()  # square: nothing is stretched
    assert (inner > 0).all()
    assert (inner < 1).all()
    longer = (inner[:, 2:] - inner[:, :2]).amax(1)
    assert longer.sub(1 / (1 + 2 * MARGIN)).abs().max() < 0.05
    first = canvases.labels[crops.pictures, crops.rows]
    assert first[:, 1:].equal(crops.boxes)


def test_crop_shows_the_box_at_its_inner_place():
    data = squares()
    crops = crop_boxes(data, 32)
    for image, inner in zip(crops.images.images[:, 0], crops.inner, strict=True):
        left, top, right, bottom = (inner * 32).round().long().tolist()
        bright = image > 125
        assert bright[top + 1 : bottom - 1, left + 1 : right - 1].all()
        assert bright.sum() <= (right - left + 2) * (bottom - top + 2)


def test_beyond_the_border_the_edge_is_repeated():
    image = torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4)
    found = cut(image, [-2, -1, 3, 6])
    assert found.shape == (1, 7, 5)
    assert found[0, 0].tolist() == [0, 0, 0, 1, 2]
    assert found[0, -1].tolist() == [12, 12, 12, 13, 14]


def test_crops_are_larger_where_boxes_are(canvases):
    large = BoxedImages(
        torch.zeros(1, 1, 200, 200, dtype=torch.uint8),
        torch.tensor([[[0.0, 10, 10, 150, 120]]]),
        ("a",),
    )
    empty = BoxedImages(large.images, torch.full((1, 1, 5), NO_BOX), ("a",))
    assert [crop_side(data) for data in (canvases, large, empty)] == [
        CROP_SIDES[0],
        CROP_SIDES[1],
        CROP_SIDES[0],
    ]
    assert len(crop_boxes(empty, 32)) == 0


def test_masks_find_what_differs_from_the_margin_and_else_take_the_box():
    crops = crop_boxes(squares(), 32)
    masks = soft_masks(to_float(crops.images.images), crops.inner)[:, 0]
    bright = crops.images.images[:, 0] > 125
    assert masks[bright].mean() > 0.9
    assert masks[~bright].mean() < 0.1
    noise = torch.rand(1, 1, 32, 32) * 2 - 1  # tells no object from its ground
    inner = torch.tensor([[0.25, 0.25, 0.75, 0.75]])
    assert soft_masks(noise, inner).equal(box_masks(inner, 32))
    assert box_masks(inner, 32)[0, 0, 8:24, 8:24].eq(1).all()
    assert box_masks(inner, 32)[0, 0, 0, 0] < 0.1


def test_free_places_hide_no_other_box_and_lie_inside():
    rng = torch.Generator().manual_seed(0)
    others = torch.tensor([[0.0, 0, 30, 60], [40, 40, 60, 60]])
    for _ in range(50):
        left, top = free_place((16.0, 12.0), others, (60, 60), rng)
        assert 0 <= left <= 60 - 16
        assert 0 <= top <= 60 - 12
        ends = torch.minimum(others[:, 2:], torch.tensor([left + 16, top + 12]))
        shared = (ends - torch.maximum(others[:, :2], torch.tensor([left, top]))).clamp(min=0)
        assert (shared.prod(1) <= 0.1 * 16 * 12 + 1e-3).all()
    assert free_place((70.0, 10.0), others, (60, 60), rng) is None
    assert free_place((50.0, 50.0), torch.tensor([[0.0, 0, 60, 60]]), (60, 60), rng) is None


@pytest.mark.parametrize("window", [(10, 12, 20), (-6, -3, 20), (50, 52, 20)])
def test_a_pasted_object_takes_the_light_of_its_place_and_leaves_the_rest(window):
    image, before = torch.full((1, 64, 64), 0.4), torch.full((1, 64, 64), 0.4)
    crop = torch.full((1, 32, 32), 0.2)
    crop[:, 8:24, 8:24] = 0.7  # half a unit brighter than its ground
    mask = torch.zeros(1, 32, 32)
    mask[:, 8:24, 8:24] = 1
    blend(image, crop, mask, window)
    assert image.max() == pytest.approx(0.9, abs=0.03)  # as much brighter than the new ground
    left, top, side = window
    outside = torch.ones_like(image, dtype=torch.bool)
    outside[:, max(0, top) : top + side, max(0, left) : left + side] = False
    assert image[outside].equal(before[outside])


def bright_extent(image):
    """The rectangle of bright pixels: xmin, ymin, xmax, ymax."""
    rows, columns = (image > 125).any(1).nonzero(), (image > 125).any(0).nonzero()
    return torch.tensor([columns[0, 0], rows[0, 0], columns[-1, 0] + 1, rows[-1, 0] + 1])


def test_boxes_of_pasted_objects_are_exact():
    data = squares()
    dark = BoxedImages(
        torch.full_like(data.images, 30), torch.full_like(data.labels, NO_BOX), data.classes
    )
    crops = crop_boxes(data, 32)
    made = paste(in_turn(dark, 12), crops, None, Mix(12, 0.0, 3))
    n = 0
    for image, rows in zip(made.images.images[:, 0], made.images.labels, strict=True):
        boxes = rows[rows[:, 0] != NO_BOX][:, 1:]
        if len(boxes) == 1:
            n += 1
            assert (bright_extent(image) - boxes[0]).abs().max() <= 1.5
    assert n > 3


def test_pasting_keeps_the_labelled_boxes_and_marks_its_own(canvases):
    crops = crop_boxes(canvases, 32)
    made = paste(in_turn(canvases, 24), crops, None, Mix(24, 0.0, 1))
    kept = canvases.labels.repeat(2, 1, 1)
    for picture, (rows, origins) in enumerate(zip(made.images.labels, made.origins, strict=True)):
        old = kept[picture][kept[picture][:, 0] != NO_BOX]
        assert rows[: len(old)].equal(old)
        assert (origins[: len(old)] == LABELLED).all()
        new = rows[len(old) :]
        assert (origins[len(old) :][new[:, 0] != NO_BOX] == PASTED).all()
    assert (made.origins == PASTED).sum() > len(crops)
    again = paste(in_turn(canvases, 24), crops, None, Mix(24, 0.0, 1))
    assert again.images.sha == made.images.sha


def test_classes_and_sizes_do_not_depend_on_what_is_pasted(canvases):
    crops = crop_boxes(canvases, 32)
    inverted = LabelledImages(255 - crops.images.images, crops.images.labels, canvases.classes)
    new = Objects(inverted, crops.inner, torch.arange(len(crops)))
    made = {
        share: paste(in_turn(canvases, 24), crops, new, Mix(24, share, 1))
        for share in (0.0, 0.5, 1.0)
    }
    generated = {share: (m.origins == GENERATED).sum().item() for share, m in made.items()}
    assert generated[0.0] == 0
    assert 0 < generated[0.5] < generated[1.0]
    assert (made[1.0].origins == PASTED).sum() == 0
    counts = [m.images.counts() for m in made.values()]
    assert all(
        (c - counts[0]).abs().max() <= 3 for c in counts
    )  # but for places that were not free


def test_varied_objects_keep_box_context_and_label(canvases):
    crops = crop_boxes(canvases, 32)
    inverted = LabelledImages(255 - crops.images.images, crops.images.labels, canvases.classes)
    new = Objects(inverted, crops.inner, torch.arange(len(crops)))
    made = vary_in_place(canvases, crops, new, Mix(len(canvases), 1.0, 0))
    assert made.images.labels.equal(canvases.labels)
    assert (made.origins == GENERATED).sum() == len(crops)
    for picture, (before, after) in enumerate(
        zip(canvases.images, made.images.images, strict=True)
    ):
        outside = torch.ones(96, 96, dtype=torch.bool)
        for left, top, right, bottom in crops.windows[crops.pictures == picture].tolist():
            outside[max(0, top) : bottom, max(0, left) : right] = False
        assert before[0][outside].equal(after[0][outside])
    assert not made.images.images.equal(canvases.images)


def test_a_generated_crop_has_the_box_of_the_labelled_crop_it_is_most_like(canvases):
    crops = crop_boxes(canvases, 32)
    order = torch.randperm(len(crops), generator=torch.Generator().manual_seed(0))
    found = generated_objects(crops.images.select(order), crops)
    assert found.source.equal(order)
    assert found.inner.equal(crops.inner[order])
