"""What is said of a synthetic set before anything is trained on it."""

import pytest
import torch
from conftest import bars

from augment.metrics import synthetic
from augment.metrics.copies import distance_to_nearest
from augment.metrics.rates import Rate
from augment.metrics.synthetic import (
    agreement_fault,
    averaged,
    closer_to_train,
    copies_fault,
    coverage_faults,
    measures,
    random_features,
)

CLASSES = ("a", "b", "c")


def pixels(images):
    return images.flatten(1).float()


def test_real_images_as_synthetic_set_reach_the_floor():
    real = bars(60, CLASSES)
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(1))
    half = len(real) // 2
    space = measures(real.select(order[:half]), real.select(order[half:]), pixels)
    assert space["n"] == half // 2
    assert space["coverage"] == pytest.approx(space["coverage_floor"], abs=0.2)
    assert space["diversity"] == pytest.approx(1, abs=0.1)


def test_one_picture_a_class_is_collapse():
    real = bars(40, CLASSES)
    first = [int((real.labels == k).nonzero()[0]) for k in range(3)]
    made = real.select(first * 20)
    space = measures(made, real, pixels)
    assert space["twins"] == 1
    assert space["diversity"] < 0.05
    assert space["recall"] < 0.2 < space["recall_floor"]


def test_too_few_images_have_no_measures():
    few = bars(2, CLASSES)
    assert measures(few, few, pixels) == {}


def test_memory_shows_as_nearness_to_the_labelled():
    real = bars(40, CLASSES)
    parts = [torch.arange(len(real)) % 2 == k for k in range(2)]
    labelled, others = real.select(parts[0]), real.select(parts[1])
    assert closer_to_train(labelled.images, labelled, others) > 0.9
    assert closer_to_train(others.images, labelled, others) < 0.1
    assert closer_to_train(others.images, others, labelled.select([0])) is None


def test_random_features_are_the_same_each_time(cpu):
    images = bars(4, CLASSES, (3, 13, 20)).images
    first, again = random_features(3, cpu)(images), random_features(3, cpu)(images)
    assert first.shape == (12, 512)
    assert torch.equal(first, again)


def test_equal_images_stand_on_one_side_of_the_floor():
    once = bars(20, CLASSES)
    twice = once.select(torch.arange(len(once)).repeat(2))
    units = torch.arange(len(once)).repeat(2)
    apart, together = measures(once, twice, pixels), measures(once, twice, pixels, units)
    assert together["kid_floor"] > apart["kid_floor"]
    assert together["n"] <= len(once)
    assert measures(once, once, pixels, torch.zeros(len(once))) == {}  # all of one patient


def test_units_of_one_image_each_change_nothing():
    real = bars(30, CLASSES)
    assert measures(real, real, pixels, torch.arange(90).flip(0)) == measures(real, real, pixels)


def test_measures_of_several_judges_are_averaged():
    found = averaged([{"n": 7, "kid": 0.1}, {}, {"n": 9, "kid": float("nan")}])
    assert found == {"n": 8, "kid": 0.1}
    assert averaged([{}, {}]) == {}


def test_warning_of_agreement_only_where_it_is_surely_lower():
    floor = Rate(0.96, 100)
    assert agreement_fault(Rate(0.95, 500), floor) == ""
    assert agreement_fault(Rate(0.6, 500), floor).startswith("60 % of its images are taken")
    assert agreement_fault(Rate(0.6, 500), None) == ""
    assert agreement_fault(Rate(0.6, 500), Rate(1.0, 4)) == ""  # four images are no floor


def test_warning_of_coverage_only_where_it_is_surely_lower():
    def space(coverage, n=100):
        return {"x": {"coverage": coverage, "coverage_floor": 0.95, "n": n}}

    assert coverage_faults(space(0.9)) == []
    (fault,) = coverage_faults(space(0.2))
    assert "of the x they cover 20 %" in fault
    assert coverage_faults({}) == []


def test_warning_of_copies_only_above_what_real_images_show():
    assert copies_fault(Rate(0.08, 500), Rate(0.076, 200)) == ""
    assert copies_fault(Rate(0.3, 500), Rate(0.076, 200)).startswith("30.0 % of its images repeat")
    assert copies_fault(Rate(1.0, 500), None) == ""


def test_closer_to_train_looks_at_no_more_than_most(monkeypatch):
    data = bars(40, ("a", "b"))
    labelled, others = data.select(torch.arange(0, 80, 2)), data.select(torch.arange(1, 80, 2))
    asked = []

    def counted(queries, targets):
        asked.append(len(queries))
        return distance_to_nearest(queries, targets)

    monkeypatch.setattr(synthetic, "distance_to_nearest", counted)
    monkeypatch.setattr(synthetic, "MAX_IMAGES", 7)
    assert closer_to_train(labelled.images, labelled, others) == 1.0
    assert asked == [7, 7]
