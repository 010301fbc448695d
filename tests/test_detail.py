"""Images above 32 pixels a side: a small image of each, and its detail."""

import pytest
import torch
from test_spectrum import smooth

from augment.data.images import LabelledImages, to_float
from augment.experiment.arms import generator_set
from augment.generators.ddpm import DDPM
from augment.generators.detail import Waves, small_shape
from augment.training.loop import fit
from augment.training.serialization import load_learner, save_learner

SIDES = [(64, 64), (48, 64), (40, 33)]
TINY = dict(batch=8, widths=(8, 16), hub=16, whitening=0.5)


def stripes(side=64, n=16):
    """Grey images of slow waves; those of the second class have waves of 24 periods a side too."""
    rng = torch.Generator().manual_seed(0)
    place = torch.arange(side) / side
    phase = torch.rand(n, 1, 1, 1, generator=rng)
    slow = (6.283 * (place + phase)).sin().expand(n, 1, side, side)
    fast = (6.283 * 24 * place[:, None] + phase).sin().expand(n, 1, side, side)
    labels = torch.arange(n) % 2
    images = 128 + 60 * slow + 40 * fast * labels[:, None, None, None]
    return LabelledImages(images.round().to(torch.uint8), labels, ("plain", "striped"))


@pytest.mark.parametrize(
    ("shape", "small"),
    [
        ((3, 64, 64), (3, 32, 32)),
        ((1, 200, 50), (1, 32, 8)),
        ((1, 28, 20), (1, 28, 20)),
        ((1, 1000, 2), (1, 32, 1)),
    ],
)
def test_a_small_image_is_32_pixels_long_and_keeps_its_shape(shape, small):
    assert small_shape(shape) == small


def sized(height, width):
    data = smooth(side=max(height, width))
    return LabelledImages(data.images[..., :height, :width], data.labels, data.classes)


@pytest.mark.parametrize("sides", SIDES)
def test_small_image_and_detail_are_the_image_again(sides):
    data = sized(*sides)
    waves, images = Waves(data, 2), to_float(data.images)
    seen = waves.of_images(images)
    torch.testing.assert_close(waves.to_images(seen), images, atol=1e-4, rtol=0)
    small, detail = waves.to_small(seen), waves.detail(seen, data.labels)
    assert small.shape[1:] == waves.small
    again = waves.with_detail(waves.of_small(small), detail, data.labels)
    torch.testing.assert_close(again, images, atol=1e-4, rtol=0)


def test_a_small_image_looks_like_the_large_one():
    data = smooth(side=64)
    waves = Waves(data, 2)
    small = waves.to_small(waves.of_images(to_float(data.images)))
    pooled = torch.nn.functional.avg_pool2d(to_float(data.images), 2)
    assert float((small - pooled).square().mean().sqrt()) < 0.03


def test_detail_has_deviation_one_in_each_class():
    data = stripes()
    waves = Waves(data, 2)
    detail = waves.detail(waves.of_images(to_float(data.images)), data.labels)
    assert waves.deviation[1].max() > 10 * waves.deviation[0][:, 24:].max()
    striped = detail[data.labels == 1].square().sum() / (waves.high.sum() * 8)
    assert 0.02 < float(striped) < 1.05  # less where a wave is below a grey level
    assert waves.deviation.shape[0] == 2


def dull_and_rough(side=64, n=16):
    """Images of one class: white noise, of which the last has ten times as much as the first."""
    noise = torch.randn(n, 1, side, side, generator=torch.Generator().manual_seed(0))
    size = torch.linspace(4, 40, n)[:, None, None, None]
    images = (128 + size * noise).round().clamp(0, 255).to(torch.uint8)
    return LabelledImages(images, torch.zeros(n, dtype=torch.int64), ("only",))


def test_the_size_of_the_detail_follows_the_finest_waves_of_the_small_image():
    data = dull_and_rough()
    waves = Waves(data, 2)
    seen = waves.of_images(to_float(data.images))
    assert float(waves.slope) > 0.9
    contrast = waves.contrast(seen, data.labels).flatten()
    assert 6 < float(contrast[-1] / contrast[0]) < 10.5  # ten times the size
    powers = waves.detail(seen, data.labels).square().sum((1, 2, 3))
    assert float(powers.max() / powers.min()) < 2  # 100 where each is divided by one size


def test_classes_of_transformed_images_have_the_deviations_of_their_class():
    training = generator_set(stripes(), "document", 0.5)
    deviation = Waves(training.parts[0], 2).deviation
    assert torch.equal(deviation[:2], deviation[2:])


@pytest.fixture(scope="module")
def model():
    ddpm, data = DDPM(steps=60, calls=8, **TINY), stripes()
    fit(ddpm, generator_set(data, "none", 0.0), seed=0, device=torch.device("cpu"))
    return data, ddpm


def stripes_in(images):
    """Mean contrast of neighbouring rows."""
    return float(images.float().diff(dim=2).abs().mean())


def test_a_class_is_drawn_with_its_own_detail(model):
    data, ddpm = model
    seeds = torch.arange(8)
    plain, striped = (stripes_in(ddpm.sample(torch.full((8,), k), seeds=seeds)) for k in (0, 1))
    assert striped > 4 * plain
    assert striped == pytest.approx(stripes_in(data.images[data.labels == 1]), rel=0.5)


def test_the_network_of_the_detail_learns(model):
    data, ddpm = model
    waves = ddpm.reduction.cascade.waves.of_images(to_float(data.images))
    untrained = DDPM(**TINY)
    untrained.prepare(data, seed=0, device=torch.device("cpu"))
    losses = [
        float(
            m.reduction.cascade.loss(
                net, waves, data.labels, torch.Generator().manual_seed(1)
            ).detach()
        )
        for m, net in (
            (untrained, untrained.modules["ema"].detail),
            (ddpm, ddpm.modules["ema"].detail),
        )
    ]
    assert losses[1] < 0.97 * losses[0]  # most of this detail is rounding, which nobody can learn


@pytest.mark.parametrize(
    "settings", [dict(strength=0.3), dict(sampler="ddim"), dict(sampler="ddpm")]
)
def test_other_ways_of_drawing_reach_the_detail(model, settings):
    data, ddpm = model
    before = {key: getattr(ddpm, key) for key in settings}
    for key, value in settings.items():
        setattr(ddpm, key, value)
    images = ddpm.sample(torch.ones(4, dtype=torch.int64), seeds=torch.arange(4))
    for key, value in before.items():
        setattr(ddpm, key, value)
    assert stripes_in(images) == pytest.approx(stripes_in(data.images[data.labels == 1]), rel=0.6)


def test_little_strength_keeps_the_detail_of_the_labelled_image(model):
    data, ddpm = model
    ddpm.strength = 0.05
    labels = torch.arange(8) % 2
    images = ddpm.sample(labels, seeds=torch.arange(8))
    ddpm.strength = 1.0
    gaps = (images.float()[:, None] - data.images.float()).abs().mean((2, 3, 4)).min(1).values
    assert gaps.max() < 12


def test_the_detail_is_saved_with_the_model(model, cpu, tmp_path):
    data, ddpm = model
    save_learner(ddpm, "ddpm", data, tmp_path)
    again = load_learner({"ddpm": DDPM}, tmp_path, cpu)
    labels = torch.tensor([0, 1, 1])
    expected = ddpm.sample(labels, seeds=labels)
    assert torch.equal(again.sample(labels, seeds=labels), expected)


@pytest.mark.parametrize("sides", SIDES)
def test_images_of_any_shape_are_drawn_at_their_shape(sides, cpu):
    data, ddpm = sized(*sides), DDPM(steps=2, calls=2, **TINY)
    fit(ddpm, generator_set(data, "none", 0.0), seed=0, device=cpu)
    assert ddpm.sample(data.labels[:3], seeds=torch.arange(3)).shape == (3, 3, *sides)


@pytest.mark.parametrize("side", [64, 128, 256])
def test_the_networks_cost_no_more_for_larger_images(side, cpu):
    data = LabelledImages.blank(4, (1, side, side), ("a", "b"))
    ddpm = DDPM(**TINY)
    ddpm.prepare(data, seed=0, device=cpu)
    assert ddpm.shape == (1, 32, 32)
    waves = ddpm.reduction.cascade.waves
    assert (waves.shape[1] // waves.fold, waves.shape[2] // waves.fold) == (16, 16)


def test_images_up_to_32_pixels_have_no_cascade(cpu):
    ddpm = DDPM(**TINY)
    ddpm.prepare(LabelledImages.blank(4, (3, 32, 20), ("a", "b")), seed=0, device=cpu)
    assert ddpm.reduction.cascade is None
    assert not hasattr(ddpm.modules["net"], "detail")
