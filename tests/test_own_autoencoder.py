"""`ddpm.autoencoder=own`: trained first, on labelled images alone, and kept by the generator."""

import json

import pandas as pd
import pytest
import torch
from conftest import SMOKE
from test_spectrum import smooth

import augment
from augment.data.images import LabelledImages, to_float
from augment.engine.executors import Local
from augment.engine.run import execute
from augment.errors import UsageError
from augment.experiment.arms import generator_set
from augment.experiment.validation import make_recipe
from augment.generators import latents_of, saw_labelled_alone, trained_before
from augment.generators.autoencoder import Latents, lost_by
from augment.generators.ddpm import DDPM
from augment.generators.own_autoencoder import OwnAutoencoder, OwnNetwork, network_for
from augment.training.loop import fit, train
from augment.training.serialization import full_state, load_full_state, load_learner, save_learner

TINY = dict(steps=2, batch=4, widths=(8, 16), hub=16, calls=2, whitening=0.5)


@pytest.mark.parametrize("side", [5, 8, 28, 32, 33, 64, 100, 128, 200, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_latents_are_few_at_every_size(side, channels):
    net = OwnNetwork((channels, side, side), 8)
    padded = side + -side % net.factor
    latents = net.encode(torch.zeros(1, channels, padded, padded))
    assert latents.shape[1] == net.latent_channels
    assert max(latents.shape[2:]) <= 16
    assert latents.numel() <= max(padded**2 / 4, 16 * 16 * 4)
    assert net.decode(latents).shape == (1, channels, padded, padded)


@pytest.mark.parametrize("channels", [1, 3])
def test_it_learns_to_give_images_back(cpu, channels):
    data = smooth(side=13)
    data = LabelledImages(data.images[:, :channels], data.labels, data.classes)
    with pytest.raises(UsageError, match=r"'own' .*: give it more ddpm.autoencoder_steps, larger"):
        lost_by(Latents(data, network_for(data.shape)), data, "own")
    learner = OwnAutoencoder(steps=60)
    fit(learner, generator_set(data, "natural", 0.5), seed=0, device=cpu)
    net = learner.modules["ema"]
    latents = Latents(data, net)
    assert lost_by(latents, data, "own") < 0.1
    z = latents.encode(to_float(data.images))
    assert z.shape[2:] == (7, 7)
    disturbed = latents.decode(z + 0.05 * torch.randn(z.shape, generator=torch.Generator()))
    assert (disturbed - latents.decode(z)).square().mean() < 0.05  # of a range of 2


def test_a_resumed_training_is_the_one_that_never_stopped(cpu):
    data = generator_set(smooth(), "natural", 0.5)
    learners = [OwnAutoencoder(steps=6, batch=4) for _ in range(2)]
    for seed, learner in enumerate(learners):
        learner.prepare(data.parts[0], seed=seed, device=cpu)
    for step, _ in train(learners[0], data, seed=0, device=cpu):
        if step == 3:
            state = {k: v.clone() for k, v in full_state(learners[0]).items()}
    load_full_state(learners[1], state)
    for _ in train(learners[1], data, seed=0, device=cpu, start=3):
        pass
    expected, found = full_state(learners[0]), full_state(learners[1])
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("side", [16, 72])
def test_a_generator_keeps_it(side, cpu, tmp_path):
    data = generator_set(smooth(side=side), "natural", 0.5)
    ddpm = DDPM(**TINY, autoencoder="own", autoencoder_steps=3)
    assert saw_labelled_alone(ddpm)
    first = trained_before(ddpm)
    assert first.steps == 3
    fit(first, data, seed=0, device=cpu)
    ddpm.own = first.modules["ema"]
    before = {key: value.clone() for key, value in ddpm.own.state_dict().items()}
    fit(ddpm, data, seed=0, device=cpu)
    labels = torch.tensor([0, 1, 1])
    images = ddpm.sample(labels, seeds=labels)
    assert images.shape == (3, 3, side, side)
    save_learner(ddpm, "ddpm", data.parts[0], tmp_path)
    again = load_learner({"ddpm": DDPM}, tmp_path, cpu)
    assert torch.equal(again.sample(labels, seeds=labels), images)
    after = latents_of(again).autoencoder.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())  # not trained on


def test_without_steps_of_its_own_it_takes_half_of_the_generators():
    assert trained_before(DDPM(steps=401, autoencoder="own")).steps == 201
    assert trained_before(DDPM()) is None


@pytest.fixture(scope="module")
def own_run(tmp_path_factory):
    """A run, and all that it told of."""
    out = tmp_path_factory.mktemp("own")
    recipe = make_recipe(
        dataset="digits",
        per_class=5,
        preset="smoke",
        seeds=1,
        arm=["real", "real+classic+synth"],
        generator=["ddpm", "ddpm lr=0.001"],
        ratio=1,
        set=SMOKE | {"ddpm": dict(steps=2, autoencoder="own", autoencoder_steps=60)},
    )
    return out, list(execute(recipe, out=out, data_dir=None, executor=Local("cpu", 1)))


def test_it_is_trained_once_and_counted_in_the_generators_seconds(own_run):
    out, seen = own_run
    (about,) = out.glob("artefacts/autoencoder/*/about.json")
    seconds = json.loads(about.read_text())["seconds"]
    of_generators = [
        json.loads(p.read_text()) for p in out.glob("artefacts/generator/*/about.json")
    ]
    assert len(of_generators) == 2
    assert all(each["seconds"] > seconds > 0 for each in of_generators)
    assert all(each["closed_set"] for each in of_generators)
    steps = [p.step for p in seen if p.stage == "autoencoder" and p.steps]
    assert steps == list(range(61))
    assert "‡" not in (out / "table.md").read_text()


def test_what_it_loses_is_told_before_the_generator_is_trained(own_run):
    _, seen = own_run
    notes = [n for n, p in enumerate(seen) if "its autoencoder loses" in p.note]
    first = next(n for n, p in enumerate(seen) if p.stage == "generator" and p.step == 1)
    assert notes[0] < first
    assert "of what varies in unlabelled images, which is" in seen[notes[0]].note


def test_real_images_through_the_autoencoder_stand_in_the_quality_table(own_run):
    out, _ = own_run
    quality = pd.read_csv(out / "quality.csv")
    assert quality["agreement_through"].between(0, 1).all()
    assert (quality["lost"] > 0).all()
    page = (out / "report.html").read_text()
    assert page.count("real through the autoencoder of ddpm") == 2


def test_a_run_without_one_has_no_such_row(small_run):
    found = augment.run(**small_run)
    assert pd.read_csv(found.path / "quality.csv")["lost"].isna().all()
    assert "real through the autoencoder of" not in (found.path / "report.html").read_text()
