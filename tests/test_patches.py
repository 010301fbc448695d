"""Patches of pixels as decorrelated components, and what a diffusion model gains by them."""

import pytest
import torch

from augment.data.images import LabelledImages, to_float
from augment.experiment.arms import generator_set
from augment.generators.ddpm import DDPM
from augment.generators.patches import LEAST_DEVIATION, Patches
from augment.training.loop import fit
from augment.training.serialization import load_learner, save_learner


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


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("fold", [1, 2, 4])
def test_components_are_turned_back_into_the_same_images(fold, whitening):
    data = smooth(side=13)
    patches = Patches(data, fold, 2 * fold, whitening)
    components = patches.to_components(to_float(data.images))
    padded = -(-13 // (2 * fold)) * 2 * fold
    assert components.shape == (24, 3 * fold**2, padded // fold, padded // fold)
    again = patches.to_images(components)[..., :13, :13]
    torch.testing.assert_close(again, to_float(data.images), atol=1e-4, rtol=0)


def test_whitened_components_of_the_labelled_images_are_uncorrelated_and_of_one_size():
    data = smooth()
    components = Patches(data, 2, 4, 1.0).to_components(to_float(data.images))
    covariance = components.transpose(0, 1).flatten(1).cov(correction=0)
    torch.testing.assert_close(covariance, torch.eye(12), atol=1e-3, rtol=0)


def test_half_whitening_leaves_the_square_root_of_the_sizes():
    data = smooth()
    sizes = [
        Patches(data, 2, 4, power).to_components(to_float(data.images)).std((0, 2, 3)).sort()[0]
        for power in (0.5, 1e-9)
    ]
    torch.testing.assert_close(sizes[0].square(), sizes[1], atol=1e-3, rtol=1e-2)
    assert sizes[1][-1] > 20 * sizes[1][0]


def test_what_varies_by_less_than_a_grey_level_is_not_enlarged():
    grey = smooth().images[:, :1].repeat(1, 3, 1, 1)  # saved as colour: 8 of 12 components are 0
    data = LabelledImages(grey, torch.zeros(24, dtype=torch.int64), ("a",))
    patches = Patches(data, 2, 4, 1.0)
    assert patches.forwards.abs().max() <= 1 / LEAST_DEVIATION + 1e-3
    assert patches.to_components(to_float(grey)).std((0, 2, 3)).sort()[0][:8].max() < 1e-3


def trained(whitening, cpu):
    data = generator_set(smooth(), "none", 0.0)
    model = DDPM(steps=40, batch=16, widths=(8, 16), hub=16, whitening=whitening)
    fit(model, data, seed=0, device=cpu)
    return model


@pytest.mark.parametrize("sampler", ["dpm++", "ddim"])
def test_samples_of_decorrelated_patches_have_a_third_of_the_speckle(cpu, sampler):
    labels, grain = torch.arange(32) % 2, {}
    for whitening in (0.0, 1.0):
        model = trained(whitening, cpu)
        model.sampler = sampler
        grain[whitening] = grain_of(model.sample(labels, seeds=torch.arange(32)))
    assert grain_of(smooth().images) < grain[1.0] < grain[0.0] / 3


def test_the_components_are_saved_with_the_model(cpu, tmp_path):
    model, labels = trained(1.0, cpu), torch.tensor([0, 1, 1])
    save_learner(model, "ddpm", smooth(), tmp_path)
    again = load_learner({"ddpm": DDPM}, tmp_path, cpu)
    expected = model.sample(labels, seeds=labels)
    assert torch.equal(again.sample(labels, seeds=labels), expected)
