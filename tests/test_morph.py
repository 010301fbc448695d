"""Blends of pairs: warping by hand, and what a sample may hold."""

import pytest
import torch
from conftest import bars

from augment.data.images import to_uint8
from augment.experiment.arms import generator_set
from augment.generators.morph import Morph, warp
from augment.training.loop import fit


def displaced(image, across=0.0, down=0.0):
    """Moved by whole pixels: displacements are in units where a side is 2 long."""
    height, width = image.shape[-2:]
    u = torch.zeros(1, 2, height, width)
    u[:, 0], u[:, 1] = 2 * across / width, 2 * down / height
    return warp(image, u)


def test_warping_takes_pixels_from_where_the_displacement_points():
    image = torch.arange(24.0).reshape(1, 1, 4, 6)
    torch.testing.assert_close(displaced(image), image)
    torch.testing.assert_close(displaced(image, across=1)[..., :-1], image[..., 1:])
    torch.testing.assert_close(displaced(image, down=2)[:, :, :2], image[:, :, 2:])
    edge = displaced(image, across=1)[..., -1]
    torch.testing.assert_close(edge, image[..., -1])  # repeated


@pytest.fixture(scope="module")
def shifted():
    """One class: the same bar at two places."""
    data = bars(1, ("a",), (1, 16, 16))
    image = data.images[0]
    image[:] = 0
    image[:, 4:8, 3:13] = 255
    moved = image.roll(3, dims=1)
    return type(data)(torch.stack([image, moved]), torch.tensor([0, 0]), ("a",))


def test_half_way_between_two_shifts_lies_the_middle(shifted, cpu):
    model = Morph(steps=400, batch=16, width=16, transformed=0.0, smooth=0.1)
    fit(model, generator_set(shifted, "none", 0.0), seed=1, device=cpu)
    images = model.sample(torch.zeros(200, dtype=torch.int64), seeds=torch.arange(200))
    weights = images[:, 0].float().sum(2)
    centre = (weights * torch.arange(16)).sum(1) / weights.sum(1)
    assert centre.min() < 5.9  # the bars' own middles are 5.5 and 8.5
    assert centre.max() > 8.1
    middle = ((centre > 6.7) & (centre < 7.3)).nonzero().flatten()
    assert len(middle) > 10
    # warped, not faded: a middle bar is as bright and as wide as the two, a blend in one row only
    bright = (weights[middle] > 0.8 * 255 * 10).sum(1).float()
    assert bright.mean() > 2


def test_pairs_are_of_the_class_asked_for(cpu):
    data = bars(5, ("a", "b", "c"))
    model = Morph(steps=0)
    model.prepare(data, seed=0, device=cpu)
    labels = torch.arange(300) % 3
    of_class = [{i.numpy().tobytes() for i in data.images[data.labels == k]} for k in range(3)]
    for u in (torch.zeros(300), torch.full((300,), 1 - 1e-7), torch.rand(300)):
        images = to_uint8(model.choose(labels, u))
        for image, label in zip(images, labels.tolist(), strict=True):
            assert image.numpy().tobytes() in of_class[label]
    ones = torch.ones(200, dtype=torch.int64)
    every = to_uint8(model.choose(ones, torch.linspace(0, 0.999, 200)))
    assert {i.numpy().tobytes() for i in every} == of_class[1]


def test_no_reach_gives_the_labelled_images_back(cpu):
    data = bars(5, ("a", "b"))
    model = Morph(steps=3, batch=8, reach=0.0)
    fit(model, generator_set(data, "natural", 1.0), seed=0, device=cpu)
    images = model.sample(torch.tensor([0, 1]).repeat(20), seeds=torch.arange(40))
    known = {image.numpy().tobytes() for image in data.images}
    assert {image.numpy().tobytes() for image in images} <= known
