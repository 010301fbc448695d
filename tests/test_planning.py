"""Power and numbers of trials against known values and simulated experiments."""

import numpy as np
import pytest
from scipy import stats

from augment.metrics.intervals import UnitVariance, t_interval
from augment.metrics.planning import detectable_gain, power, sd_range, trials_needed


@pytest.mark.parametrize(
    ("n", "gain", "known"), [(34, 0.5, 0.808), (10, 0.5, 0.293), (3, 1.0, 0.179)]
)  # G*Power 3.1, t test of matched pairs
def test_power_is_that_of_the_noncentral_t(n, gain, known):
    assert power(n, gain, 1.0) == pytest.approx(known, abs=1e-3)
    assert power(n, -2 * gain, 2.0) == pytest.approx(known, abs=1e-3)


@pytest.mark.parametrize("level", [0.95, 0.9875])
def test_power_at_no_gain_is_the_level(level):
    assert power(7, 0.0, 1.0, level) == pytest.approx(1 - level, abs=1e-3)


def test_trials_for_a_gain_are_the_fewest_that_show_it():
    assert trials_needed(0.5, 1.0) == 34
    assert power(33, 0.5, 1.0) < 0.8 <= power(34, 0.5, 1.0)
    assert trials_needed(0.001, 1.0) is None
    assert trials_needed(100.0, 1.0) == 3  # two have no verdict
    assert trials_needed(0.5, 1.0, 0.9875) > 34  # as a second look


def test_detectable_gain_undoes_trials_needed():
    assert detectable_gain(34, 1.0) == pytest.approx(0.495, abs=1e-3)
    assert power(6, detectable_gain(6, 0.01), 0.01) == pytest.approx(0.8, abs=1e-3)
    assert detectable_gain(2, 1.0) > detectable_gain(3, 1.0) > 2


@pytest.mark.parametrize(("n", "sd", "se"), [(3, 1.0, 0.5), (6, 1.0, 2.0), (12, 0.5, 1.0)])
@pytest.mark.parametrize("interaction", [0.0, 0.4])
def test_power_with_test_units_is_that_of_simulated_experiments(n, sd, se, interaction):
    rng, gain, shown = np.random.default_rng(n), 2.5, 0
    units = UnitVariance(500, se, interaction)
    for luck in rng.normal(0, se, 2000):
        low, high = t_interval(rng.normal(gain + luck, sd, n), units=units)
        shown += low > 0 or high < 0
    assert power(n, gain, sd, units=units) == pytest.approx(shown / 2000, abs=0.03)
    least = detectable_gain(n, sd, units=units)
    assert power(n, least, sd, units=units) == pytest.approx(0.8)


def test_no_number_of_trials_makes_up_for_too_few_test_images():
    few = UnitVariance(60, 0.1)
    assert trials_needed(0.5, 1.0, units=few) > trials_needed(0.5, 1.0)
    assert trials_needed(0.5, 1.0, units=UnitVariance(60, 0.3)) is None


def test_range_of_the_standard_deviation_holds_the_true_one_in_four_experiments_of_five():
    rng, held = np.random.default_rng(0), 0
    for _ in range(2000):
        low, high = sd_range(6, float(rng.normal(0, 3, 6).std(ddof=1)))
        held += low <= 3 <= high
    assert held / 2000 == pytest.approx(0.8, abs=0.03)
    # χ² of 5 degrees: 9.236 and 1.610
    assert sd_range(6, 1.0) == pytest.approx((np.sqrt(5 / 9.23636), np.sqrt(5 / 1.61031)), rel=1e-4)
    assert stats.chi2.ppf(0.9, 5) == pytest.approx(9.23636, rel=1e-5)
