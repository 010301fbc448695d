"""Scores by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from augment.metrics.classification import confusion, kappa, per_class, scores

# class 0: 3 of 4 found, class 1: 1 of 2, class 2: none of 1 and never predicted
TRUE = np.array([0, 0, 0, 0, 1, 1, 2])
SAID = np.array([0, 0, 0, 1, 1, 0, 0])


def test_scores_by_hand():
    found = scores(TRUE, SAID)
    precision, recall = (3 / 5, 1 / 2, 0), (3 / 4, 1 / 2, 0)
    f1 = (2 / 3, 1 / 2, 0)
    assert found["accuracy"] == pytest.approx(4 / 7)
    assert found["balanced_accuracy"] == pytest.approx(sum(recall) / 3)
    assert found["macro_precision"] == pytest.approx(sum(precision) / 3)
    assert found["macro_recall"] == pytest.approx(sum(recall) / 3)
    assert found["macro_f1"] == pytest.approx(sum(f1) / 3)


@pytest.mark.parametrize(
    ("labels", "predicted", "expected"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 1.0),
        ([0, 0, 1, 1], [0, 0, 0, 0], 0.0),  # a constant answer is chance
        ([0, 0, 1, 1], [1, 1, 0, 0], -1.0),
        ([0, 0, 0, 1], [0, 0, 1, 1], 0.5),  # 3/4 agree, (3·2 + 1·2) / 16 by chance
        ([0, 0], [0, 0], 1.0),
        ([0, 0], [1, 0], 0.0),
    ],
)
def test_kappa_by_hand(labels, predicted, expected):
    assert kappa(np.array(labels), np.array(predicted)) == pytest.approx(expected)


def test_scores_are_scikit_learn_s():
    rng = np.random.default_rng(0)
    true, said = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    said[:80] = true[:80]
    found = scores(true, said)
    average = {"average": "macro"}
    assert found == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(true, said),
            "balanced_accuracy": metrics.balanced_accuracy_score(true, said),
            "macro_precision": metrics.precision_score(true, said, **average),
            "macro_recall": metrics.recall_score(true, said, **average),
            "macro_f1": metrics.f1_score(true, said, **average),
        }
    )


def test_class_that_the_test_set_lacks_counts_where_it_is_predicted_as_in_scikit_learn():
    # class 1 has no test image, though it is predicted once
    true, said = np.array([0, 0, 2, 2]), np.array([0, 1, 2, 2])
    found = scores(true, said)
    assert found["balanced_accuracy"] == pytest.approx((0.5 + 1) / 2)
    assert found["macro_precision"] == pytest.approx((1 + 0 + 1) / 3)
    assert found["macro_recall"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    table = per_class(true, said, ["a", "b", "c", "d"]).set_index("class")
    assert table["n_test"].tolist() == [2, 0, 2, 0]
    assert table.loc[["b", "d"], ["precision", "recall", "f1"]].isna().all(axis=None)
    assert table.loc["a", ["precision", "recall"]].tolist() == [1, 0.5]
    assert table.loc["c", "f1"] == 1


def test_rows_of_classes_average_to_the_macro_scores():
    table, found = per_class(TRUE, SAID, ["a", "b", "c"]), scores(TRUE, SAID)
    assert table["class"].tolist() == ["a", "b", "c"]
    assert table["n_test"].tolist() == [4, 2, 1]
    assert table["precision"].tolist() == pytest.approx([0.6, 0.5, 0])  # never predicted: 0
    assert table["recall"].tolist() == pytest.approx([0.75, 0.5, 0])
    for column, name in (("precision", "macro_precision"), ("f1", "macro_f1")):
        assert table[column].mean() == pytest.approx(found[name])


def test_confusion_counts_true_classes_in_rows():
    wanted = [[3, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert confusion(TRUE, SAID, 4).tolist() == wanted


def test_perfect_and_useless_predictions():
    assert set(scores(TRUE, TRUE).values()) == {1.0}
    assert scores(TRUE, (TRUE + 1) % 3)["macro_f1"] == 0
