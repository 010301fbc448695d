"""Subsets and splits of pictures with boxes: nested, disjoint, stratified, seeded."""

import numpy as np
import pytest
import torch
from boxed_digits import NO_BOX, digits_on_canvas
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.data.boxed_images import BoxedImages
from augment.data.boxes.stratify import (
    boxed_hold_out,
    boxed_subset,
    class_presence,
    deal,
    disjoint_boxed_subset,
)
from augment.errors import UsageError


def pictures(counts, seed=0):
    """Tiny pictures of which `counts[k]` hold class k, and some of these several classes."""
    rng = np.random.default_rng(seed)
    n = sum(counts)
    labels = torch.full((n, len(counts) + 1, 5), NO_BOX)
    own = np.repeat(np.arange(len(counts)), counts)
    for k in range(n):
        more = rng.choice(len(counts), rng.integers(0, len(counts)), replace=False)
        for b, label in enumerate({int(own[k]), *map(int, more)}):
            labels[k, b] = torch.tensor([label, 1.0, 1.0, 5.0, 6.0])
    images = torch.from_numpy(rng.integers(0, 256, (n, 1, 8, 8), np.uint8))
    return BoxedImages(images, labels, tuple(f"c{k}" for k in range(len(counts))))


def shown(data, index):
    return class_presence(data.labels[index], len(data.classes)).sum(0)


@pytest.fixture(scope="module")
def pool():
    return digits_on_canvas(60, side=64, classes=4, seed=5, n_negatives=10)


@pytest.mark.parametrize("seed", [100, 101])
def test_shares_lie_in_each_other_and_hold_their_share_of_each_class(pool, seed):
    total, before = shown(pool, torch.arange(60)), set()
    for frac in (0.1, 0.25, 0.3, 0.5, 0.75, 1.0):
        chosen = boxed_subset(pool, frac=frac, seed=seed)
        assert chosen.tolist() == sorted(set(chosen.tolist()))
        assert before <= set(chosen.tolist())
        assert (shown(pool, chosen) >= np.floor(frac * total + 0.5)).all()
        assert len(chosen) <= 1.25 * frac * 60 + 2
        before = set(chosen.tolist())
    assert len(before) == 60


def test_so_many_pictures_of_each_class_are_nested_too(pool):
    before = set()
    for n in (1, 2, 5, 8):
        chosen = boxed_subset(pool, per_class=n, seed=3)
        assert before <= set(chosen.tolist())
        assert (shown(pool, chosen)[:-1] >= n).all()
        assert shown(pool, chosen)[-1] == 0  # none without boxes
        assert len(chosen) <= 4 * n
        before = set(chosen.tolist())


def test_another_seed_draws_others_and_the_same_the_same(pool):
    drawn = [boxed_subset(pool, frac=0.3, seed=seed).tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (dict(frac=0.001), "would leave 0 images of class"),
        (dict(per_class=1000), "has only"),
        (dict(), "one of --frac and --per-class"),
        (dict(frac=float("nan")), "is not above 0"),
    ],
)
def test_what_cannot_be_met_is_refused(pool, asked, said):
    with pytest.raises(UsageError, match=said):
        boxed_subset(pool, **asked, seed=0)


@pytest.mark.parametrize("asked", [dict(frac=0.2), dict(per_class=3)])
def test_disjoint_subsets_have_no_unit_in_common(pool, asked):
    units = [k // 2 for k in range(60)]
    with pytest.raises(UsageError, match=r"room for \d+ disjoint subsets") as refused:
        disjoint_boxed_subset(pool, units, **asked, number=99)
    number = int(str(refused.value).rpartition("take --seeds ")[2].partition(",")[0])
    subsets = [disjoint_boxed_subset(pool, units, **asked, number=k) for k in range(number)]
    held = [{units[k] for k in each.tolist()} for each in subsets]
    assert number >= 2
    assert len(set.union(*held)) == sum(map(len, held))
    wanted = 3 if "per_class" in asked else np.floor(0.2 * shown(pool, torch.arange(60)) + 0.5)[:-1]
    assert all((shown(pool, each)[:-1] >= wanted).all() for each in subsets)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 100))
def test_a_hold_out_keeps_units_whole_and_every_class_on_both_sides(counts, unit_size, seed):
    data = pictures(counts, seed)
    units = [k // unit_size for k in range(len(data))]
    present = class_presence(data.labels, len(counts))
    in_test = boxed_hold_out(present, units, 0.2, f"key{seed}")
    sides = {}
    for unit, side in zip(units, in_test, strict=True):
        assert sides.setdefault(unit, side) == side
    holders = [
        {unit for unit, holds in zip(units, column, strict=True) if holds} for column in present.T
    ]
    # the class with the least choice is served first
    rarest = min(range(len(counts)), key=lambda label: len(holders[label]))
    n_units = len(holders[rarest])
    if n_units > 1:
        assert present[in_test][:, rarest].any()
        assert present[~in_test][:, rarest].any()


def test_a_hold_out_is_stratified():
    data = pictures([200, 100, 50, 20], seed=1)
    present = class_presence(data.labels, 4)
    in_test = boxed_hold_out(present, range(len(data)), 0.2, "key")
    assert in_test.mean() == pytest.approx(0.2, abs=0.02)
    shares = present[in_test].sum(0)[:-1] / present.sum(0)[:-1]
    assert shares == pytest.approx([0.2] * 4, abs=0.03)


def test_equal_parts_are_stratified(pool):
    present = class_presence(pool.labels, len(pool.classes))
    fold_of = deal(present, range(60), [1.0] * 3, "key")
    assert (abs(np.bincount(fold_of) - 20) <= 1).all()
    counts = np.array([shown(pool, torch.from_numpy(fold_of == fold)) for fold in range(3)])
    assert (np.ptp(counts, axis=0) <= 2).all()
    assert fold_of.tolist() == deal(present, range(60), [1.0] * 3, "key").tolist()


def test_a_class_of_as_many_units_as_sides_reaches_each():
    present = np.array([[True], [True], [True]])
    assert sorted(deal(present, range(3), [0.1, 0.1, 0.8], 0)) == [0, 1, 2]
