"""Copies are found, and nothing else is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.metrics.copies import THRESHOLD, copies, nearest_two


def pictures(n, seed, shape=(1, 8, 8)):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *shape), generator=rng).to(torch.uint8)


def by_brute_force(queries, targets):
    """[N, M] distances, one pair at a time, in whole numbers."""
    apart = queries[:, None].long() - targets[None].long()
    return apart.square().sum(2).double().sqrt()


@pytest.mark.parametrize("chunk", [3, 512])
def test_nearest_two_are_those_of_brute_force(chunk):
    queries, targets = pictures(20, 0).flatten(1), pictures(9, 1).flatten(1)
    wanted, order = by_brute_force(queries, targets).sort(1)
    distances, nearest = nearest_two(queries, targets, chunk)
    assert torch.allclose(distances.double(), wanted[:, :2])
    assert torch.equal(nearest, order[:, 0])


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_nearest_is_right_among_pictures_that_differ_by_a_few_grey_levels(seed):
    # large and bright: here float32 products are off by more than the distances
    rng = torch.Generator().manual_seed(seed)
    query = torch.randint(200, 250, (1, 3 * 32 * 32), generator=rng)
    targets = query.repeat(12, 1)
    for k, steps in enumerate(torch.randperm(12, generator=rng).tolist()):
        targets[k, : 2 * steps] += 1  # squared distance 2 · steps
    distances, nearest = nearest_two(query.to(torch.uint8), targets.to(torch.uint8))
    wanted, order = by_brute_force(query, targets).sort(1)
    assert nearest[0] == order[0, 0]
    assert torch.allclose(distances[0].double(), wanted[0, :2])


@pytest.mark.parametrize("mirrored", [False, True])
def test_labelled_images_given_back_are_all_copies(mirrored):
    labelled = pictures(12, 0)
    order = torch.tensor([5, 5, 0, 11])
    copied, ratio, nearest = copies(labelled[order], labelled, mirrored=mirrored)
    assert copied.all()
    assert (ratio == 0).all()
    assert torch.equal(nearest, order)


def test_copies_with_some_noise_are_still_copies():
    labelled = pictures(12, 0)
    noise = torch.randint(-8, 9, labelled.shape, generator=torch.Generator().manual_seed(1))
    noisy = (labelled.int() + noise).clamp(0, 255).to(torch.uint8)
    copied, ratio, nearest = copies(noisy, labelled, mirrored=False)
    assert copied.all()
    assert (ratio > 0).all()
    assert torch.equal(nearest, torch.arange(12))


@pytest.mark.parametrize("mirrored", [False, True])
def test_fresh_images_are_no_copies(mirrored):
    copied, ratio, _ = copies(pictures(40, 1), pictures(30, 0), mirrored=mirrored)
    assert not copied.any()
    assert ((ratio > 0.5) & (ratio <= 1)).all()


def test_mirrored_copy_is_found_only_where_mirroring_is_allowed():
    labelled = pictures(12, 0)
    turned = labelled.flip(-1)
    assert not copies(turned, labelled, mirrored=False)[0].any()
    copied, _, nearest = copies(turned, labelled, mirrored=True)
    assert copied.all()
    assert torch.equal(nearest, torch.arange(12))
    assert not copies(labelled.flip(-2), labelled, mirrored=True)[0].any()


@pytest.mark.parametrize("mirrored", [False, True])
def test_twins_among_the_labelled_do_not_hide_a_copy(mirrored):
    single = pictures(6, 0)
    labelled = torch.cat([single, single, single.flip(-1)])
    copied, ratio, nearest = copies(single, labelled, mirrored=mirrored)
    assert copied.all()
    assert (ratio == 0).all()
    assert torch.equal(nearest, torch.arange(6))  # the first of the twins


def test_ratio_is_that_of_the_two_nearest_distances_and_the_threshold_is_strict():
    # one pixel each: distances to 0 and 40
    labelled = torch.tensor([0, 40], dtype=torch.uint8).view(2, 1, 1, 1)
    asked = torch.tensor([9, 10, 11, 35], dtype=torch.uint8).view(4, 1, 1, 1)
    copied, ratio, nearest = copies(asked, labelled, mirrored=False)
    assert ratio.tolist() == pytest.approx([9 / 31, 10 / 30, 11 / 29, 5 / 35])
    assert copied.tolist() == [True, False, False, True]
    assert nearest.tolist() == [0, 0, 0, 1]
    assert pytest.approx(1 / 3) == THRESHOLD


def test_one_labelled_picture_is_too_few():
    with pytest.raises(ValueError, match="two distinct"):
        copies(pictures(3, 0), pictures(1, 1).repeat(4, 1, 1, 1), mirrored=False)
