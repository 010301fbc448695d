"""Copies are found, and nothing else is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.metrics.copies import (
    RATIO_THRESHOLD,
    copies_among,
    copy_finder,
    feature_copies,
    near_threshold,
    nearest_two,
)


def pictures(n, seed, shape=(1, 8, 8)):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *shape), generator=rng).to(torch.uint8)


def pixels(*greys):
    """Pictures of a pixel, or a row of pixels, each."""
    return torch.tensor(greys, dtype=torch.uint8).view(len(greys), 1, 1, -1)


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
    copied, ratio, nearest = copy_finder(labelled, mirrored=mirrored)(labelled[order])
    assert copied.all()
    assert (ratio == 0).all()
    assert torch.equal(nearest, order)


def test_copies_with_some_noise_are_still_copies():
    labelled = pictures(12, 0)
    noise = torch.randint(-8, 9, labelled.shape, generator=torch.Generator().manual_seed(1))
    noisy = (labelled.int() + noise).clamp(0, 255).to(torch.uint8)
    copied, ratio, nearest = copy_finder(labelled, mirrored=False)(noisy)
    assert copied.all()
    assert (ratio > 0).all()
    assert torch.equal(nearest, torch.arange(12))


@pytest.mark.parametrize("mirrored", [False, True])
def test_fresh_images_are_copies_at_the_natural_rate_of_one_in_a_hundred(mirrored):
    copied, ratio, _ = copy_finder(pictures(200, 0), mirrored=mirrored)(pictures(500, 1))
    assert copied.float().mean() < 0.08  # two distances of 200 make that percentile: noisy
    assert ((ratio > 0.5) & (ratio <= 1)).all()


def test_mirrored_copy_is_found_only_where_mirroring_is_allowed():
    labelled = pictures(12, 0)
    turned = labelled.flip(-1)
    assert not copy_finder(labelled, mirrored=False)(turned)[0].any()
    copied, _, nearest = copy_finder(labelled, mirrored=True)(turned)
    assert copied.all()
    assert torch.equal(nearest, torch.arange(12))
    assert copy_finder(labelled, mirrored=True)(labelled.flip(-2))[0].sum() <= 1  # by chance


@pytest.mark.parametrize("mirrored", [False, True])
def test_twins_among_the_labelled_do_not_hide_a_copy(mirrored):
    single = pictures(6, 0)
    labelled = torch.cat([single, single, single.flip(-1)])
    copied, ratio, nearest = copy_finder(labelled, mirrored=mirrored)(single)
    assert copied.all()
    assert (ratio == 0).all()
    assert torch.equal(nearest, torch.arange(6))  # the first of the twins


def test_ratio_is_that_of_the_two_nearest_distances_and_the_threshold_is_strict():
    # distances to 0 and 40; the others are so near to each other that nothing else is
    labelled, asked = pixels(0, 40, 200, 201), pixels(9, 10, 11, 35)
    copied, ratio, nearest = copy_finder(labelled, mirrored=False)(asked)
    assert ratio.tolist() == pytest.approx([9 / 31, 10 / 30, 11 / 29, 5 / 35])
    assert copied.tolist() == [True, False, False, True]
    assert nearest.tolist() == [0, 0, 0, 1]
    assert pytest.approx(1 / 3) == RATIO_THRESHOLD


def test_image_nearer_than_labelled_ones_are_to_each_other_is_a_copy_whatever_the_ratio():
    asked = pixels(193, 194, 195, 203)  # the ratio is 7/13, 6/12, 5/11, 3/3
    copied, ratio, nearest = copy_finder(pixels(0, 200, 206), mirrored=False)(asked)
    assert copied.tolist() == [False, False, True, True]
    assert (ratio > 0.4).all()
    assert nearest[:3].tolist() == [1, 1, 1]


def test_nearness_is_the_first_percentile_of_distances_to_the_nearest_other():
    pairs = [[1000.0 * k, 1000.0 * k + k + 1] for k in range(101)]  # distances 1, 1, 2, 2, …
    targets = torch.tensor(pairs).flatten()[:, None]
    assert near_threshold(targets, [targets]) == pytest.approx(2)  # 3 of 202


@pytest.mark.parametrize(("mirrored", "wanted"), [(False, 139.3), (True, 3)])
def test_nearness_is_over_mirrored_images_but_not_to_the_own(mirrored, wanted):
    targets = pixels((0, 100), (100, 3), (250, 250))  # the last one is its own mirror image
    views = [targets.flatten(1), targets.flip(-1).flatten(1)][: 1 + mirrored]
    assert near_threshold(targets.flatten(1), views) == pytest.approx(wanted, abs=0.1)


def test_copies_in_features_go_by_both_rules():
    labelled = pixels(0, 0, 200, 206)  # a twin hides nothing
    for asked, copied in ((0, 1), (40, 1), (90, 0), (203, 1), (220, 0)):
        found = feature_copies(pixels(asked), labelled, lambda images: images.flatten(1) / 255)
        assert found.tolist() == [bool(copied)]
    assert feature_copies(pixels(3), pixels(7, 7), lambda images: images.flatten(1)) is None


def test_copies_are_sought_in_other_folds_alone():
    images = pictures(100, 0).repeat(2, 1, 1, 1)  # each twice
    together, apart = torch.arange(200) % 100 % 4, torch.arange(200) // 100
    assert copies_among(images, together, mirrored=False).float().mean() < 0.15  # by chance
    assert copies_among(images, apart, mirrored=False).all()
    assert copies_among(images, torch.zeros(200), mirrored=False) is None


def test_nearness_of_very_many_images_is_taken_from_some_of_them(monkeypatch):
    targets = torch.tensor([[float(k), float(k) ** 1.5] for k in range(400)])
    whole = near_threshold(targets, [targets])
    monkeypatch.setattr("augment.metrics.copies._QUANTILE_IMAGES", 200)
    assert near_threshold(targets, [targets]) == pytest.approx(whole, rel=0.2)


def test_one_labelled_picture_is_too_few():
    with pytest.raises(ValueError, match="two distinct"):
        copy_finder(pictures(1, 1).repeat(4, 1, 1, 1), mirrored=False)(pictures(3, 0))
