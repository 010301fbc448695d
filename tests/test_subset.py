"""Subsets are stratified, seeded and nested; the hold-out keeps together what belongs together."""

import math
from collections import Counter

import pytest
import torch
from conftest import bars
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.data.images import LabelledImages
from augment.data.subset import disjoint_subset, hold_out, labelled_subset, linked_units
from augment.errors import UsageError


def pool_of(counts):
    """Blank pictures with so many of each class, classes mixed."""
    labels = torch.cat([torch.full((n,), k) for k, n in enumerate(counts)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    images = torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8)
    return LabelledImages(images, labels, tuple(f"c{k}" for k in range(len(counts))))


many = settings(max_examples=40, deadline=None, derandomize=True, database=None)
pools = st.lists(st.integers(1, 40), min_size=2, max_size=5)
fractions = st.floats(0.001, 1, exclude_min=True)


@many
@given(pools, fractions, fractions, st.integers(0, 2**31))
def test_subsets_are_stratified_repeatable_and_nested(counts, one, two, seed):
    pool, taken = pool_of(counts), []
    for frac in sorted((one, two)):
        wanted = [round(frac * n) for n in counts]
        if min(wanted) == 0:
            with pytest.raises(UsageError, match="would leave 0 images of class 'c"):
                labelled_subset(pool, frac=frac, seed=seed)
            taken.append(set())
            continue
        places = labelled_subset(pool, frac=frac, seed=seed).tolist()
        assert places == sorted(set(places))
        assert places == labelled_subset(pool, frac=frac, seed=seed).tolist()
        assert pool.select(places).counts().tolist() == wanted
        taken.append(set(places))
    assert taken[0] <= taken[1]


@many
@given(st.integers(1, 9), st.integers(0, 3), st.integers(0, 2**31))
def test_per_class_subsets_are_nested_and_exact(n, more, seed):
    pool = pool_of([12, 15])
    few = labelled_subset(pool, per_class=n, seed=seed)
    assert pool.select(few).counts().tolist() == [n, n]
    assert set(few.tolist()) <= set(labelled_subset(pool, per_class=n + more, seed=seed).tolist())


def test_another_seed_draws_another_subset():
    pool = pool_of([40, 40])
    drawn = {tuple(labelled_subset(pool, frac=0.2, seed=s).tolist()) for s in range(6)}
    assert len(drawn) == 6


def test_every_image_is_drawn_by_some_seed():
    pool = pool_of([6, 6])
    drawn = {p for s in range(40) for p in labelled_subset(pool, per_class=2, seed=s).tolist()}
    assert drawn == set(range(12))


def test_the_other_classes_do_not_change_what_a_class_gives():
    small = bars(8, classes=("a", "b"))
    one = labelled_subset(small, per_class=3, seed=1)
    large = bars(8, classes=("a", "b", "c"))
    two = labelled_subset(large, per_class=3, seed=1)
    assert one.tolist() == [p for p in two.tolist() if p < 16]


def test_the_whole_pool_is_its_own_subset():
    assert labelled_subset(pool_of([3, 4]), frac=1.0, seed=0).tolist() == list(range(7))


def test_subsets_leave_the_global_random_state_alone():
    before = torch.get_rng_state()
    labelled_subset(pool_of([5, 5]), frac=0.5, seed=0)
    hold_out([0, 0, 1, 1], range(4), 0.5, "key")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("frac", [0, -0.1, math.nan, math.inf, 1.5])
def test_a_fraction_outside_0_and_1_is_a_usage_error(frac):
    with pytest.raises(UsageError, match="--frac"):
        labelled_subset(pool_of([5, 5]), frac=frac, seed=0)


@pytest.mark.parametrize(
    ("counts", "asked", "message"),
    [
        ([1000, 3], {"frac": 1e-9}, "would leave 0 images of class 'c0' .1000 images.*0.001"),
        ([1000, 3], {"frac": 0.05}, "would leave 0 images of class 'c1' .3 images.*0.33"),
        ([9, 4], {"per_class": 5}, "class 'c1' has only 4 images.*take 4 or fewer"),
        ([9, 4], {"per_class": 0}, "--per-class 0"),
        ([9, 4], {"per_class": -2}, "--per-class -2"),
        ([9, 4], {}, "one of --frac and --per-class"),
        ([9, 4], {"per_class": 1, "frac": 0.1}, "one of --frac and --per-class"),
    ],
)
def test_what_cannot_be_drawn_is_a_usage_error_with_the_way_out(counts, asked, message):
    with pytest.raises(UsageError, match=message):
        labelled_subset(pool_of(counts), **asked, seed=0)


def test_the_advised_fraction_works():
    pool = pool_of([1000, 7])
    with pytest.raises(UsageError) as caught:
        labelled_subset(pool, frac=0.01, seed=0)
    advised = float(str(caught.value).split("at least ")[1].split(",")[0])
    assert pool.select(labelled_subset(pool, frac=advised, seed=0)).counts().min() == 1


def counts_of(labels, test, side):
    return Counter(label for label, t in zip(labels, test, strict=True) if t is side)


@many
@given(st.lists(st.integers(2, 60), min_size=2, max_size=5), st.floats(0.05, 0.6), st.text())
def test_hold_out_is_stratified_and_keeps_every_class_on_both_sides(sizes, share, key):
    labels = [k for k, n in enumerate(sizes) for _ in range(n)]
    test = hold_out(labels, range(len(labels)), share, key)
    assert test == hold_out(labels, range(len(labels)), share, key)
    for label, n in enumerate(sizes):
        held = counts_of(labels, test, True)[label]
        assert 1 <= held <= n - 1
        assert abs(held - share * n) <= 0.5 or held == 1


@many
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), min_size=1, max_size=40))
def test_hold_out_never_separates_a_unit(pairs):
    labels, units = zip(*pairs, strict=True)
    test = hold_out(labels, units, 0.3, "key")
    for unit in set(units):
        assert len({t for t, u in zip(test, units, strict=True) if u == unit}) == 1


def test_hold_out_works_where_every_patient_has_all_classes():
    patients = [p for p in range(10) for _ in range(6)]
    labels = [0, 0, 0, 0, 0, 1] * 10  # a lesion is always the rarer
    test = hold_out(labels, patients, 0.2, "key")
    assert counts_of(labels, test, True) == {0: 10, 1: 2}


def test_hold_out_does_not_take_a_unit_of_nearly_the_whole_class():
    labels, units = [0] * 20 + [1] * 5, [0] * 17 + list(range(1, 4)) + list(range(10, 15))
    for key in range(25):
        assert not any(hold_out(labels, units, 0.2, str(key))[:17])


def test_hold_out_serves_the_class_of_fewest_units_first():
    labels, units = [0] * 10 + [1] * 2, [*range(10), 0, 1]
    for key in range(25):
        test = hold_out(labels, units, 0.2, str(key))
        assert counts_of(labels, test, True) == {0: 2, 1: 1}


def test_a_class_of_a_single_unit_is_not_held_out():
    assert not any(hold_out([0, 0, 0, 1, 1], ["p", "p", "p", 1, 2], 0.5, "key")[:3])


def test_hold_out_depends_on_its_key():
    labels = [0] * 20 + [1] * 20
    assert len({tuple(hold_out(labels, range(40), 0.5, key)) for key in "abcdef"}) == 6


@pytest.mark.parametrize(
    ("groups", "pixels", "together"),
    [
        (None, "abca", [{0, 3}, {1}, {2}]),
        (["p", "q", "p", ""], "abcd", [{0, 2}, {1}, {3}]),
        (["p", "q", "q", "r"], "aabc", [{0, 1, 2}, {3}]),  # one picture links two patients
        (["p", "q", "r", "q"], "abba", [{0, 1, 2, 3}]),
        (["a", "b", "", ""], "bcab", [{0, 3}, {1}, {2}]),  # a group is no picture
    ],
)
def test_groups_and_equal_pixels_are_linked(groups, pixels, together):
    units = linked_units(groups, [p.encode() for p in pixels])
    found = [{i for i, u in enumerate(units) if u == unit} for unit in dict.fromkeys(units)]
    assert found == together


@many
@given(st.lists(st.integers(4, 60), min_size=2, max_size=4), st.integers(1, 4))
def test_disjoint_subsets_share_nothing_and_are_stratified(counts, n):
    pool = pool_of(counts)
    units = range(len(pool))
    room = min(counts) // n
    drawn = [
        disjoint_subset(pool, units, per_class=n, number=k).tolist() for k in range(min(room, 5))
    ]
    everything = [index for subset in drawn for index in subset]
    assert len(everything) == len(set(everything))
    for subset in drawn:
        assert subset == sorted(subset)
        assert pool.select(subset).counts().tolist() == [n] * len(counts)
    with pytest.raises(UsageError, match=f"has room for {room} disjoint subsets .* --seeds {room}"):
        disjoint_subset(pool, units, per_class=n, number=room)


def test_disjoint_subsets_by_share_and_their_errors():
    pool = pool_of([20, 40])
    drawn = [disjoint_subset(pool, range(60), frac=0.25, number=k).tolist() for k in range(4)]
    assert sorted(index for subset in drawn for index in subset) == list(range(60))
    assert drawn == [
        disjoint_subset(pool, range(60), frac=0.25, number=k).tolist() for k in range(4)
    ]
    with pytest.raises(UsageError, match="has room for 1 disjoint subsets"):
        disjoint_subset(pool, range(60), frac=0.8, number=1)
    with pytest.raises(UsageError, match="class 'c0' has only 20 images"):
        disjoint_subset(pool, range(60), per_class=21, number=0)


def test_disjoint_subsets_keep_each_group_in_one():
    pool = pool_of([60, 60])
    groups = [index // 7 for index in range(120)]  # of both classes, of uneven numbers
    drawn = []
    for number in range(100):
        try:
            drawn.append(disjoint_subset(pool, groups, per_class=6, number=number).tolist())
        except UsageError:
            break
    assert 4 <= len(drawn) < 10
    owners = [{groups[index] for index in subset} for subset in drawn]
    assert len(set.union(*owners)) == sum(map(len, owners))
    assert all(pool.select(subset).counts().tolist() == [6, 6] for subset in drawn)
