"""Classic transforms: what they may move, and what they never do."""

import pytest
import torch

from augment.transforms.geometric import CLASSIC, any_orientation, document, mirror, natural, shift

MOVING = [name for name in CLASSIC if name != "none"]
SHAPES = [(4, 1, 8, 8), (4, 3, 16, 16), (3, 1, 8, 40), (3, 3, 21, 13)]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def numbered(n, height, width):
    """[n, 1, H, W]: every pixel of a picture has a value of its own in [-1, 1]."""
    picture = torch.linspace(-1, 1, height * width).reshape(1, 1, height, width)
    return picture.repeat(n, 1, 1, 1)


def letter(n, side=24):
    """[n, 1, side, side]: an F, which no turn of 15° and no shear make look like its mirror."""
    picture = torch.full((side, side), -1.0)
    a, b = side // 4, 3 * side // 4
    picture[a:b, a : a + 3] = 1
    picture[a : a + 3, a:b] = 1
    picture[side // 2 : side // 2 + 3, a : b - 3] = 1
    return picture.repeat(n, 1, 1, 1)


def likeness(a, b):
    """[n] correlation of pictures."""
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (a, b))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CLASSIC)
def test_shape_and_range_are_kept(name, shape):
    images = torch.rand(shape, generator=seeded(0)) * 2 - 1
    out = CLASSIC[name](images, seeded(1))
    assert out.shape == images.shape
    assert out.dtype == images.dtype
    assert out.abs().max() <= 1 + 1e-5


@pytest.mark.parametrize("name", MOVING)
def test_seed_decides(name):
    images = numbered(6, 16, 16)
    kept = images.clone()
    once, again = CLASSIC[name](images, seeded(3)), CLASSIC[name](images, seeded(3))
    assert torch.equal(once, again)
    assert not torch.equal(once, CLASSIC[name](images, seeded(4)))
    assert torch.equal(images, kept)


@pytest.mark.parametrize("name", MOVING)
def test_each_image_has_its_own_draw(name):
    out = CLASSIC[name](numbered(8, 16, 16), seeded(0))
    assert len(torch.unique(out.flatten(1), dim=0)) >= 6


def test_none_is_the_identity():
    images = numbered(2, 8, 8)
    assert torch.equal(CLASSIC["none"](images, seeded(0)), images)


def test_document_never_mirrors():
    images = letter(60)
    out = document(images, seeded(0))
    own, turned = likeness(out, images), likeness(out, images.flip(-1))
    upside = likeness(out, images.flip(-2))
    # shifts of up to a tenth blur the likeness, so the best shift of each counts
    for down in range(-3, 4):
        for right in range(-3, 4):
            rolled = out.roll((down, right), (2, 3))
            own = torch.maximum(own, likeness(rolled, images))
            turned = torch.maximum(turned, likeness(rolled, images.flip(-1)))
            upside = torch.maximum(upside, likeness(rolled, images.flip(-2)))
    assert (own > turned).all()
    assert (own > upside).all()


def test_document_moves_ink_by_no_more_than_it_says():
    dot = torch.full((300, 1, 41, 41), -1.0)
    dot[:, :, 19:22, 19:22] = 1  # the middle: only the shift of ±10 % of a side moves it
    out = (document(dot, seeded(0)) + 1).squeeze(1)
    mass = out.sum((1, 2))
    places = torch.arange(41.0)
    down = (out.sum(2) * places).sum(1) / mass - 20
    right = (out.sum(1) * places).sum(1) / mass - 20
    # the shift is in the frame of the stretched and sheared picture
    for moved in (down, right):
        assert 3 < moved.abs().max() < 4.1 * 1.25 * 1.5
        assert moved.mean().abs() < 0.5


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 40), (40, 8)])
def test_shift_is_at_most_an_eighth_of_each_side(height, width):
    out = shift(numbered(400, height, width), seeded(0))
    centre = out[:, 0, height // 2, width // 2]
    # a pixel's value tells where it came from
    source = ((centre + 1) / 2 * (height * width - 1)).round().long()
    down, right = source // width - height // 2, source % width - width // 2
    assert set(down.tolist()) == set(range(-(height // 8), height // 8 + 1))
    assert set(right.tolist()) == set(range(-(width // 8), width // 8 + 1))


def test_shift_fills_with_black_where_asked():
    out = shift(torch.ones(50, 1, 8, 8), seeded(0), fill="constant")
    assert set(out.unique().tolist()) == {-1.0, 1.0}
    assert set(shift(torch.ones(50, 1, 8, 8), seeded(0)).unique().tolist()) == {1.0}


def test_mirror_turns_about_half():
    images = numbered(400, 4, 4)
    out = mirror(images, seeded(0))
    turned = (out == images.flip(-1)).flatten(1).all(1)
    assert torch.equal(out[~turned], images[~turned])
    assert 160 < turned.sum() < 240


@pytest.mark.parametrize(("transform", "views"), [(mirror, 2), (natural, 2), (any_orientation, 8)])
def test_orientations_are_those_of_the_policy(transform, views):
    # gradients at the centre survive shifts: their signs and order name the orientation
    out = transform(numbered(400, 16, 16), seeded(0))[:, 0]
    right = (out[:, 8, 9] - out[:, 8, 8]).mul(1e4).round()
    down = (out[:, 9, 8] - out[:, 8, 8]).mul(1e4).round()
    assert len(set(zip(right.tolist(), down.tolist(), strict=True))) == views


def test_oblong_pictures_are_turned_over_but_not_by_a_quarter():
    out = any_orientation(numbered(400, 8, 24), seeded(0))[:, 0]
    right = (out[:, 4, 13] - out[:, 4, 12]).mul(1e4).round()
    assert len(right.unique()) == 2
    assert right.abs().unique().numel() == 1
