"""Shares of images, and whether one is surely below another."""

import pytest
import torch

from augment.metrics.rates import (
    Rate,
    least_difference,
    rate_at_mix,
    rate_by_class,
    rate_of,
    surely_below,
)


def test_rates_over_all_and_by_class():
    hits, labels = torch.tensor([True, False, True]), torch.tensor([0, 1, 1])
    assert rate_of(hits) == Rate(pytest.approx(2 / 3), 3)
    assert rate_by_class(hits, labels, 3) == [1, 0.5, None]
    judged_twice = torch.tensor([1.0, 0.5])  # the mean of two judges
    assert rate_of(judged_twice).value == 0.75


def test_rate_is_taken_at_the_class_mix_of_the_other_set():
    hits = torch.tensor([True] * 8 + [False] * 2)  # class 0 is easy, class 1 is not
    labels = torch.tensor([0] * 8 + [1] * 2)
    assert rate_at_mix(hits, labels, torch.tensor([8.0, 2.0])) == Rate(
        pytest.approx(0.8), pytest.approx(10)
    )
    even = rate_at_mix(hits, labels, torch.tensor([5.0, 5.0]))
    assert even == Rate(0.5, pytest.approx(1 / (0.25 / 8 + 0.25 / 2)))


def test_class_without_real_images_has_no_weight():
    hits, labels = torch.tensor([True, True, False]), torch.tensor([0, 0, 2])
    assert rate_at_mix(hits, labels, torch.tensor([1.0, 9.0, 0.0])) == Rate(1, 2)
    assert rate_at_mix(hits, labels, torch.tensor([0.0, 9.0, 0.0])) is None


@pytest.mark.parametrize(
    ("low", "high", "sure"),
    [
        (Rate(0.1, 500), Rate(0.9, 100), True),
        (Rate(0.5, 4), Rate(1, 4), False),  # of so few anything may come
        (Rate(0, 1000), Rate(0, 1000), False),
        (Rate(0.029, 1000), Rate(0.031, 1000), False),
        (Rate(0.9, 100), Rate(0.1, 500), False),
    ],
)
def test_surely_below(low, high, sure):
    assert surely_below(low, high) is sure


def test_interval_of_a_difference_is_that_of_newcombe():
    # 1998, table II, case a: 56/70 − 48/80 is 0.0524 to 0.3339 by method 10
    low, high = Rate(48 / 80, 80), Rate(56 / 70, 70)
    assert least_difference(low, high, z=1.96) == pytest.approx(0.0524, abs=1e-4)
    assert -least_difference(high, low, z=1.96) == pytest.approx(0.3339, abs=1e-4)


def test_equal_sets_are_hardly_ever_told_apart():
    rng = torch.Generator().manual_seed(0)
    false = 0
    for p in (0.02, 0.5, 0.95):
        for _ in range(400):
            first, second = (torch.rand(n, generator=rng) < p for n in (500, 60))
            false += surely_below(rate_of(first), rate_of(second))
    assert false / 1200 < 0.01  # one side of 99 % is half a percent
