"""Intervals over trials and test units against scipy, hand-made sums and simulated experiments."""

import math

import numpy as np
import pytest
from scipy import stats

from augment.metrics.intervals import (
    UnitVariance,
    half_width,
    look_alpha,
    mean_interval,
    standard_error,
    t_interval,
    t_test_p,
    unit_variance,
)

# trials × images, right more often (1), less often (-1) or as often (0) than the baseline
WON = np.array([[1, 0, 0, 1], [1, 0, -1, 0], [1, 1, 0, 0]])
ONE_OF_60 = 3 / 1.959964 / 60  # the rule of three, as a standard error


@pytest.mark.parametrize("n", range(2, 13))
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_interval_over_trials_is_student_s(n, level):
    d = np.random.default_rng(n).normal(0.01, 0.03, n)
    wanted = stats.ttest_1samp(d, 0)
    assert t_interval(d, level) == pytest.approx(tuple(wanted.confidence_interval(level)))
    assert t_test_p(d) == pytest.approx(wanted.pvalue)


def test_spread_of_single_scores_is_a_t_interval():
    values = [0.81, 0.84, 0.79, 0.90]
    wanted = stats.ttest_1samp(values, 0).confidence_interval()
    found = mean_interval([*values, math.nan])
    assert found == pytest.approx((np.mean(values), wanted.low, wanted.high))
    assert mean_interval([0.5])[0] == 0.5
    for without in ([0.5], [], [0.5, 0.5, 0.5]):
        assert all(map(math.isnan, mean_interval(without)[1:]))


def test_variance_of_the_images_by_hand():
    # images' means 1, 1/3, -1/3, 1/3 around 1/3: mean square 3·(8/9)/3 = 8/9; the rest: sum of
    # squares 6 - 12/9 = 14/3, less images 8/3, less trials 4·(2·(1/6)²+(1/3)²), on 6 degrees
    trials = 4 * sum((row.mean() - WON.mean()) ** 2 for row in WON)
    rest = (((WON - WON.mean()) ** 2).sum() - 8 / 3 - trials) / 6
    tiled = np.tile(WON, 15)  # so many images that the rule of three does not matter
    found = unit_variance(tiled)
    assert found.number == 60
    ms_units, ms_rest = 15 * 8 / 3 / 59, 15 * 6 * rest / (2 * 59)
    assert found.se == pytest.approx(math.sqrt((ms_units - ms_rest) / 180))
    assert found.sd_interaction == pytest.approx(math.sqrt(ms_rest / 60))


def test_variance_of_the_images_is_that_of_a_two_way_analysis_of_variance():
    rng = np.random.default_rng(4)
    d = rng.normal(0, 1, 400) + rng.normal(0, 1, (5, 1)) + rng.normal(0, 2, (5, 400))
    se = unit_variance(d).se
    assert unit_variance(d[:, ::-1]).se == pytest.approx(se)
    assert unit_variance(d + 7).se == pytest.approx(se)  # the mean itself is no spread
    assert unit_variance(d + np.arange(5)[:, None]).se == pytest.approx(se)  # nor are trials
    many = unit_variance(rng.normal(0, 1, 40_000) + rng.normal(0, 2, (5, 40_000)))
    assert many.se == pytest.approx(1 / math.sqrt(40_000), rel=0.03)
    assert many.sd_interaction == pytest.approx(2 / math.sqrt(40_000), rel=0.03)


def test_images_that_trials_do_not_agree_on_count_as_the_residual():
    d = np.array([[1, 0] * 50, [0, 1] * 50, [1, 1] * 50]) - 0.5
    of_rest = unit_variance(d).sd_interaction ** 2 / 3
    error, _ = standard_error(0.0, 3, unit_variance(d))
    assert unit_variance(d).se == 0
    assert error == pytest.approx(math.sqrt(of_rest))  # not 0, though no trial differs


def test_degrees_are_satterthwaite_s():
    of_trials, of_units, of_rest = 4.0, 3.0, 1.0  # variances of the mean, from mean squares
    units = UnitVariance(5, math.sqrt(of_units - of_rest), math.sqrt(6 * of_rest))
    error, degrees = standard_error(math.sqrt(6 * of_trials), 6, units)
    assert error**2 == pytest.approx(4 + 3 - 1)
    assert degrees == pytest.approx(6**2 / (4**2 / 5 + 3**2 / 4 + 1**2 / 20))
    # of older tables the error of the images alone is known: Hillis 2007
    error, degrees = standard_error(math.sqrt(6 * 4.0), 6, UnitVariance(se=math.sqrt(2)))
    assert (error**2, degrees) == pytest.approx((6, 5 * (6 / 4) ** 2))


def test_a_single_unit_is_unknown_and_not_none():
    found = unit_variance(np.ones((3, 1)))
    assert found.single
    d = np.array([0.01, 0.02, 0.04])
    assert t_interval(d, units=found) == t_interval(d)  # the verdict says what that leaves out


@pytest.mark.parametrize("units", [2, 3])
def test_two_or_three_units_are_hardly_known(units):
    d = np.linspace(-1, 1, units) + np.zeros((12, 1))  # all trials agree
    low, high = t_interval(d.mean(1), units=unit_variance(d))
    of_units = stats.t.ppf(0.975, units - 1) * d[0].std(ddof=1) / math.sqrt(units)
    assert (high - low) / 2 >= of_units - 1e-9


@pytest.mark.parametrize("n", [2, 6, 12])
def test_of_images_that_never_differ_three_may(n):
    units = unit_variance(np.zeros((n, 60)))
    assert units.se == pytest.approx(ONE_OF_60)
    low, high = t_interval(np.zeros(n), units=units)
    assert 3 / 60 <= high == -low <= 3.1 / 60


def test_few_images_that_differ_do_not_make_a_narrow_interval():
    for differing in range(1, 30):
        d = np.zeros((6, 60))
        d[:, :differing] = 1  # in all trials alike
        low, high = t_interval(d.mean(1), units=unit_variance(d))
        assert (high - low) / 2 >= 3 / 60
        assert low <= 0 or differing > 3
    d = np.zeros((6, 60))
    d[0, 0] = 1  # once in 360 predictions
    low, high = t_interval(d.mean(1), units=unit_variance(d))
    assert (high - low) / 2 >= 3 / 60


def test_rule_of_three_is_in_units_as_large_as_those_that_differ():
    d = np.zeros((6, 20))
    d[:, :2] = 0.1  # a tenth of the images of two patients
    assert unit_variance(d).se >= 0.09 * ONE_OF_60 * 3
    assert unit_variance(d).se < 0.1 * ONE_OF_60 * 4


def test_interval_is_never_narrower_than_that_over_trials():
    rng = np.random.default_rng(0)
    for n in (2, 3, 6, 12):
        for units in (UnitVariance(5, 0.1, 0.2), UnitVariance(2000, 0.01, 0.5), UnitVariance()):
            sds = rng.exponential(1, 20)
            assert (half_width(sds, n, units=units) >= half_width(sds, n) - 1e-12).all()


@pytest.mark.parametrize("spread_of_units", [0.0, 0.8])
@pytest.mark.parametrize(("n", "m"), [(3, 5), (3, 60), (12, 2), (6, 60)])
def test_no_difference_is_rarely_taken_for_one(n, m, spread_of_units):
    rng, alone, both, experiments = np.random.default_rng(8), 0, 0, 500
    for _ in range(experiments):
        latent = rng.normal(0, spread_of_units, m) + rng.normal(0, 0.2, (n, 1))
        d = latent + rng.normal(0, 0.6, (n, m))
        low, high = t_interval(d.mean(1), units=unit_variance(d))
        both += not low <= 0 <= high
        low, high = t_interval(d.mean(1))
        alone += not low <= 0 <= high
    assert both / experiments <= 0.075  # 0.06, and 1.5 standard errors of 500
    if spread_of_units and n > 3:
        assert alone / experiments > 0.1  # trials alone leave the images out


def test_looks_at_a_growing_number_of_trials_are_paid_for():
    assert [look_alpha(k) for k in (1, 2, 3, 5)] == [0.05, 0.0125, 0.00625, 0.003125]
    rng, free, paid, experiments = np.random.default_rng(3), 0, 0, 4000
    d = rng.normal(0, 1, (experiments, 27))
    ps = [stats.ttest_1samp(d[:, :n], 0, axis=1).pvalue for n in range(3, 28, 3)]
    paid = np.any([p <= look_alpha(k) for k, p in enumerate(ps, 1)], axis=0).mean()
    free = np.any([p <= 0.05 for p in ps], axis=0).mean()
    assert paid <= 0.075
    assert free > 0.18
