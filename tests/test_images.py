"""Labelled images: conversion, padding, resizing and the hashes that tell data sets apart."""

import numpy as np
import pytest
import torch
from conftest import bars

from augment.data.images import LabelledImages, pad_sides, pixel_hashes, resize, to_float, to_uint8
from augment.data.pictures.framing import Framing, choose_frame
from augment.errors import DataError


def test_all_256_levels_survive_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8)
    floats = to_float(levels)
    assert floats.dtype == torch.float32
    assert (floats.min().item(), floats.max().item()) == (-1.0, 1.0)
    assert torch.equal(to_uint8(floats), levels)


def test_conversion_leaves_its_argument_alone():
    levels, floats = torch.arange(256, dtype=torch.uint8), torch.linspace(-2, 2, 9)
    before = levels.clone(), floats.clone()
    to_float(levels), to_uint8(floats)
    assert torch.equal(levels, before[0])
    assert torch.equal(floats, before[1])


def test_values_outside_the_range_are_clipped_and_others_rounded():
    values = torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0, 2 * 100.6 / 255 - 1])
    assert to_uint8(values).tolist() == [0, 0, 128, 255, 255, 101]


@pytest.mark.parametrize(("side", "padded"), [(7, 8), (8, 8), (9, 12), (1, 4)])
def test_sides_are_padded_by_the_edge_to_the_right_and_below(side, padded):
    images = torch.rand(2, 3, side, side + 1)
    wide = pad_sides(images, 4)
    assert wide.shape[-2:] == (padded, -(-(side + 1) // 4) * 4)
    assert torch.equal(wide[..., :side, : side + 1], images)
    assert torch.equal(wide[..., -1, : side + 1], images[..., -1, :])
    assert torch.equal(wide[..., :side, -1], images[..., :, -1])


def test_resize_keeps_the_whole_picture_and_its_mean():
    images = torch.zeros(1, 1, 16, 32, dtype=torch.uint8)
    images[..., 16:] = 200
    small = resize(images, 8)
    assert small.shape == (1, 1, 8, 8)
    assert small.dtype == torch.uint8
    assert small[0, 0, :, 0].tolist() == [0] * 8
    assert small[0, 0, :, -1].tolist() == [200] * 8
    assert small.float().mean().item() == pytest.approx(100, abs=2)


def test_resize_to_the_same_size_changes_nothing():
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(resize(images, 8), images)


def test_resize_in_chunks_equals_resize_of_one():
    images = torch.randint(0, 256, (1030, 1, 6, 6), dtype=torch.uint8)
    assert torch.equal(resize(images, 4)[1027:1028], resize(images[1027:1028], 4))


@pytest.mark.parametrize("what", ["pixel", "label", "class", "order"])
def test_sha_changes_with(what, tiny):
    images, labels, classes = tiny.images.clone(), tiny.labels.clone(), tiny.classes
    assert LabelledImages(images.clone(), labels.clone(), classes).sha == tiny.sha
    if what == "pixel":
        images[3, 0, 2, 2] ^= 1
    elif what == "label":
        labels[0] = 1
    elif what == "class":
        classes = ("across", "down ")
    else:
        images = images.flip(0)
    assert LabelledImages(images, labels, classes).sha != tiny.sha


def test_sha_tells_class_lists_apart_that_join_to_the_same_text():
    image, label = torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
    names = [("a, b", "c"), ("a", "b, c"), ("a', 'b", "c")]
    assert len({LabelledImages(image, label, n).sha for n in names}) == 3


def test_select_takes_places_masks_and_nothing(tiny):
    assert torch.equal(tiny.select([2, 0]).images, tiny.images[[2, 0]])
    assert tiny.select(tiny.labels == 1).counts().tolist() == [0, 6]
    assert len(tiny.select([])) == 0


def test_moving_keeps_the_data(tiny, cpu):
    assert tiny.to(cpu).sha == tiny.sha


def test_counts_name_every_class_even_the_empty():
    assert bars(2).select([0]).counts().tolist() == [1, 0]


def test_blank_has_classes_in_turn_and_the_shape():
    blank = LabelledImages.blank(5, (3, 4, 6), ["a", "b"])
    assert (blank.shape, blank.labels.tolist()) == ((3, 4, 6), [0, 1, 0, 1, 0])


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2)),
    ],
    ids=["float pixels", "no channels", "one label too many", "float labels"],
)
def test_wrong_arrays_are_refused(images, labels):
    with pytest.raises(ValueError, match="must be"):
        LabelledImages(images, labels, ("a",))


def test_equal_pixels_have_equal_hashes_whatever_the_layout():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), np.uint8))
    images[2] = images[0]
    first, second, third = pixel_hashes(images.permute(0, 3, 1, 2))
    assert first == third != second
    assert pixel_hashes(images.permute(0, 3, 1, 2).contiguous()) == [first, second, third]


@pytest.mark.parametrize(
    ("sizes", "asked", "chosen"),
    [
        ([(64, 64)], None, (64, 64)),
        ([(28, 20), (28, 20)], None, (28, 20)),
        ([(65, 64)], None, (64, 63)),
        ([(512, 384)] * 3, None, (128, 96)),  # the shape of all
        ([(384, 512)] * 3, 128, (96, 128)),
        ([(200, 200)] * 3, Framing(affords=64), (64, 64)),
        ([(100, 100)] * 3, None, (96, 96)),  # never more than the pictures hold
        ([(28, 28), (30, 28)], None, (29, 29)),
        ([(640, 480), (480, 640)], None, (128, 128)),  # some upright, some lying
        ([(640, 480)] * 9 + [(480, 640)], None, (128, 96)),
        ([(160, 90), (150, 100), (120, 90)], None, (128, 85)),  # the median aspect
        ([(40, 40)] * 2 + [(300, 300)], None, (32, 32)),
        ([], None, (32, 32)),
        ([(64, 48)], 16, (16, 12)),
        ([(1000, 10)], 64, (64, 8)),  # networks need some pixels
        ([(64, 48)], Framing(16, "stretch"), (16, 16)),
        ([(64, 48), (640, 480)], Framing(16, "crop"), (16, 16)),
        ([(60, 40)], Framing(fit="crop"), (60, 40)),  # nothing is to be brought to another shape
        ([(200, 160)], Framing("native"), (200, 160)),
    ],
)
def test_frame_is_as_asked_or_what_the_pictures_hold_and_a_run_affords(sizes, asked, chosen):
    assert choose_frame(sizes, Framing.of(asked))[:2] == chosen


@pytest.mark.parametrize("sizes", [[(200, 160), (64, 64)], [(600, 400)], [(6, 40)]])
def test_native_size_needs_one_usable_size(sizes):
    with pytest.raises(DataError, match=r"^--size native: .* give a"):
        choose_frame(sizes, Framing("native"))
