"""Which synthetic images an arm learns from."""

import pytest
import torch

import augment
from augment.experiment.filters import FILTERS, Evidence, best_half, filter_mask
from augment.experiment.validation import make_recipe
from augment.storage.tables import read_csv


@pytest.fixture
def seen():
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    probabilities = torch.tensor(
        [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3], [0.8, 0.2], [0.6, 0.4]]
    )
    distance = torch.tensor([4.0, 1.0, 2.0, 3.0, 5.0, 6.0])
    copied = torch.tensor([True, False, False, False, False, True])
    return Evidence(labels, probabilities, distance, copied, trust=1.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", [0, 1, 2, 3, 4, 5]),
        ("agreement", [0, 1, 3, 5]),  # of class 1 none agrees: its surest stays
        ("confidence", [0, 3, 5]),
        ("near", [1, 2, 4]),
        ("new", [1, 2, 3, 4]),
    ],
)
def test_filter_keeps(seen, name, expected):
    assert filter_mask(name, seen).nonzero().flatten().tolist() == expected


def test_all_filters_are_listed_above():
    cases = test_filter_keeps.pytestmark[0].args[1]
    assert {name for name, _ in cases} == set(FILTERS)


def test_half_of_a_class_of_one_is_one():
    assert best_half(torch.tensor([0.1, 0.2]), torch.tensor([0, 1])).all()


def test_filtered_and_unfiltered_arms_stand_side_by_side(small_run):
    run = {**small_run, "arm": "real+classic,real+classic+synth", "seeds": 1}
    result = augment.run(**run, filter=["none", "confidence"])
    table = result.table[result.table["generator"].notna()].set_index("filter")
    assert table["n_synth"].tolist() == [60, 30]
    assert table["kept_fraction"].tolist() == [1, 0.5]
    assert table["signature"].nunique() == 2
    assert {"cvae filter=none", "cvae filter=confidence"} <= set(result.summary["generator"])
    assert len(list((result.path / "artefacts/synthetic").iterdir())) == 1
    classes = read_csv(result.path / "per_class.csv", ("class", "filter"))
    assert len(classes) == 30
    assert len(result.synthetic) == 60


def test_duplicates_are_none_of_them_new(small_run):
    run = {**small_run, "arm": "real+classic+synth", "seeds": 1, "generator": "duplicate"}
    line = augment.run(**{**run, "set": {}}, filter="new").table.iloc[0]
    assert line["n_synth"] == 10  # one a class stays, so that no class is missing
    assert line["kept_fraction"] == pytest.approx(10 / 60)


def test_unknown_filter_names_the_valid_ones():
    with pytest.raises(augment.errors.UsageError, match=r"did you mean 'agreement'\?.*confidence"):
        make_recipe(filter="agrement")
