"""Images with an even spectrum, and what a diffusion model gains by it."""

import pytest
import torch

from augment.data.images import LabelledImages, to_float
from augment.experiment.arms import generator_set
from augment.generators.ddpm import DDPM
from augment.generators.spectrum import LEAST_DEVIATION, Spectrum, cosines
from augment.training.loop import fit
from augment.training.serialization import kept_state, load_learner, save_learner


def smooth(n=24, side=12):
    """Colour images [n, 3, side, side] of slow waves and a grain of a few grey levels."""
    rng = torch.Generator().manual_seed(0)
    phase, tint = torch.rand(n, 1, 1, 1, generator=rng), torch.rand(n, 3, 1, 1, generator=rng)
    across = torch.linspace(0, 1, side)[None, None, None]
    down = torch.linspace(0, 1, side)[None, None, :, None]
    waves = (6 * (across + 0.5 * down + phase)).sin()
    grain = torch.randn(n, 3, side, side, generator=rng)
    images = (128 + 60 * waves + 40 * (tint - 0.5) + 3 * grain).clamp(0, 255).to(torch.uint8)
    return LabelledImages(images, torch.arange(n) % 2, ("a", "b"))


def grain_of(images):
    """Standard deviation, in grey levels, of the mixed difference of neighbouring pixels."""
    x = images.float()
    return float((x[..., 1:, 1:] - x[..., 1:, :-1] - x[..., :-1, 1:] + x[..., :-1, :-1]).std())


def test_cosines_are_an_orthonormal_transform_of_waves():
    rows = cosines(7)
    torch.testing.assert_close(rows @ rows.T, torch.eye(7, dtype=torch.float64))
    wave = (torch.pi * 3 * (torch.arange(7, dtype=torch.float64) + 0.5) / 7).cos()
    assert (rows @ wave).abs().argmax() == 3
    assert (rows @ wave).abs().sort()[0][-2] < 1e-12


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("fold", [1, 2, 4])
def test_what_the_network_sees_is_turned_back_into_the_same_images(fold, whitening):
    data = smooth(side=13)
    spectrum = Spectrum(data, fold, 2 * fold, whitening)
    components = spectrum.to_components(to_float(data.images))
    padded = -(-13 // (2 * fold)) * 2 * fold
    assert components.shape == (24, 3 * fold**2, padded // fold, padded // fold)
    again = spectrum.to_images(components)[..., :13, :13]
    torch.testing.assert_close(again, to_float(data.images), atol=1e-4, rtol=0)


def deviations(images):
    """Deviation of an image's frequencies below and above a quarter of the sampling rate."""
    side = images.shape[-1]
    rows = cosines(side).float()
    power = (rows @ images @ rows.T).square().mean((0, 1))
    low, high = power[: side // 2, : side // 2], power[side // 2 :, side // 2 :]
    return float(low.mean().sqrt()), float(high.mean().sqrt())


def test_whitened_images_have_all_frequencies_and_colours_at_one_size():
    data = smooth()
    images = to_float(data.images)
    low, high = deviations(images)
    assert low > 20 * high
    white = Spectrum(data, 1, 4, 1.0).to_components(images)
    assert deviations(white) == pytest.approx((1, 1), rel=0.05)
    covariance = white.transpose(0, 1).flatten(1).cov(correction=0)
    torch.testing.assert_close(covariance, torch.eye(3), atol=0.1, rtol=0)


def test_half_whitening_leaves_the_square_root_of_the_contrast_at_deviation_one():
    data = smooth()
    half = Spectrum(data, 1, 4, 0.5).to_components(to_float(data.images))
    assert float(half.square().mean()) == pytest.approx(1, rel=0.01)
    whole, even = (Spectrum(data, 1, 4, power).gain for power in (1.0, 0.5))
    torch.testing.assert_close(whole / whole.mean(), (even / even.square().mean().sqrt()) ** 2)


def test_what_varies_by_less_than_a_grey_level_is_not_enlarged():
    grey = smooth().images[:, :1].repeat(1, 3, 1, 1)  # saved as colour: no colour in it
    data = LabelledImages(grey, torch.zeros(24, dtype=torch.int64), ("a",))
    spectrum = Spectrum(data, 1, 4, 1.0)
    assert spectrum.gain.min() > 0.5 * LEAST_DEVIATION
    sizes = spectrum.to_components(to_float(grey)).std((0, 2, 3)).sort()[0]
    assert sizes[:2].max() < 1e-3
    assert sizes[2] > 1


def trained(whitening, cpu):
    data = generator_set(smooth(), "none", 0.0)
    model = DDPM(steps=40, batch=16, widths=(8, 16), hub=16, whitening=whitening)
    fit(model, data, seed=0, device=cpu)
    return model


@pytest.mark.parametrize("sampler", ["dpm++", "ddim"])
def test_samples_of_an_even_spectrum_have_a_fifth_of_the_speckle(cpu, sampler):
    labels, grain = torch.arange(32) % 2, {}
    for whitening in (0.0, 1.0):
        model = trained(whitening, cpu)
        model.sampler = sampler
        grain[whitening] = grain_of(model.sample(labels, seeds=torch.arange(32)))
    assert grain_of(smooth().images) < grain[1.0] < grain[0.0] / 5


def test_the_spectrum_is_saved_with_the_model(cpu, tmp_path):
    model, labels = trained(1.0, cpu), torch.tensor([0, 1, 1])
    save_learner(model, "ddpm", smooth(), tmp_path)
    again = load_learner({"ddpm": DDPM}, tmp_path, cpu)
    expected = model.sample(labels, seeds=labels)
    assert torch.equal(again.sample(labels, seeds=labels), expected)


def test_a_model_of_pixels_is_saved_as_before_there_was_a_spectrum(cpu):
    model = DDPM(widths=(8, 16), hub=16)
    model.prepare(smooth(), seed=0, device=cpu)
    names = {name for name in kept_state(model) if not name.startswith("ema.")}
    assert names == {"memory.images", "memory.labels"}
