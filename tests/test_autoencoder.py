"""`ddpm` on the latents of an autoencoder of the user's own: run, marked, signed, refused."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from conftest import SMOKE
from test_spectrum import smooth

import augment
from augment.data.images import LabelledImages, to_float
from augment.errors import UsageError
from augment.experiment.arms import generator_set
from augment.generators import autoencoder, saw_labelled_alone
from augment.generators.autoencoder import FolderAutoencoder, Latents, lost_by, open_autoencoder
from augment.generators.ddpm import DDPM
from augment.report.samples import SampleRequest, draw_samples
from augment.training.bf16_probe import calls_of
from augment.training.learner import seeded_init
from augment.training.loop import fit
from augment.training.serialization import load_learner, save_learner


def small(kind):
    """An autoencoder of random weights that halves the sides once, or twice."""
    import diffusers

    if kind == "AutoencoderTiny":
        return diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        )
    if kind == "AutoencoderKL":
        return diffusers.AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
        )
    return diffusers.AutoencoderDC(
        latent_channels=4,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        encoder_qkv_multiscales=((), ()),
        decoder_qkv_multiscales=((), ()),
    )


@pytest.fixture(scope="module", params=["AutoencoderTiny", "AutoencoderKL", "AutoencoderDC"])
def any_folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    seeded_init(lambda: small(request.param), 0).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    """An autoencoder that a test may change."""
    seeded_init(lambda: small("AutoencoderTiny"), 0).save_pretrained(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def all_may_be_lost(monkeypatch):
    """Random weights lose all: what follows is tested as if they did not."""
    monkeypatch.setattr(autoencoder, "MOST_LOST", 1e9)


class Halving(torch.nn.Module):
    """An autoencoder that folds 2 × 2 pixels of three channels into twelve, and loses nothing."""

    device = torch.device("cpu")

    class config:
        block_out_channels = (8, 8)
        in_channels = 3
        latent_channels = 12

    def encode(self, x):
        return type("Output", (), dict(latent=torch.nn.functional.pixel_unshuffle(x, 2)))

    def decode(self, z):
        return type("Output", (), dict(sample=torch.nn.functional.pixel_shuffle(z, 2)))


@pytest.mark.parametrize("channels", [1, 3])
def test_latents_are_turned_back_into_the_images(channels):
    data = smooth(side=13)
    data = LabelledImages(data.images[:, :channels], data.labels, data.classes)
    latents = Latents(data, FolderAutoencoder(Halving()))
    encoded = latents.encode(to_float(data.images))
    assert encoded.shape == (24, 12, 7, 7)
    assert float(encoded.std()) == pytest.approx(1 / 4, rel=0.1)
    torch.testing.assert_close(latents.decode(encoded), to_float(data.images), atol=1e-4, rtol=0)
    assert lost_by(latents, data, "F") == pytest.approx(0, abs=1e-6)
    assert latents.of_set(data).images.float().mean() == pytest.approx(127.5, abs=3)


@pytest.mark.usefixtures("all_may_be_lost")
@pytest.mark.parametrize("side", [16, 72])
def test_each_kind_is_learnt_sampled_saved_and_loaded(any_folder, side, cpu, tmp_path):
    data = smooth(side=side)
    ddpm = DDPM(
        steps=2,
        batch=4,
        widths=(8, 16),
        hub=16,
        calls=2,
        whitening=0.5,
        autoencoder=str(any_folder),
    )
    assert not saw_labelled_alone(ddpm)
    assert saw_labelled_alone(DDPM())
    learnt = generator_set(data, "natural", 0.5)
    fit(ddpm, learnt, seed=0, device=cpu)
    assert ddpm.fold == 1
    assert (ddpm.reduction.cascade is None) == (side == 16)  # latents of 36 are above 32
    labels = torch.tensor([0, 1, 1])
    images = ddpm.sample(labels, seeds=labels)
    assert images.shape == (3, 3, side, side)
    save_learner(ddpm, "ddpm", learnt.parts[0], tmp_path)
    again = load_learner({"ddpm": DDPM}, tmp_path, cpu)
    assert torch.equal(again.sample(labels, seeds=labels), images)


def test_an_autoencoder_that_loses_the_images_is_refused_before_training(small_run, folder):
    with pytest.raises(
        UsageError, match=r"mine' gives real images back worse .* leave the setting out"
    ):
        run(small_run, folder, small_run["out"])
    assert not list(small_run["out"].glob("artefacts/*/*"))


def test_an_autoencoder_worse_than_one_mean_picture_is_called_so(monkeypatch):
    data = smooth()
    latents = Latents(data, FolderAutoencoder(Halving()))
    monkeypatch.setattr(Latents, "decode", lambda _, z: torch.ones(len(z), 3, 12, 12))
    with pytest.raises(UsageError, match=r"worse than one mean picture .* untrained or not for"):
        lost_by(latents, data, "F")


def test_what_an_autoencoder_makes_of_noise_is_no_fault_of_it(folder, cpu):
    # the layers of a learner are tried in bf16 on random pixels, which no autoencoder keeps
    ddpm = DDPM(widths=(8, 16), hub=16, steps=2, autoencoder=str(folder))
    assert calls_of(ddpm, smooth())


def test_an_autoencoder_of_other_channels_is_refused(cpu):
    grey = torch.nn.Module()
    grey.device, grey.config = cpu, SimpleNamespace(**vars(Halving.config) | {"in_channels": 1})
    with pytest.raises(UsageError, match="takes pictures of 1 channels, and these have 3"):
        Latents(smooth(), FolderAutoencoder(grey))


def run(small_run, folder, out):
    settings = SMOKE | {"ddpm": dict(steps=2, autoencoder=str(folder))}
    return augment.run(
        **{
            **small_run,
            "arm": "real,real+classic+synth",
            "generator": "ddpm",
            "seeds": 1,
            "set": settings,
            "ratio": 1,
            "out": out,
        }
    )


@pytest.mark.usefixtures("all_may_be_lost")
def test_a_run_is_marked_and_its_generator_signed_by_content(small_run, folder, tmp_path):
    first = run(small_run, folder, tmp_path / "a")
    assert first.failed == 0
    assert first.table["closed_set"].tolist()[1] is False
    assert "real+classic+synth ‡" in (tmp_path / "a/table.md").read_text()
    moved = shutil.copytree(folder, tmp_path / "moved")
    again = run(small_run, moved, tmp_path / "b")
    assert again.table["signature"].tolist() == first.table["signature"].tolist()
    config = moved / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"scaling_factor": 2.0}))
    with pytest.raises(UsageError, match="is not what it was: put its files back"):
        draw_samples(tmp_path / "b", SampleRequest(None, 2, seed=3), None, "cpu")


def test_what_is_no_autoencoder_is_refused_in_a_sentence(folder, tmp_path, cpu):
    def refused(path):
        with pytest.raises(UsageError) as caught:
            DDPM(autoencoder=str(path)).prepare(smooth(), seed=0, device=cpu)
        return str(caught.value)

    assert "is no folder" in refused(tmp_path / "nowhere")
    weights = folder / autoencoder.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-40])
    assert "cannot be loaded" in refused(folder)
    weights.unlink()
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    assert "nothing else is loaded" in refused(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"_class_name": "VQModel"}))
    assert "holds a VQModel: use one of AutoencoderTiny" in refused(folder)
    (folder / "config.json").write_text("{")
    assert "no readable config.json" in refused(folder)


def test_weights_that_are_missing_are_not_made_up(folder, cpu):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / autoencoder.WEIGHTS)
    name = sorted(weights)[0]
    del weights[name]
    save_file(weights, folder / autoencoder.WEIGHTS, {"format": "pt"})
    with pytest.raises(UsageError, match=f"has no weights called {name}"):
        open_autoencoder(str(folder), cpu)
