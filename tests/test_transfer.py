"""Pretrained weights: taken over, kept or fine-tuned, refused in a sentence."""

import dataclasses
import json
import pickle
import re
from urllib.error import URLError

import pytest
import torch
from conftest import SMOKE, bars, write_folder
from safetensors.torch import load_file, save_file
from torchvision.models import resnet18

import augment
from augment.classifiers.blocks import ImageNetInput
from augment.classifiers.models import Airbench, ResNet, ResNet18
from augment.classifiers.pretrained import torchvision_source
from augment.errors import MachineError, UsageError
from augment.experiment.arms import training_set
from augment.experiment.cells import expand
from augment.experiment.records import classifier_path
from augment.experiment.validation import make_recipe
from augment.experiment.weights import check_weights, read_weights, weights_file
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


def test_synthetic_images_on_top_of_fine_tuning_are_answered(finished, small_run):
    """`transfer+synth` starts from the same weights as `transfer`, its baseline."""
    run = str(finished.path)
    both = augment.run(
        **{**small_run, "arm": "transfer,transfer+synth", "weights": run, "seeds": 3}
    )
    assert both.failed == 0
    assert both.table["closed_set"].eq(False).all()
    summary = summarise(both.table)
    assert summary.set_index("arm").loc["transfer+synth", "against"] == "transfer"
    text = markdown(summary)
    assert "on top of transfer (once fine-tuned) on digits" in text
    assert "transfer, which needs no generator, on digits" in text
    page = (both.path / "report.html").read_text()
    assert re.search(r"the synthetic images of \w+ on top of transfer \(once fine-tuned\)", page)
    store, weights = Store(both.path), {}
    for line in both.table.query("seed == 0").to_dict("records"):
        about = (store.path("score", line["signature"]) / "about.json").read_text()
        weights[line["arm"]] = json.loads(about)["cell"]["weights"]
    assert weights == {"transfer": run, "transfer+synth": run}


def test_images_for_who_fine_tunes_are_chosen_against_fine_tuning(finished, small_run):
    """With --select the candidate without images starts from the weights too."""
    settings = {**small_run, "arm": "transfer+synth", "weights": str(finished.path), "seeds": 1}
    chosen = augment.run(**{**settings, "select": True, "folds": 2, "per_class": 4})
    assert chosen.failed == 0
    folder = next((chosen.path / "artefacts/selection").iterdir())
    first = json.loads((folder / "about.json").read_text())["candidates"][0]
    assert first["share"] == 0
    started = [
        json.loads(file.read_text())["cell"]["weights"]
        for file in chosen.path.glob("artefacts/classifier/*/about.json")
        if json.loads(file.read_text())["cell"]["arm"] == "transfer"
    ]
    assert started
    assert set(started) == {str(finished.path)}


def test_weights_without_arms_add_those_that_start_from_them():
    usual = make_recipe().arm
    assert make_recipe(weights="x").arm == [*usual, "transfer", "transfer+synth"]
    assert make_recipe(weights="x", arm="transfer").arm == ["transfer"]


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


@pytest.mark.parametrize(
    ("classifier", "shape", "says"),
    [
        (Airbench, (3, 8, 8), "learnt on grey images and these are colour: give weights learnt on"),
        (ResNet, (3, 8, 8), "'0.0.weight' is .* there and .* here; they were learnt on grey"),
        (Airbench, (1, 128, 128), "same classifier, width, image size"),
    ],
)
def test_weights_of_other_images_are_refused(classifier, shape, says, tiny, cpu):
    learner, other = classifier(**SMALL), classifier(**SMALL)
    learner.prepare(tiny, seed=2, device=cpu)
    other.prepare(bars(4, shape=shape), seed=2, device=cpu)
    small, large = (each.modules["net"].state_dict() for each in (learner, other))
    with pytest.raises(UsageError, match=says):
        other.load_backbone(small, source="x", frozen=False)
    with pytest.raises(UsageError, match="--weights x"):  # nor layers that are not here
        learner.load_backbone(large, source="x", frozen=False)


def test_weights_of_other_images_are_refused_before_anything_runs(finished, small_run, tmp_path):
    write_folder(tmp_path / "colour", bars(12, shape=(3, 8, 8)))
    settings = {**small_run, "dataset": str(tmp_path / "colour"), "weights": str(finished.path)}
    with pytest.raises(UsageError, match="learnt on grey images and these are colour"):
        augment.run(**{**settings, "arm": "transfer"})
    assert not small_run["out"].exists()


@pytest.mark.parametrize("shape", [(1, 40, 72), (3, 8, 8)])
def test_torchvision_network_from_a_local_file_at_the_size_of_the_images(shape, cpu, tmp_path):
    state = seeded_init(resnet18, 0).state_dict()
    save_file(state, tmp_path / "resnet18.safetensors")
    data = bars(4, shape=shape)
    learner = ResNet18(steps=2, batch=4, side=32)
    learner.prepare(data, seed=2, device=cpu)
    source = str(tmp_path / "resnet18.safetensors")
    learner.load_backbone(read_weights(source), source=source, frozen=False)
    assert torch.equal(learner.modules["ema"].conv1.weight, state["conv1.weight"])
    fit_on = training_set("transfer", data, None, "none", 0.0)
    for _ in train(learner, fit_on, seed=2, device=cpu):
        pass
    assert torch.cat(list(learner.predict(data.images))).shape == (8, 2)


def test_images_for_imagenets_networks_are_normalised_and_keep_their_shape():
    images = torch.full((2, 1, 20, 10), 1.0)  # white
    small = ImageNetInput(40)(images)
    assert small.shape == (2, 3, 40, 20)
    assert ImageNetInput(16)(images).shape == (2, 3, 20, 10)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(small[0, :, 5, 5], (1 - mean) / std)


@pytest.mark.parametrize("settings", [{"arm": "transfer"}, {"weights": "x", "arm": "real"}])
def test_weights_and_arms_go_together(settings):
    with pytest.raises(UsageError, match="weights"):
        make_recipe(**settings)


def test_weights_of_images_of_another_size_name_it(cpu, tmp_path):
    """The record beside the weights of a training says how large its images were."""
    for shape in ((1, 48, 40), (1, 96, 160)):
        data = bars(8, shape=shape)
        learner = ResNet(**SMALL)
        learner.prepare(data, seed=1, device=cpu)
        folder = tmp_path / "x".join(map(str, shape))
        folder.mkdir()
        save_learner(learner, "resnet", data, folder)
    recipe = make_recipe(dataset="digits", arm="transfer", weights="x", seeds=1)
    cell = next(cell for cell in expand(recipe.resolved("cpu")) if cell.weights)
    weights = str(folder / "weights.safetensors")
    resnet = dataclasses.replace(
        cell, weights=weights, classifier="resnet", classifier_settings=dict(SMALL)
    )
    with pytest.raises(UsageError, match=r"of 160×96 px .*these are 40×48: --size 160$"):
        check_weights(resnet, bars(8, shape=(1, 48, 40)))
    airbench = dataclasses.replace(resnet, classifier="airbench")
    with pytest.raises(UsageError, match=r"are those of resnet, .*: --classifier resnet$"):
        check_weights(airbench, bars(8, shape=(1, 96, 160)))
