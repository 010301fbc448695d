"""Scores of a detector: equal to the reference; what a picture adds; precision and recall."""

import numpy as np
import pytest
from random_boxes import random_case, reference_precision

from augment.metrics.detection import (
    average_precisions,
    best_threshold,
    contributions,
    detection_per_class,
    detection_scores,
    mean_ap,
    precision_recall,
)
from augment.metrics.intervals import unit_variance
from augment.metrics.matching import Matches, iou_matrix, match


@pytest.mark.parametrize("whole", [False, True])
def test_average_precision_equals_that_of_pycocotools(whole):
    """200 random cases, half of them with equal scores, and overlaps equal or on a threshold."""
    for seed in range(100):
        boxes, detections = random_case(np.random.default_rng(seed), whole=whole)
        found = average_precisions(match(detections, boxes, 3))
        expected = reference_precision(boxes, detections, 3)
        assert np.nan_to_num(found, nan=-1.0) == pytest.approx(expected, abs=1e-6)


def perfect(boxes):
    """A detection for each box, of score 0.9."""
    shape = boxes.shape[:2]
    return np.concatenate([boxes[..., :1], np.full((*shape, 1), 0.9), boxes[..., 1:]], 2)


def test_perfect_detections_score_one():
    boxes, _ = random_case(np.random.default_rng(1))
    matches = match(perfect(boxes), boxes, 3)
    assert set(detection_scores(matches, 0.5).values()) == {1.0}
    assert contributions(matches) == pytest.approx(np.ones(len(boxes)))
    assert detection_scores(matches, 0.95)["recall"] == 0


def test_no_detection_scores_zero_and_no_box_is_unknown():
    boxes, detections = random_case(np.random.default_rng(2))
    nothing = np.full_like(detections, -1.0)
    assert mean_ap(match(nothing, boxes, 3)) == 0
    assert contributions(match(nothing, boxes, 3)) == pytest.approx(0)
    assert best_threshold(match(nothing, boxes, 3)) == 0.5
    empty = match(detections, np.full_like(boxes, -1.0), 3)
    assert np.isnan(mean_ap(empty))
    assert np.isnan(detection_scores(empty, 0.5)["precision"])


def test_contributions_are_the_derivative_of_the_area_by_the_weights_of_pictures():
    """Each picture in turn counts a little more, and a little less."""
    boxes, detections = random_case(np.random.default_rng(3), n=30)
    matches = match(detections, boxes, 3)

    def area(weights):
        total = []
        for label in range(3):
            rows = np.flatnonzero(matches.label == label)
            rows = rows[np.argsort(-matches.score[rows], kind="stable")]
            weight = weights[matches.picture[rows]][:, None]
            right = matches.matched[rows] * weight
            precision = right.cumsum(0) / weight.cumsum(0)
            highest = np.maximum.accumulate(precision[::-1])[::-1]
            total.append((right * highest).sum(0) / (weights @ matches.n_true[:, label]))
        return np.mean(total)

    steps = 1e-6 * np.eye(30)
    fewer, same, more = np.array([[area(1 - s), area(np.ones(30)), area(1 + s)] for s in steps]).T
    slopes = (contributions(matches) - mean_ap(matches)) / 30
    # where two precisions tie the area has a kink, and any slope between both sides is right
    assert (slopes >= (same - fewer) / 1e-6 - 1e-5).all()
    assert (slopes <= (more - same) / 1e-6 + 1e-5).all()
    assert np.ptp(slopes) > 1e-3


def test_contributions_give_the_standard_error_of_the_map():
    """Beside that of the bootstrap over pictures, which draws them anew and scores them."""
    rng = np.random.default_rng(4)
    boxes, detections = random_case(rng, n=120)
    values = contributions(match(detections, boxes, 3))
    assert values.mean() == pytest.approx(mean_ap(match(detections, boxes, 3)))
    drawn = [rng.integers(0, 120, 120) for _ in range(60)]
    scores = [mean_ap(match(detections[rows], boxes[rows], 3)) for rows in drawn]
    assert values.std(ddof=1) / 120**0.5 == pytest.approx(np.std(scores), rel=0.3)
    units = unit_variance(np.stack([values - 0.5, values - 0.5]))  # two trials that agree
    assert units.se == pytest.approx(values.std(ddof=1) / 120**0.5)


def test_precision_and_recall_at_a_threshold():
    boxes = np.array([[[0, 0, 0, 10, 10], [1, 20, 20, 30, 30], [1, 40, 40, 50, 50]]], np.float32)
    detections = np.array(
        [
            [
                [0, 0.9, 0, 0, 10, 10],
                [0, 0.8, 60, 60, 70, 70],  # nothing is there
                [0, 0.7, 0, 0, 10, 10],  # found already
                [1, 0.6, 20, 20, 30, 31],
                [1, 0.2, 40, 40, 50, 50],
            ]
        ],
        np.float32,
    )
    matches = match(detections, boxes, 3)
    precision, recall = precision_recall(matches, 0.5)
    assert precision.tolist()[:2] == pytest.approx([1 / 3, 1.0])
    assert recall.tolist()[:2] == pytest.approx([1.0, 0.5])
    assert np.isnan([precision[2], recall[2]]).all()
    table = detection_per_class(matches, 0.5, ("a", "b", "c"))
    assert table["n_test"].tolist() == [1, 2, 0]
    assert table["ap50"].tolist()[:2] == pytest.approx([1.0, 1.0])
    # at 0.9 the first class is right alone and the second is not found; at 0.2 F1 is 0.5 and 1
    assert best_threshold(matches) == pytest.approx(0.2)


def test_matches_are_stored_whole(tmp_path):
    boxes, detections = random_case(np.random.default_rng(5))
    matches = match(detections, boxes, 3)
    matches.save(tmp_path / "matches.safetensors")
    read = Matches.load(tmp_path / "matches.safetensors")
    for name, array in vars(matches).items():
        assert np.array_equal(vars(read)[name], array), name
        assert vars(read)[name].dtype == array.dtype


def test_overlap_of_boxes():
    a = np.array([[0, 0, 10, 10], [5, 5, 5, 9]], np.float32)
    b = np.array([[0, 0, 10, 20], [10, 0, 20, 10]], np.float32)
    assert iou_matrix(a, b).tolist() == [[0.5, 0], [0, 0]]
