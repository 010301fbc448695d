"""What is said of a synthetic set before anything is trained on it."""

import pytest
import torch
from conftest import bars

from augment.metrics import synthetic
from augment.metrics.copies import nearest_two
from augment.metrics.synthetic import (
    closer_to_train,
    label_agreement,
    measures,
    quality_warning,
    random_features,
)

CLASSES = ("a", "b", "c")


def pixels(images):
    return images.flatten(1).float()


def test_real_images_as_synthetic_set_reach_the_floor():
    real = bars(60, CLASSES)
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(1))
    half = len(real) // 2
    found = measures(real.select(order[:half]), real.select(order[half:]), {"pixels": pixels})
    space = found["pixels"]
    assert space["n"] == half // 2
    assert space["coverage"] == pytest.approx(space["coverage_floor"], abs=0.2)
    assert space["diversity"] == pytest.approx(1, abs=0.1)


def test_one_picture_a_class_is_collapse():
    real = bars(40, CLASSES)
    first = [int((real.labels == k).nonzero()[0]) for k in range(3)]
    made = real.select(first * 20)
    space = measures(made, real, {"pixels": pixels})["pixels"]
    assert space["twins"] == 1
    assert space["diversity"] < 0.05
    assert space["recall"] < 0.2 < space["recall_floor"]


def test_too_few_images_have_no_measures():
    few = bars(2, CLASSES)
    assert measures(few, few, {"pixels": pixels}) == {}


def test_memory_shows_as_nearness_to_the_labelled():
    real = bars(40, CLASSES)
    parts = [torch.arange(len(real)) % 2 == k for k in range(2)]
    labelled, others = real.select(parts[0]), real.select(parts[1])
    assert closer_to_train(labelled.images, labelled, others) > 0.9
    assert closer_to_train(others.images, labelled, others) < 0.1
    assert closer_to_train(others.images, others, labelled.select([0])) is None


def test_agreement_over_all_and_by_class():
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    whole, by_class = label_agreement(probabilities, torch.tensor([0, 1, 1]), 3)
    assert whole == pytest.approx(2 / 3)
    assert by_class == [1, 0.5, None]


def test_random_features_are_the_same_each_time(cpu):
    images = bars(4, CLASSES, (3, 13, 20)).images
    first, again = random_features(3, cpu)(images), random_features(3, cpu)(images)
    assert first.shape == (12, 512)
    assert torch.equal(first, again)


def seen(agreement=0.95, coverage=0.9):
    return {
        "agreement": agreement,
        "agreement_floor": 0.96,
        "spaces": {"x": {"coverage": coverage, "coverage_floor": 0.95}},
    }


def test_warning_only_where_something_is_wrong():
    assert quality_warning(seen()) == ""
    assert "60 % of its images" in quality_warning(seen(agreement=0.6))
    assert "of the x they cover 20 %" in quality_warning(seen(coverage=0.2))
    assert quality_warning({**seen(), "spaces": {}}) == ""


def test_closer_to_train_looks_at_no_more_than_most(monkeypatch):
    data = bars(40, ("a", "b"))
    labelled, others = data.select(torch.arange(0, 80, 2)), data.select(torch.arange(1, 80, 2))
    asked = []

    def counted(queries, targets):
        asked.append(len(queries))
        return nearest_two(queries, targets)

    monkeypatch.setattr(synthetic, "nearest_two", counted)
    monkeypatch.setattr(synthetic, "MAX_IMAGES", 7)
    assert closer_to_train(labelled.images, labelled, others) == 1.0
    assert asked == [7, 7]
