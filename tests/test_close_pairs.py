"""Close pairs are exactly those that comparing all coordinates of all pairs finds."""

import pytest
import torch

from augment.data.copies.close_pairs import close_pairs

REACH = 0.25


def points(n, seed, spread=1.0):
    rng = torch.Generator().manual_seed(seed)
    scales = torch.linspace(1, 0.1, 48)
    return torch.randn(n, 48, generator=rng) * scales * spread


def listed(points, others, itself):
    found = [
        pair for pairs in close_pairs(points, others, REACH, itself) for pair in pairs.tolist()
    ]
    assert len(found) == len({*map(tuple, found)})
    return sorted(map(tuple, found))


@pytest.mark.parametrize("spread", [1.0, 0.05, 0.02])  # none is close, some are, nearly all
def test_pairs_of_one_set(spread):
    x = points(700, 1, spread)
    x[600] = x[3] + 0.001
    near = torch.cdist(x.double(), x.double()).triu(1) + torch.ones(700, 700).tril() <= REACH
    expected = [tuple(pair) for pair in near.nonzero().tolist()]
    assert (3, 600) in expected
    assert listed(x, x, True) == expected


def test_pairs_of_two_sets():
    x, y = points(300, 1, 0.06), points(900, 2, 0.06)
    expected = [tuple(p) for p in (torch.cdist(x.double(), y.double()) <= REACH).nonzero().tolist()]
    assert expected
    assert listed(x, y, False) == expected


@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (0, 0)])
def test_without_points_there_are_no_pairs(n, m):
    assert listed(points(n, 1), points(m, 2), False) == []


def test_sets_far_apart_have_no_pairs():
    assert listed(points(10, 1), points(10, 2) + 100, False) == []
