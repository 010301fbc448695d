"""A pipeline of the user's own, fine-tuned: what is learnt, saved, sampled and refused."""

import importlib.util
import json
import shutil

import pytest
import torch
from conftest import SMOKE, bars
from diffusers import DDPMPipeline, DDPMScheduler
from safetensors.torch import load_file

import augment
from augment.data.images import LabelledImages
from augment.errors import MachineError, UsageError
from augment.generators import GENERATORS
from augment.generators.finetune import Finetune
from augment.training.loop import fit
from augment.training.serialization import load_learner, save_learner
from augment.training.training_set import TrainingSet
from augment.transforms.geometric import CLASSIC

needs_peft = pytest.mark.skipif(
    not importlib.util.find_spec("peft"), reason="needs the extra finetune"
)
FOLDERS = ["pipeline_folder", "text_folder", "pixel_folder"]


@pytest.fixture(params=FOLDERS)
def folder(request):
    if request.param == "text_folder":
        pytest.importorskip("transformers", reason="needs the extra finetune")
    return request.getfixturevalue(request.param)


def trained(folder, data, cpu, **changed):
    model = Finetune(**{"folder": str(folder), "steps": 4, "batch": 4, "calls": 3, **changed})
    fit(model, TrainingSet((data,), (1.0,), (CLASSIC["none"],)), seed=1, device=cpu)
    return model


def edit(file, **changed):
    """Change keys of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


@needs_peft
def test_adapters_alone_are_learnt_and_saved(folder, cpu, tmp_path):
    data = bars(4)
    before = Finetune(folder=str(folder))
    before.prepare(data, seed=1, device=cpu)
    model = trained(folder, data, cpu)
    old, new = (dict(m.denoiser.network.named_parameters()) for m in (before, model))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert all("lora_" in n or "embedding_table" in n or "class_embedding" in n for n in changed)
    save_learner(model, "finetune", data, tmp_path)
    kept = load_file(tmp_path / "weights.safetensors")
    assert {name.split(".")[0] for name in kept} == {"adapters", "memory"}
    learnt = sum(p.numel() for n, p in kept.items() if n.startswith("adapters"))
    assert learnt < sum(p.numel() for p in new.values())
    labels, seeds = torch.tensor([0, 1, 1]), torch.tensor([3, 3, 4])
    again = load_learner(GENERATORS, tmp_path, cpu)
    assert torch.equal(again.sample(labels, seeds=seeds), model.sample(labels, seeds=seeds))


@needs_peft
@pytest.mark.parametrize("changed", [{}, {"strength": 0.5}, {"guidance": 2.0}], ids=str)
def test_a_sample_depends_on_its_label_and_seed_alone(folder, cpu, changed):
    model = trained(folder, bars(4), cpu, **changed)
    labels, seeds = torch.tensor([0, 1, 1]), torch.tensor([5, 5, 6])
    images = model.sample(labels, seeds=seeds)
    assert images.shape == (3, 1, 8, 8)
    assert not torch.equal(images[1], images[2])
    assert torch.equal(images[1:], model.sample(labels[1:], seeds=seeds[1:]))


@needs_peft
@pytest.mark.parametrize("shape", [(1, 9, 12), (3, 6, 24), (1, 20, 20)])
def test_images_of_any_shape_come_back_at_theirs(pipeline_folder, text_folder, cpu, shape):
    for folder in (pipeline_folder, text_folder):
        model = trained(folder, bars(2, shape=shape), cpu, steps=1)
        assert model.sample(torch.tensor([0, 1]), seeds=torch.tensor([1, 2])).shape == (2, *shape)


@needs_peft
def test_sides_follow_the_images_and_the_size(pixel_folder, cpu):
    model = trained(pixel_folder, bars(2, shape=(1, 10, 40)), cpu, steps=1, size=16)
    assert model.denoiser.sides == (4, 16)
    assert model.sample(torch.tensor([1]), seeds=torch.tensor([1])).shape == (1, 1, 10, 40)


@needs_peft
def test_what_goes_into_the_network_comes_back_out(pixel_folder, cpu):
    data = bars(2)
    model = trained(pixel_folder, data, cpu, steps=1)
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    torch.testing.assert_close(model.denoiser.decode(model.denoiser.encode(images)), images)


@needs_peft
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_network_has_no_loss_and_gives_its_image_back(
    pixel_folder, tmp_path, cpu, prediction, monkeypatch
):
    own = shutil.copytree(pixel_folder, tmp_path / "own")
    edit(own / "scheduler/scheduler_config.json", prediction_type=prediction)
    image = bars(1).images[:1].float() / 127.5 - 1
    data = bars(1, classes=("across",))
    model = Finetune(folder=str(own), batch=1, steps=1, calls=10)
    model.prepare(data, seed=0, device=cpu)
    denoiser = model.denoiser

    def perfect(x, t, labels):
        alpha, sigma = denoiser._level(t)
        found = denoiser.target(image, (x - alpha * image) / sigma, t)
        return found + 0 * denoiser.network.class_embedding.weight.sum()

    monkeypatch.setattr(denoiser, "predict", perfect)
    rng = torch.Generator().manual_seed(0)
    loss = model.update(image, torch.tensor([0]), step=0, rng=rng)["loss"]
    assert loss < 1e-6
    sampled = model.sample(torch.tensor([0]), seeds=torch.tensor([7]))
    assert (sampled.int() - data.images[:1].int()).abs().max() <= 1


@pytest.fixture
def flat_images():
    """Dark pictures and bright ones."""
    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(-20, 20, (16, 1, 8, 8), generator=rng)
    levels = torch.tensor([60, 195]).repeat(8)
    images = (levels.view(-1, 1, 1, 1) + noise).to(torch.uint8)
    return LabelledImages(images, torch.tensor([0, 1]).repeat(8), ("dark", "bright"))


@pytest.fixture
def learnt_folder(pixel_folder, flat_images, tmp_path):
    """A pipeline without classes that has learnt to draw either."""
    pipe = DDPMPipeline.from_pretrained(pixel_folder)
    network = pipe.unet
    pipe.scheduler = DDPMScheduler(
        prediction_type="v_prediction", beta_schedule="squaredcos_cap_v2"
    )
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    rng = torch.Generator().manual_seed(0)
    x0 = flat_images.images.float() / 127.5 - 1
    for _ in range(150):
        t = torch.randint(1000, (16,), generator=rng)
        eps = torch.randn(x0.shape, generator=rng)
        v = pipe.scheduler.get_velocity(x0, eps, t)
        loss = (network(pipe.scheduler.add_noise(x0, eps, t), t).sample - v).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    pipe.save_pretrained(tmp_path / "learnt")
    return tmp_path / "learnt"


@needs_peft
@pytest.mark.slow
def test_a_pipeline_without_classes_learns_them(learnt_folder, flat_images, cpu):
    model = trained(learnt_folder, flat_images, cpu, steps=300, batch=16, lr=1e-2, calls=10)
    labels = torch.tensor([0, 1]).repeat(10)
    means = model.sample(labels, seeds=torch.arange(20) // 2).float().mean((1, 2, 3))
    assert ((means > 127) == (labels == 1)).float().mean() > 0.9


@needs_peft
def test_a_variation_of_low_strength_is_near_its_labelled_image(pixel_folder, cpu):
    data = bars(6)
    model = trained(pixel_folder, data, cpu, steps=2, calls=50, strength=0.02)
    images = model.sample(torch.tensor([0, 1] * 6), seeds=torch.arange(12)).float()
    apart = (images[:, None] - data.images[None].float()).abs().flatten(2).mean(2)  # [12, N]
    own = data.labels[None] == torch.tensor([0, 1] * 6)[:, None]
    assert apart.where(own, torch.inf).amin(1).max() < 15


@needs_peft
def test_a_class_starts_as_the_label_that_is_named(pipeline_folder, tmp_path, cpu):
    own = shutil.copytree(pipeline_folder, tmp_path / "own")
    edit(own / "model_index.json", id2label={"3": "down, downwards", "5": "over"})
    tables = []
    for settings in ({}, {"labels": (7, 0)}):
        model = Finetune(folder=str(own), **settings)
        model.prepare(bars(), seed=0, device=cpu)
        embedder = model.denoiser.network.transformer_blocks[0].norm1.emb.class_embedder
        tables.append(embedder.embedding_table.weight.detach())
    (weights,) = [
        v
        for k, v in load_file(own / "transformer/diffusion_pytorch_model.safetensors").items()
        if "embedding_table" in k
    ]
    assert torch.equal(tables[0][1], weights[3])  # "down"
    torch.testing.assert_close(tables[0][0], weights[:1000].mean(0))  # "across" is no name there
    assert torch.equal(tables[1], weights[[7, 0, 1000]])


def pickled(folder):
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def flow(folder):
    edit(folder / "model_index.json", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"])
    edit(folder / "scheduler/scheduler_config.json", _class_name="FlowMatchEulerDiscreteScheduler")


def other_kind(folder):
    edit(folder / "model_index.json", _class_name="FluxPipeline")


def nothing(folder):
    """The folder is fine."""


@needs_peft
@pytest.mark.parametrize(
    ("spoil", "settings", "says"),
    [
        (shutil.rmtree, {}, "is no folder: give --set finetune.folder=PATH"),
        (other_kind, {}, "holds a FluxPipeline: use one of StableDiffusionPipeline, DiT"),
        (pickled, {}, "unet/diffusion_pytorch_model.bin is a pickle, which is never loaded"),
        (flow, {}, "has a FlowMatchEulerDiscreteScheduler: use a pipeline with"),
        (nothing, {"size": 9}, "finetune.size = 9: this pipeline takes multiples of 2"),
        (nothing, {"rank": 0}, "finetune.rank = 0: give 1 or more"),
        (nothing, {"layers": ("to_x",)}, "the network has no layer of such a name"),
        (nothing, {"labels": (1, 2)}, r"finetune.labels = \[1, 2\] do not fit"),
        (nothing, {"sha": "0" * 64}, "is not what it was"),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_what_cannot_be_used_is_refused(pixel_folder, tmp_path, cpu, spoil, settings, says):
    own = shutil.copytree(pixel_folder, tmp_path / "own")
    spoil(own)
    with pytest.raises(UsageError, match=says) as error:
        Finetune(folder=str(own), **settings).prepare(bars(), seed=0, device=cpu)
    assert "\n" not in str(error.value)


@needs_peft
def test_colour_needs_a_pipeline_of_colour_and_a_text_a_place_for_the_label(
    pixel_folder, text_folder, cpu
):
    with pytest.raises(UsageError, match="makes grey pictures and these are in colour"):
        Finetune(folder=str(pixel_folder)).prepare(bars(shape=(3, 8, 8)), seed=0, device=cpu)
    with pytest.raises(UsageError, match=r"has no \{label\} in it"):
        Finetune(folder=str(text_folder), prompt="bars").prepare(bars(), seed=0, device=cpu)


def test_a_missing_extra_is_named(pixel_folder, cpu, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"pip install 'augment-compare\[finetune\]'"):
        Finetune(folder=str(pixel_folder)).prepare(bars(), seed=0, device=cpu)


@needs_peft
def test_a_run_fine_tunes_and_is_marked(folder, small_run, tmp_path):
    result = augment.run(
        **{
            **small_run,
            "arm": "real,real+classic+synth",
            "generator": "finetune",
            "seeds": 1,
            "set": {
                "classifier": SMOKE["classifier"],
                "finetune": {"folder": str(folder), "steps": 3, "calls": 2},
            },
            "strength": [0.5, 1],
            "ratio": 1,
            "out": tmp_path / "out",
        }
    )
    assert result.failed == 0
    assert result.table["closed_set"].isna().tolist() == [True, False, False]
    assert "real+classic+synth ‡" in (tmp_path / "out/table.md").read_text()
    assert len(list((tmp_path / "out/artefacts/generator").iterdir())) == 1  # of both strengths
