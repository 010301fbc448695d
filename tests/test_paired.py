"""Paired differences against scipy, against sums done by hand, and at the edges."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from augment.metrics.intervals import UnitVariance, look_alpha
from augment.metrics.paired import Contrast, holm, paired_contrast, sign_flip_p

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
    assert found.p_sign_flip == 0.25  # 2 of 8 sign patterns reach a sum of 6
    assert found.p == pytest.approx(2 * stats.t.sf(0.02 / (0.01 / math.sqrt(3)), 2))
    assert found.verdict == "can't tell"


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
def test_sign_flip_p_is_scipy_s_exact_permutation_test(n):
    arm, base = 0.5 + drawn(n), 0.5 + drawn(n, seed=1)
    wanted = stats.permutation_test(
        (arm, base),
        lambda a, b: np.mean(a) - np.mean(b),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    found = paired_contrast(arm.tolist(), base.tolist())
    assert found.p_sign_flip == pytest.approx(wanted.pvalue, abs=1e-12)


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


@pytest.mark.parametrize("n", [3, 6, 9])
@pytest.mark.parametrize("looks", [1, 3])
@pytest.mark.parametrize(
    "units", [None, UnitVariance(1.0), UnitVariance(5, 0.01, 0.02), UnitVariance(60, 0.0, 0.001)]
)
def test_p_is_at_most_5_percent_exactly_where_the_interval_excludes_0(n, looks, units):
    d = drawn(n, seed=n)
    for shift in np.linspace(-0.1, 0.1, 21):
        found = paired_contrast(
            (d + shift).tolist(), [0.0] * n, units=units, alpha=look_alpha(looks)
        )
        assert (found.p <= 0.05) == (not found.low <= 0 <= found.high)


@pytest.mark.parametrize("n", [2, 3, 6, 12])
@pytest.mark.parametrize("units", [None, UnitVariance(1.0)])
def test_equal_differences_have_no_interval_where_nothing_else_tells_its_width(n, units):
    base = np.linspace(0.3, 0.7, n)
    found = paired_contrast((base + 0.02).tolist(), base.tolist(), units=units)
    assert found.low is found.high is found.p is found.bca is None
    assert (found.sd, found.mean) == (0, pytest.approx(0.02))
    assert found.verdict == ("can't tell" if n > 2 else "too few trials")
    # equal but for the last bit
    assert paired_contrast([0.3] * n, [0.1 + 0.2] * n).mean == 0


def test_equal_differences_are_as_unsure_as_their_test_units():
    units = UnitVariance(60, 0.01)
    found = paired_contrast([0.6, 0.7, 0.8], [0.5, 0.6, 0.7], units=units)
    half = stats.t.ppf(0.975, 59) * 0.01  # all of the variance is that of 60 units
    assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half))
    assert found.p == pytest.approx(2 * stats.t.sf(10, 59))


def test_two_trials_have_an_interval_but_no_verdict_and_no_p():
    found = paired_contrast([0.9, 0.91], [0.5, 0.51 + 1e-6])
    assert found.low > 0
    assert found.verdict == "too few trials"
    assert found.p is None
    assert holm([found])[0].p_holm is None


def test_a_verdict_on_a_single_test_unit_is_none_on_others():
    scores = [0.80, 0.81, 0.82], [0.70, 0.71, 0.73]
    assert paired_contrast(*scores, units=UnitVariance(1.0)).verdict == "helps on one group"
    assert paired_contrast(*scores[::-1], units=UnitVariance(1.0)).verdict == "hurts on one group"
    assert paired_contrast([0.8, 0.6, 0.7], [0.7] * 3, units=UnitVariance(1.0)).verdict == (
        "can't tell"
    )


def test_later_looks_are_paid_for_in_interval_and_p():
    first, second, third = (paired_contrast(ARM, BASE, alpha=look_alpha(k)) for k in (1, 2, 3))
    assert second.high - second.mean == pytest.approx(
        stats.t.ppf(1 - 0.0125 / 2, 7) * first.sd / math.sqrt(8)
    )
    assert third.low < second.low < first.low
    assert (second.p, third.p) == pytest.approx((4 * first.p, 8 * first.p))
    assert first.p_sign_flip == third.p_sign_flip


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
        ([0.8, 0.81], [0.7, 0.71], "too few trials"),
        ([0.8], [0.7], "one trial"),
        ([], [], "no pair"),
    ],
)
def test_verdict_follows_the_interval(arm, base, verdict):
    assert paired_contrast(arm, base).verdict == verdict


def test_interval_that_touches_zero_is_no_verdict():
    assert Contrast(3, 0.1, 0.0, 0.2, 0.05).verdict == "can't tell"
    assert Contrast(3, -0.1, -0.2, 0.0, 0.05).verdict == "can't tell"


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


def test_contrast_keeps_the_spread_of_its_differences():
    assert paired_contrast([3, 5, 7], [1, 1, 1]).sd == 2
    assert paired_contrast([3], [1]).sd is None
