"""Pretrained weights: taken over, kept or fine-tuned, refused in a sentence."""

import pickle
from urllib.error import URLError

import pytest
import torch
from conftest import SMOKE, bars
from safetensors.torch import load_file, save_file
from torchvision.models import resnet18

import augment
from augment.classifiers.models import Airbench
from augment.classifiers.pretrained import torchvision_source
from augment.errors import MachineError, UsageError
from augment.experiment.arms import training_set
from augment.experiment.records import classifier_path
from augment.experiment.validation import make_recipe
from augment.experiment.weights import read_weights, weights_file
from augment.report.table import markdown, summarise
from augment.storage.artifacts import Store
from augment.training.learner import seeded_init
from augment.training.loop import fit, train
from augment.training.serialization import save_learner

SMALL = dict(steps=30, batch=16, width=8, ema=0.9)


@pytest.fixture
def weights(tmp_path, cpu):
    """Of a classifier of three classes; the tests have two."""
    data = bars(8, ("a", "b", "c"), seed=3)
    learner = Airbench(**SMALL)
    fit(learner, training_set("real", data, None, "none", 0.0), seed=1, device=cpu)
    save_learner(learner, "airbench", data, tmp_path)
    return str(tmp_path / "weights.safetensors")


def started(weights, data, cpu, frozen):
    learner = Airbench(**SMALL)
    learner.prepare(data, seed=2, device=cpu)
    learner.load_backbone(read_weights(weights), source=weights, frozen=frozen)
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


def test_run_on_other_data_starts_from_the_weights_of_a_run(finished, small_run):
    run = str(finished.path)
    line = finished.table.query("arm == 'real+classic' and seed == 0")["signature"].item()
    store = Store(finished.path)
    training = classifier_path(store, store.path("score", line))
    assert weights_file(run) == training / "weights.safetensors"
    assert training.parent.name == "classifier"
    again = augment.run(
        **{
            **small_run,
            "arm": "real+classic,transfer,transfer+linear",
            "weights": run,
            "per_class": 2,
            "set": SMOKE,
        }
    )
    assert again.failed == 0
    rows = again.table.set_index("arm")
    assert rows.loc["transfer", "closed_set"].eq(False).all()
    assert rows.loc["real+classic", "closed_set"].isna().all()
    assert rows["signature"].nunique() == 6
    text = markdown(summarise(again.table))
    assert "| transfer ‡ |" in text
    assert "| real+classic |" in text
    assert "‡ uses what was learnt on other images" in text


def pickled(place):
    place.write_bytes(pickle.dumps({"a": 1}))


def no_results(place):
    place.mkdir()


def only_failed(place):
    place.mkdir()
    (place / "results.csv").write_text("arm,status,signature\nreal,ok,1\nreal+classic,failed,\n")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (pickled, "pickles are never loaded"),
        (lambda place: None, "cannot be read"),
        (no_results, "is no run folder"),
        (only_failed, r"has no finished cell of real\+classic"),
    ],
)
def test_what_are_no_weights_is_refused_before_anything_runs(small_run, tmp_path, spoil, says):
    spoil(tmp_path / "given")
    with pytest.raises(UsageError, match=says):
        augment.run(**{**small_run, "arm": "transfer", "weights": str(tmp_path / "given")})
    assert not small_run["out"].exists()


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """torch's own cache, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    _, file = torchvision_source()
    assert file.is_relative_to(tmp_path)
    file.parent.mkdir(parents=True)
    return file


def refuse(*_, **__):
    raise URLError("no network")


def test_torchvision_weights_come_from_the_cache(small_run, hub_cache):
    state = seeded_init(resnet18, 0).state_dict()
    # as the file of old has it
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, hub_cache)
    result = augment.run(
        **{
            **small_run,
            "arm": "transfer,transfer+linear",
            "weights": "torchvision",
            "seeds": 1,
            "classifier": "resnet18",
            "set": {"classifier": {"steps": 2, "batch": 4}},
        }
    )
    assert result.failed == 0
    assert result.table["closed_set"].eq(False).all()
    signature = result.table.set_index("arm").loc["transfer+linear", "signature"]
    store = Store(result.path)
    training = classifier_path(store, store.path("score", signature))
    kept = load_file(training / "weights.safetensors")
    assert torch.equal(kept["ema.layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    assert kept["ema.fc.weight"].shape == (10, 512)


@pytest.mark.parametrize("contents", [None, b"", b"no weights", pickle.dumps(refuse, 2)])
def test_torchvision_weights_that_cannot_be_had_say_where_they_go(hub_cache, contents):
    if contents is not None:
        hub_cache.write_bytes(contents)
    with pytest.raises(MachineError, match="could not be had") as error:
        read_weights("torchvision")
    assert str(error.value).endswith(f"put it at {hub_cache}")
    assert "\n" not in str(error.value)


def test_torchvision_weights_are_for_one_classifier():
    with pytest.raises(UsageError, match="--classifier resnet18"):
        make_recipe(arm="transfer", weights="torchvision")


def test_weights_of_another_network_are_refused(weights, tiny, cpu, tmp_path):
    learner = Airbench(**{**SMALL, "width": 4})
    learner.prepare(tiny, seed=2, device=cpu)
    with pytest.raises(UsageError, match="same classifier, width"):
        learner.load_backbone(read_weights(weights), source=weights, frozen=False)
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="missing"):
        learner.load_backbone(
            load_file(tmp_path / "other.safetensors"), source="other", frozen=False
        )


@pytest.mark.parametrize("settings", [{"arm": "transfer"}, {"weights": "x", "arm": "real"}])
def test_weights_and_arms_go_together(settings):
    with pytest.raises(UsageError, match="weights"):
        make_recipe(**settings)
