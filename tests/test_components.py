"""`ddpm.autoencoder=own`: the principal components of the labelled images' patches."""

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
from augment.experiment.arms import generator_set
from augment.experiment.validation import make_recipe
from augment.generators import latents_of, saw_labelled_alone
from augment.generators.autoencoder import Latents, lost_by
from augment.generators.components import Components
from augment.generators.ddpm import DDPM
from augment.training.loop import fit
from augment.training.serialization import load_learner, save_learner


@pytest.mark.parametrize("side", [5, 8, 28, 32, 33, 64, 100, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_latents_are_few_at_every_size(side, channels):
    own = Components(LabelledImages.blank(1, (channels, side, side), ("a",)))
    padded = side + -side % own.factor
    latents = own.encode(torch.zeros(1, channels, padded, padded))
    assert latents.shape[1] == own.latent_channels
    assert max(latents.shape[2:]) <= 16
    assert latents.numel() <= max(padded**2 / 4, 16 * 16 * 4)
    assert own.decode(latents).shape == (1, channels, padded, padded)


def test_components_are_those_of_a_singular_value_decomposition():
    data = smooth(n=40, side=64)
    own = Components(data)
    patches = torch.nn.functional.pixel_unshuffle(to_float(data.images), 4)
    flat = patches.permute(0, 2, 3, 1).flatten(0, 2).double()
    centred = flat - flat.mean(0)
    _, sizes, vectors = torch.linalg.svd(centred, full_matrices=False)
    latents = own.encode(to_float(data.images)).permute(0, 2, 3, 1).flatten(0, 2)
    assert latents.mean(0).abs().max() < 1e-3
    torch.testing.assert_close(latents.std(0, correction=0), torch.ones(4), atol=1e-3, rtol=0)
    # what is lost is all that the other components hold
    back = own.decode(own.encode(to_float(data.images)))
    lost = (back - to_float(data.images)).square().sum()
    assert float(lost) == pytest.approx(float(sizes[4:].square().sum()), rel=1e-3)
    angles = (own.components.double().T @ vectors[:4].T).abs()
    torch.testing.assert_close(angles.diagonal(), torch.ones(4).double(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_back(channels):
    data = smooth(side=39)
    data = LabelledImages(data.images[:, :channels], data.labels, data.classes)
    latents = Latents(data, Components(data))
    assert 0 < lost_by(latents, data, "own") < 0.1
    assert latents.passed_through(data).shape == data.shape


@pytest.mark.parametrize("side", [16, 72])
def test_a_generator_keeps_them(side, cpu, tmp_path):
    data = generator_set(smooth(side=side), "natural", 0.5)
    ddpm = DDPM(steps=2, batch=4, widths=(8, 16), hub=16, calls=2, whitening=0.5, autoencoder="own")
    assert saw_labelled_alone(ddpm)
    fit(ddpm, data, seed=0, device=cpu)
    labels = torch.tensor([0, 1, 1])
    images = ddpm.sample(labels, seeds=labels)
    assert images.shape == (3, 3, side, side)
    save_learner(ddpm, "ddpm", data.parts[0], tmp_path)
    again = load_learner({"ddpm": DDPM}, tmp_path, cpu)
    assert torch.equal(again.sample(labels, seeds=labels), images)
    assert latents_of(DDPM()) is None


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
        generator="ddpm",
        ratio=1,
        set=SMOKE | {"ddpm": dict(steps=2, autoencoder="own")},
    )
    return out, list(execute(recipe, out=out, data_dir=None, executor=Local("cpu", 1)))


def test_what_they_lose_is_told_before_the_generator_is_trained(own_run):
    out, seen = own_run
    (told,) = [n for n, p in enumerate(seen) if "its autoencoder loses" in p.note]
    assert "of what varies in unlabelled images, which is" in seen[told].note
    assert told < next(n for n, p in enumerate(seen) if p.stage == "generator" and p.step == 1)
    (about,) = out.glob("artefacts/generator/*/about.json")
    about = json.loads(about.read_text())
    assert f"loses {about['lost']:.1%} of" in seen[told].note
    assert about["closed_set"]
    assert "‡" not in (out / "table.md").read_text()


def test_real_images_through_the_autoencoder_stand_in_the_quality_table(own_run):
    out, _ = own_run
    quality = pd.read_csv(out / "quality.csv")
    # 2 × 2 grey pixels are as many numbers as components, so that nothing is lost
    assert quality["lost"].to_numpy() == pytest.approx(0, abs=1e-4)
    assert quality["agreement_through"].tolist() == quality["agreement_floor"].tolist()
    assert "real through the autoencoder of ddpm" in (out / "report.html").read_text()


def test_a_run_without_one_has_no_such_row(small_run):
    found = augment.run(**{**small_run, "arm": "synth"})
    assert pd.read_csv(found.path / "quality.csv")["lost"].isna().all()
    assert "real through the autoencoder of" not in (found.path / "report.html").read_text()
