"""Measures of a synthetic set against independent implementations and at known ends."""

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from scipy.linalg import sqrtm

from augment.metrics import fidelity as module
from augment.metrics.fidelity import (
    NEIGHBOURS,
    class_spread,
    fidelity,
    frechet_distance,
    kid,
    knn_radii,
    prdc,
)


def normal(n, d=6, shift=0.0, scale=1.0, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * scale + shift


REAL, NEAR, FAR = normal(80), normal(60, shift=0.5, scale=0.7, seed=1), normal(60, shift=50.0)


@pytest.fixture(params=[7, 1024], ids=["small chunks", "one chunk"])
def chunked(request, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", request.param)


@pytest.mark.parametrize("made", [NEAR, FAR])
def test_balls_are_those_of_prdc(made, chunked):
    known = compute_prdc(REAL.numpy(), made.numpy(), nearest_k=NEIGHBOURS)
    assert prdc(REAL, made) == pytest.approx(known)


def test_balls_at_the_ends():
    assert set(prdc(REAL, FAR).values()) == {0.0}
    same = prdc(REAL, REAL.clone())
    assert same["precision"] == same["recall"] == same["coverage"] == 1


def test_radii_leave_the_row_itself_out(chunked):
    line = torch.tensor([[0.0], [1.0], [3.0], [6.0]])
    assert knn_radii(line, 1).tolist() == [1, 1, 2, 3]
    with pytest.raises(ValueError, match="neighbours"):
        knn_radii(line, 4)


def test_kid_is_the_sum_written_out(chunked):
    x, y = REAL[:9].double().numpy(), NEAR[:7].double().numpy()

    def kernel(a, b):
        return (a @ b / 6 + 1) ** 3

    xx = np.mean([kernel(x[i], x[j]) for i in range(9) for j in range(9) if i != j])
    yy = np.mean([kernel(y[i], y[j]) for i in range(7) for j in range(7) if i != j])
    xy = np.mean([kernel(a, b) for a in x for b in y])
    assert kid(REAL[:9], NEAR[:7]) == pytest.approx(xx + yy - 2 * xy)


def test_kid_of_one_distribution_is_zero_on_average():
    found = [kid(normal(200, seed=2 * s), normal(200, seed=2 * s + 1)) for s in range(20)]
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error
    assert kid(normal(200), normal(200, shift=1.0, seed=9)) > 10 * max(np.abs(found))


def test_frechet_distance_is_that_of_scipy():
    x, y = REAL.double().numpy(), NEAR.double().numpy()
    cx, cy = np.cov(x.T), np.cov(y.T)
    root = sqrtm(cx @ cy).real
    known = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cx + cy - 2 * root)
    assert frechet_distance(REAL, NEAR) == pytest.approx(known)
    assert frechet_distance(REAL, REAL) == pytest.approx(0, abs=1e-9)


def test_spread_is_the_mean_distance_inside_classes(chunked):
    features = torch.tensor([[0.0], [2.0], [0.0], [10.0], [20.0], [5.0]])
    labels = torch.tensor([0, 0, 1, 1, 1, 2])  # 2; (10 + 20 + 10) / 3; alone
    assert class_spread(features, labels) == pytest.approx((2 + 40 / 3) / 2, rel=1e-5)


def test_fidelity_holds_all_measures():
    assert set(fidelity(REAL, NEAR)) == {"kid", "fd", "precision", "recall", "density", "coverage"}
