"""Paired differences against scipy, against sums done by hand, and at the edges."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from augment.metrics.paired import (
    Contrast,
    detectable_gain,
    holm,
    mean_interval,
    paired_contrast,
    power,
    sign_flip_p,
    t_interval,
    trials_needed,
    unit_standard_error,
)

ARM = [0.81, 0.84, 0.79, 0.90, 0.83, 0.86, 0.80, 0.88]
BASE = [0.80, 0.80, 0.80, 0.85, 0.84, 0.80, 0.79, 0.81]
SCORES = st.lists(st.integers(0, 50).map(lambda hits: hits / 50), min_size=2, max_size=8)


def drawn(n, seed=0):
    return np.random.default_rng(seed).normal(0.01, 0.03, n).round(4)


def test_mean_and_interval_by_hand():
    # differences 1, 2, 3 points: mean 2, sd 1, t(0.975; 2) = 4.302653
    found = paired_contrast([0.51, 0.62, 0.73], [0.50, 0.60, 0.70])
    half = 4.302653 * 0.01 / math.sqrt(3)
    assert (found.n, found.missing) == (3, 0)
    assert found.mean == pytest.approx(0.02)
    assert (found.low, found.high) == pytest.approx((0.02 - half, 0.02 + half), abs=1e-8)
    assert found.p == 0.25  # 2 of 8 sign patterns reach a sum of 6
    assert found.verdict == "can't tell"


@pytest.mark.parametrize("n", range(2, 10))
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_interval_below_ten_pairs_is_student_s(n, level):
    d = drawn(n)
    wanted = stats.ttest_1samp(d, 0).confidence_interval(level)
    assert t_interval(d, level) == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize("n", [10, 12])
def test_bootstrap_interval_stands_beside_from_ten_pairs_on(n):
    d = np.random.default_rng(n).exponential(0.02, n)  # skewed: BCa leans to the long tail
    wanted = stats.bootstrap(
        (d,), np.mean, method="BCa", n_resamples=9999, rng=np.random.default_rng(7)
    ).confidence_interval
    zeros = [0.0] * n
    contrast = paired_contrast(d.tolist(), zeros)
    assert contrast.bca == pytest.approx((wanted.low, wanted.high), rel=0.03)
    assert sum(contrast.bca) / 2 > d.mean() + 0.001  # a t interval would be symmetric
    assert contrast.low + contrast.high == pytest.approx(2 * d.mean())
    assert contrast.bca == paired_contrast(d.tolist(), zeros).bca  # the same resamples each time
    assert paired_contrast(d[:9].tolist(), zeros[:9]).bca is None


@pytest.mark.parametrize("n", [2, 3, 6, 9, 11])
def test_p_is_scipy_s_exact_permutation_test(n):
    arm, base = 0.5 + drawn(n), 0.5 + drawn(n, seed=1)
    wanted = stats.permutation_test(
        (arm, base),
        lambda a, b: np.mean(a) - np.mean(b),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert paired_contrast(arm.tolist(), base.tolist()).p == pytest.approx(wanted.pvalue, abs=1e-12)


def test_p_by_random_patterns_comes_near_the_exact_one():
    d = drawn(18, seed=3)
    signs = 1 - 2 * ((np.arange(2**18)[:, None] >> np.arange(18)) & 1)
    exact = (np.abs(signs @ d) >= abs(d.sum()) - 1e-12).mean()
    assert sign_flip_p(d) == pytest.approx(exact, abs=0.01)
    assert sign_flip_p(np.ones(30)) == pytest.approx(1 / 50_001)  # counted itself: never 0


@given(SCORES, st.sampled_from([1e-4, 1.0, 1e6]))
@settings(max_examples=40, deadline=None)
def test_p_is_a_share_of_patterns_and_never_below_two_of_them(scores, scale):
    d = scale * (np.array(scores) - 0.3)
    p = sign_flip_p(d)
    assert 2.0 ** (1 - len(d)) <= p <= 1
    assert (p * 2 ** len(d)) % 2 == 0  # a pattern and its mirror image, always
    assert p == sign_flip_p(-d) == sign_flip_p(d[::-1])


@pytest.mark.parametrize("n", [2, 3, 6, 10, 12])
def test_equal_differences_give_width_zero_and_the_smallest_p(n):
    base = np.linspace(0.3, 0.7, n)
    found = paired_contrast((base + 0.02).tolist(), base.tolist())
    assert found.low == found.high == pytest.approx(0.02)
    assert found.p == 2.0 ** (1 - n)
    assert found.verdict == "helps"


@pytest.mark.parametrize("n", [2, 6, 10])
def test_no_difference_at_all_cannot_be_told(n):
    found = paired_contrast([0.3] * n, [0.1 + 0.2] * n)  # equal but for the last bit
    assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.verdict == "can't tell"


def test_one_pair_has_no_interval_and_no_p():
    found = paired_contrast([0.9, math.nan], [0.7, 0.8])
    assert (found.n, found.missing, found.mean) == (1, 1, pytest.approx(0.2))
    assert found.low is found.high is found.p is found.p_holm is None
    assert found.verdict == "one trial"


@pytest.mark.parametrize("pairs", [([], []), ([math.nan], [0.5])])
def test_no_pair_has_nothing(pairs):
    found = paired_contrast(*pairs)
    assert (found.n, found.missing) == (0, len(pairs[0]))
    assert math.isnan(found.mean)
    assert found.p is None
    assert found.verdict == "no pair"


def test_pair_with_a_missing_half_is_left_out_and_counted():
    holes_arm, holes_base = [*ARM, math.nan, 0.9, math.inf], [*BASE, 0.1, math.nan, 0.2]
    found, whole = paired_contrast(holes_arm, holes_base), paired_contrast(ARM, BASE)
    assert found.missing == 3
    assert (found.n, found.mean, found.low, found.high, found.p) == (
        8,
        whole.mean,
        whole.low,
        whole.high,
        whole.p,
    )


def test_scores_of_different_lengths_are_no_pairs():
    with pytest.raises(ValueError, match="3 scores cannot be paired with 1"):
        paired_contrast([0.1, 0.2, 0.3], [0.1])


@pytest.mark.parametrize(
    ("arm", "base", "verdict"),
    [
        ([0.80, 0.81, 0.82], [0.70, 0.71, 0.73], "helps"),
        ([0.70, 0.71, 0.73], [0.80, 0.81, 0.82], "hurts"),
        ([0.80, 0.60, 0.70], [0.70, 0.70, 0.71], "can't tell"),
        ([0.8], [0.7], "one trial"),
        ([], [], "no pair"),
    ],
)
def test_verdict_follows_the_interval(arm, base, verdict):
    assert paired_contrast(arm, base).verdict == verdict


def test_interval_that_touches_zero_is_no_verdict():
    assert Contrast(3, 0.1, 0.0, 0.2, 0.25).verdict == "can't tell"
    assert Contrast(3, -0.1, -0.2, 0.0, 0.25).verdict == "can't tell"


def test_holm_by_hand():
    # sorted 0.01 0.02 0.03 0.4: ×4, ×3, ×2, ×1, then never falling
    contrasts = [Contrast(6, 0.0, 0.0, 0.0, p) for p in (0.03, 0.4, 0.01, 0.02)]
    assert [c.p_holm for c in holm(contrasts)] == pytest.approx([0.06, 0.4, 0.04, 0.06])


def test_holm_leaves_out_contrasts_without_p_and_does_not_count_them():
    found = holm([Contrast(1, 0.1), Contrast(6, 0.1, 0.0, 0.2, 0.04), Contrast(0, math.nan)])
    assert [c.p_holm for c in found] == [None, 0.04, None]


@given(st.lists(st.floats(0.001, 1), max_size=8))
@settings(max_examples=40, deadline=None)
def test_holm_is_monotone_between_p_and_bonferroni(ps):
    found = holm([Contrast(6, 0.0, 0.0, 0.0, p) for p in ps])
    assert [c.p for c in found] == ps
    for c in found:
        assert c.p <= c.p_holm <= min(1, c.p * len(ps)) + 1e-12
        assert all(c.p_holm <= d.p_holm for d in found if c.p <= d.p)


def test_spread_of_single_scores_is_a_t_interval():
    wanted = stats.ttest_1samp(ARM, 0).confidence_interval()
    found = mean_interval([*ARM, math.nan])
    assert found == pytest.approx((np.mean(ARM), wanted.low, wanted.high))
    assert mean_interval([0.5])[0] == 0.5
    assert all(map(math.isnan, mean_interval([0.5])[1:]))
    assert all(map(math.isnan, mean_interval([])))


@pytest.mark.parametrize(
    ("n", "gain", "known"), [(34, 0.5, 0.808), (10, 0.5, 0.293), (3, 1.0, 0.179)]
)  # G*Power 3.1, t test of matched pairs
def test_power_is_that_of_the_noncentral_t(n, gain, known):
    assert power(n, gain, 1.0) == pytest.approx(known, abs=1e-3)
    assert power(n, -2 * gain, 2.0) == pytest.approx(known, abs=1e-3)


def test_power_at_no_gain_is_the_level():
    assert power(7, 0.0, 1.0) == pytest.approx(0.05, abs=1e-3)


def test_pairs_for_a_gain_are_the_fewest_that_show_it():
    assert trials_needed(0.5, 1.0) == 34
    assert power(33, 0.5, 1.0) < 0.8 <= power(34, 0.5, 1.0)
    assert trials_needed(0.001, 1.0) is None
    assert trials_needed(0.001, 0.0) == 2


def test_gain_shown_undoes_pairs_for():
    assert detectable_gain(34, 1.0) == pytest.approx(0.495, abs=1e-3)
    assert power(6, detectable_gain(6, 0.01), 0.01) == pytest.approx(0.8, abs=1e-3)
    assert detectable_gain(2, 1.0) > detectable_gain(3, 1.0) > 2
    assert detectable_gain(5, 0.0) == 0


# trials × images, right more often (1), less often (-1) or as often (0) than the baseline
WON = np.array([[1, 0, 0, 1], [1, 0, -1, 0], [1, 1, 0, 0]])


def test_error_of_the_images_by_hand():
    # images' means 1, 1/3, -1/3, 1/3 around 1/3: mean square 3·(8/9)/3 = 8/9; the rest: total
    # 8/3 + 0 … = sum of squares 6 - 12/9 = 14/3, less images 8/3, less trials 4·(2·(1/6)²+(1/3)²)
    trials = 4 * sum((row.mean() - WON.mean()) ** 2 for row in WON)
    total = ((WON - WON.mean()) ** 2).sum()
    rest = (total - 8 / 3 - trials) / 6
    assert unit_standard_error(WON) == pytest.approx(math.sqrt((8 / 9 - rest) / 12))


def test_error_of_the_images_is_that_of_a_two_way_analysis_of_variance():
    rng = np.random.default_rng(4)
    d = rng.normal(0, 1, 40) + rng.normal(0, 1, (5, 1)) + rng.normal(0, 2, (5, 40))
    assert unit_standard_error(d) == pytest.approx(unit_standard_error(d[:, ::-1]))
    assert unit_standard_error(d + 7) == pytest.approx(
        unit_standard_error(d)
    )  # the mean itself is no spread
    assert unit_standard_error(d + np.arange(5)[:, None]) == pytest.approx(
        unit_standard_error(d)
    )  # nor are trials
    many = rng.normal(0, 1, 40_000) + rng.normal(0, 2, (5, 40_000))
    assert unit_standard_error(many) == pytest.approx(1 / math.sqrt(40_000), rel=0.03)


def test_images_that_trials_do_not_agree_on_add_nothing():
    d = np.array([[1, 0], [0, 1]])
    assert unit_standard_error(d) == 0
    assert unit_standard_error(np.ones((3, 1))) == 0  # a single unit tells nothing


def test_interval_covers_other_test_images_too():
    rng = np.random.default_rng(8)
    alone, both, experiments = 0, 0, 400
    for _ in range(experiments):  # six trials of sixty images, right and wrong alike by chance
        latent = rng.normal(0, 0.8, 60) + rng.normal(0, 0.6, (6, 60)) + rng.normal(0, 0.1, (6, 1))
        d = (latent > 1.3).astype(float) - (latent < -1.3)
        means = d.mean(1).tolist()
        for_trials = paired_contrast(means, [0.0] * 6)
        for_both = paired_contrast(means, [0.0] * 6, se_test=unit_standard_error(d))
        assert for_both.low <= for_trials.low <= for_trials.high <= for_both.high
        assert (for_both.mean, for_both.p) == (for_trials.mean, for_trials.p)
        alone += for_trials.low <= 0 <= for_trials.high
        both += for_both.low <= 0 <= for_both.high
    assert alone / experiments < 0.85
    assert 0.93 <= both / experiments <= 0.99


def test_equal_differences_are_as_unsure_as_their_test_images():
    found = paired_contrast([0.6, 0.7], [0.5, 0.6], se_test=0.01)
    assert (found.low, found.high) == pytest.approx((0.1 - 0.0196, 0.1 + 0.0196), abs=1e-5)


@pytest.mark.parametrize(("n", "sd", "se"), [(3, 1.0, 0.5), (6, 1.0, 2.0), (12, 0.0, 1.0)])
def test_power_with_test_images_is_that_of_simulated_experiments(n, sd, se):
    rng, gain, shown = np.random.default_rng(n), 2.5, 0
    for luck in rng.normal(0, se, 2000):
        low, high = t_interval(rng.normal(gain + luck, sd, n), se_test=se)
        shown += low > 0 or high < 0
    assert power(n, gain, sd, se_test=se) == pytest.approx(shown / 2000, abs=0.03)
    assert power(n, detectable_gain(n, sd, se_test=se), sd, se_test=se) == pytest.approx(0.8)


def test_no_number_of_pairs_makes_up_for_too_few_test_images():
    assert trials_needed(0.5, 1.0, se_test=0.1) > trials_needed(0.5, 1.0)
    assert trials_needed(0.5, 1.0, se_test=0.3) is None


def test_contrast_keeps_the_spread_of_its_differences():
    assert paired_contrast([3, 5, 7], [1, 1, 1]).sd == 2
    assert paired_contrast([3], [1]).sd is None
