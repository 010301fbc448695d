"""Scores of a classifier from its stored predictions, by scikit-learn.

`labels` and `predicted` are [N] integer arrays of class indices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

BALANCED = "balanced accuracy"  # the leading measure where the classes are very uneven

# scikit-learn is imported where it is used: its second of imports would delay every command


def scores(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Compute accuracy, balanced accuracy and macro precision, recall, F1; fractions from 0 to 1.

    Macro scores are scikit-learn's: averages over the classes that the test set has or that are
    predicted, 0 where one is undefined. Balanced accuracy is the mean recall of the classes that
    the test set has.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support, recall_score

    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, average="macro", zero_division=0.0
    )
    present = np.unique(labels)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "balanced_accuracy": float(
            recall_score(labels, predicted, labels=present, average="macro")
        ),
        "macro_precision": float(precision),
        "macro_recall": float(recall),
        "macro_f1": float(f1),
    }


def kappa(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Compute Cohen's kappa (1960): 1 if all labels are predicted, 0 if as many as by chance.

    1 where all are of one class and predicted so, where it is undefined.
    """
    from sklearn.metrics import cohen_kappa_score

    if np.array_equal(labels, predicted):
        return 1.0
    return float(cohen_kappa_score(labels, predicted))


def per_class(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Tabulate a row a class: n_test, precision, recall, f1; NaN without a test image of it.

    The means of the other rows are the macro scores, unless a class without a test image is
    predicted, which counts as 0 there. A class that is never predicted has precision 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=range(len(classes)), zero_division=0.0
    )
    table = pd.DataFrame(
        {
            "class": list(classes),
            "n_test": support,
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
    )
    # scikit-learn gives 0, which would read as a class that is never found
    table.loc[table["n_test"] == 0, ["precision", "recall", "f1"]] = np.nan
    return table


def confusion(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Count predictions: [K, K], row = true class, column = predicted class."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(labels, predicted, labels=range(n_classes))
