"""Pretrained weights: taken over, kept or fine-tuned, refused in a sentence."""

import pickle

import pytest
import torch
from conftest import SMOKE, bars
from safetensors.torch import load_file, save_file

import augment
from augment.arms import training_set
from augment.classifiers import Airbench
from augment.errors import UsageError
from augment.learn import fit, save_learner, train
from augment.recipe import make_recipe
from augment.report.table import markdown, summarise

SMALL = dict(steps=30, batch=16, width=8, ema=0.9)


@pytest.fixture
def weights(tmp_path, cpu):
    """Of a classifier of three classes; the tests have two."""
    data = bars(8, ("a", "b", "c"), seed=3)
    learner = Airbench(**SMALL)
    fit(learner, training_set("real", data, None, "none", 0.0), seed=1, device=cpu)
    save_learner(learner, "airbench", data, tmp_path)
    return tmp_path / "weights.safetensors"


def started(weights, data, cpu, frozen):
    learner = Airbench(**SMALL)
    learner.prepare(data, seed=2, device=cpu)
    learner.adopt(weights, frozen=frozen)
    return learner


@pytest.mark.parametrize("frozen", [True, False])
def test_backbone_is_taken_over_and_kept_if_frozen(weights, tiny, cpu, frozen):
    learner = started(weights, tiny, cpu, frozen)
    given = {k.removeprefix("ema."): v for k, v in load_file(weights).items()}
    head = learner.modules["net"][-1].weight.detach().clone()
    for name, own in learner.modules["ema"][:-1].state_dict().items():
        assert torch.equal(own, given[name])
    for _ in train(learner, training_set("transfer", tiny, None, "none", 0.0), seed=2, device=cpu):
        pass
    assert not torch.equal(head, learner.modules["net"][-1].weight)
    after = learner.modules["net"][:-1].state_dict()  # statistics of batch norm among them
    assert all(torch.equal(after[name], given[name]) for name in after) == frozen


def test_run_on_other_data_starts_from_the_weights_of_a_run(small_run, tmp_path):
    first = augment.run(**{**small_run, "arm": "real", "seeds": 1})
    (file,) = first.path.glob("artefacts/score/*/weights.safetensors")
    again = augment.run(
        **{**small_run, "arm": "real+classic,transfer,transfer+linear", "weights": str(file),
           "per_class": 2, "set": SMOKE, "out": tmp_path / "again"}
    )  # fmt: skip
    assert again.failed == 0
    rows = again.table.set_index("arm")
    assert rows.loc["transfer", "closed_set"].eq(False).all()
    assert rows.loc["real+classic", "closed_set"].isna().all()
    assert rows["signature"].nunique() == 6
    text = markdown(summarise(again.table))
    assert "| transfer ‡ |" in text
    assert "| real+classic |" in text
    assert "‡ starts from something pretrained" in text


def test_what_is_no_safetensors_file_is_never_loaded(tmp_path):
    file = tmp_path / "weights.pt"
    file.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UsageError, match="pickles are never loaded"):
        make_recipe(arm="transfer", weights=str(file))
    with pytest.raises(UsageError, match="cannot be read"):
        make_recipe(arm="transfer", weights=str(tmp_path / "none"))


def test_weights_of_another_network_are_refused(weights, tiny, cpu, tmp_path):
    learner = Airbench(**{**SMALL, "width": 4})
    learner.prepare(tiny, seed=2, device=cpu)
    with pytest.raises(UsageError, match="same classifier, width"):
        learner.adopt(weights, frozen=False)
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="missing"):
        learner.adopt(tmp_path / "other.safetensors", frozen=False)


@pytest.mark.parametrize("settings", [{"arm": "transfer"}, {"weights": "x", "arm": "real"}])
def test_weights_and_arms_go_together(settings):
    with pytest.raises(UsageError, match="weights"):
        make_recipe(**settings)
