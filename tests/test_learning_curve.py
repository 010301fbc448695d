"""What a gain is worth in images: known answers on curves that are made up."""

import math

import numpy as np
import pytest

from augment.metrics.learning_curve import equivalent_images

SIZES = [50, 70, 100]


def curve(sizes, exponent, trials=6, noise=0.0):
    rng = np.random.default_rng(1)
    errors = 0.3 * (np.array(sizes) / 100.0) ** -exponent
    return errors * np.exp(noise * rng.standard_normal((trials, 1)))


@pytest.mark.parametrize("n", [60, 100, 143, 300])
def test_power_law_is_continued(n):
    errors = curve([*SIZES, n], 0.4, noise=0.1)
    found = equivalent_images(SIZES, errors[:, :3], errors[:, 3], 1e-3)
    assert found.exponent == pytest.approx(0.4)
    assert found.ratio == pytest.approx(n / 100)
    assert found.low == pytest.approx(n / 100)  # the trials agree on it
    assert f"{abs(n - 100)} {'more' if n >= 100 else 'fewer'} labelled images" in found.words


def test_interval_covers_trials_that_differ():
    errors = curve([*SIZES, 150], 0.4, trials=8)
    rng = np.random.default_rng(3)
    found = equivalent_images(
        SIZES, errors[:, :3], errors[:, 3] * np.exp(0.05 * rng.standard_normal(8)), 1e-3
    )
    assert found.low < found.ratio < found.high
    assert found.low < 1.5 < found.high


def test_what_lies_beyond_the_curve_is_not_said():
    errors = curve([*SIZES, 900], 0.4)
    found = equivalent_images(SIZES, errors[:, :3], errors[:, 3], 1e-3)
    assert math.isinf(found.ratio)
    assert found.words.startswith("beyond what this curve can say: over 300 more labelled images")


def test_flat_curve_says_nothing():
    errors = curve(SIZES, 0.0)
    found = equivalent_images(SIZES, errors, errors[:, 2] * 0.9, 1e-3)
    assert math.isnan(found.ratio)
    assert "do not lower its error" in found.words


def test_loss_is_told_in_words_and_never_as_a_negative_number():
    errors = curve([*SIZES, 80], 0.5)
    words = equivalent_images(SIZES, errors[:, :3], errors[:, 3], 1e-3).words
    assert "20 fewer labelled images" in words
    far = equivalent_images(SIZES, errors[:, :3], errors[:, 3] * 3, 1e-3).words
    assert "over 50 fewer" in far
    assert "-" not in words + far
    assert "−" not in words + far


def test_errors_of_nothing_are_as_small_as_the_test_set_can_tell():
    errors = np.zeros((3, 3))
    found = equivalent_images(SIZES, errors, np.zeros(3), 0.005)
    assert math.isnan(found.ratio)
