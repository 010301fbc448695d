"""A pipeline of the user's own: run over, hashed by content, refused in a sentence."""

import json
import shutil

import pytest
import torch
from conftest import SMOKE, bars

import augment
from augment.errors import MachineError, UsageError
from augment.generators.pipelines import fit_shape
from augment.generators.pretrained import Pretrained
from augment.report.samples import SampleRequest, draw_samples


@pytest.fixture
def own(pipeline_folder, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(pipeline_folder, tmp_path / "own")


def run(small_run, folder, out, **changed):
    settings = {"folder": str(folder), "calls": 2}
    return augment.run(
        **{
            **small_run,
            "arm": "real,real+classic+synth",
            "generator": "pretrained",
            "seeds": 1,
            "set": {"classifier": SMOKE["classifier"], "pretrained": settings},
            "ratio": 1,
            "out": out,
            **changed,
        }
    )


def edit(file, **changed):
    """Change keys of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def test_run_is_marked_as_not_closed_and_repeats_by_content(small_run, own, tmp_path):
    first = run(small_run, own, tmp_path / "a")
    assert first.failed == 0
    line = first.table.set_index("arm").loc["real+classic+synth"]
    assert not line["closed_set"]
    assert first.table["closed_set"].isna().tolist() == [True, False]
    assert "| pretrained | real+classic+synth ‡ |" in (tmp_path / "a/table.md").read_text()
    moved = shutil.copytree(own, tmp_path / "moved")
    again = run(small_run, moved, tmp_path / "b")
    assert torch.equal(first.synthetic.images, again.synthetic.images)
    assert again.table["signature"].tolist() == first.table["signature"].tolist()
    draw_samples(tmp_path / "b", SampleRequest(None, 2, seed=3), None, "cpu")
    edit(moved / "scheduler/scheduler_config.json", beta_start=0.001)
    with pytest.raises(UsageError, match="is not what it was: put its files back"):
        draw_samples(tmp_path / "b", SampleRequest(None, 2, seed=3), None, "cpu")
    other = run(small_run, moved, tmp_path / "c")
    assert other.table["signature"].tolist()[0] == first.table["signature"].tolist()[0]
    assert not torch.equal(first.synthetic.images, other.synthetic.images)


@pytest.mark.parametrize(("shape", "channels"), [((1, 9, 12), 1), ((3, 6, 6), 3)])
def test_pictures_take_the_size_and_colours_of_the_data(pipeline_folder, cpu, shape, channels):
    model = Pretrained(folder=str(pipeline_folder), labels=(7, 0), calls=2)
    model.prepare(bars(2, shape=shape), seed=0, device=cpu)
    images = model.sample(torch.tensor([0, 1, 1]), seeds=torch.tensor([5, 5, 6]))
    assert images.shape == (3, *shape)
    assert not torch.equal(images[0], images[1])
    model.conditions = [0, 7]
    assert torch.equal(images[0], model.sample(torch.tensor([1]), seeds=torch.tensor([5]))[0])


def test_names_of_the_folder_are_found(own, cpu):
    edit(own / "model_index.json", id2label={"3": "down, downwards", "5": "across"})
    model = Pretrained(folder=str(own))
    model.prepare(bars(), seed=0, device=cpu)
    assert model.conditions == [5, 3]
    with pytest.raises(UsageError, match="no label called 'up': give --set"):
        model.prepare(bars(classes=("down", "up")), seed=0, device=cpu)


def gone(folder):
    shutil.rmtree(folder)


def no_index(folder):
    (folder / "model_index.json").unlink()


def no_json(folder):
    (folder / "model_index.json").write_text("[]")


def other_kind(folder):
    edit(folder / "model_index.json", _class_name="DDPMPipeline")


def code_of_its_own(folder):
    edit(folder / "model_index.json", _class_name=["pipeline", "DiTPipeline"])


def pickled(folder):
    weights = folder / "vae/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def no_weights(folder):
    (folder / "vae/diffusion_pytorch_model.safetensors").unlink()


def few_labels(folder):
    edit(folder / "transformer/config.json", num_embeds_ada_norm=1)


def guided(folder):
    edit(folder / "transformer/config.json", num_embeds_ada_norm=10)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (gone, "is no folder: give --set pretrained.folder=PATH"),
        (no_index, "no readable model_index.json"),
        (no_json, "no readable model_index.json"),
        (other_kind, "holds a DDPMPipeline: use one of DiTPipeline, "),
        (code_of_its_own, "use one of DiTPipeline, "),
        (pickled, "vae/diffusion_pytorch_model.bin is a pickle, which is never loaded"),
        (no_weights, "cannot be loaded: .*no file named diffusion_pytorch_model.safetensors"),
        (few_labels, "knows 1 labels, fewer than the 10 classes"),
        (guided, "this one has 10; give --guidance 1"),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_what_cannot_be_used_is_refused(small_run, own, tmp_path, spoil, says):
    spoil(own)
    with pytest.raises(UsageError, match=says) as error:
        run(small_run, own, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert spoil is no_weights or not (tmp_path / "out").exists()  # refused before it begins


@pytest.mark.parametrize("labels", [(1,), (1, 1000)])
def test_labels_that_do_not_fit_are_refused(pipeline_folder, cpu, labels):
    model = Pretrained(folder=str(pipeline_folder), labels=labels)
    with pytest.raises(UsageError, match="2 numbers from 0 to 999"):
        model.prepare(bars(), seed=0, device=cpu)


def test_text_needs_an_extra_and_a_place_for_the_label(own, cpu, monkeypatch):
    edit(own / "model_index.json", _class_name="StableDiffusionPipeline")
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(MachineError, match=r"pip install 'augment-compare\[transformers\]'"):
            Pretrained(folder=str(own)).prepare(bars(), seed=0, device=cpu)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    with pytest.raises(UsageError, match=r"has no \{label\} in it"):
        Pretrained(folder=str(own), prompt="a photo").prepare(bars(), seed=0, device=cpu)


def test_class_names_are_prompts_of_a_text_pipeline(text_folder, cpu):
    model = Pretrained(folder=str(text_folder), calls=2, prompt="bars {label}")
    model.prepare(bars(), seed=0, device=cpu)
    assert model.conditions == ["bars across", "bars down"]
    labels, seeds = torch.tensor([0, 1, 1]), torch.tensor([5, 5, 6])
    images = model.sample(labels, seeds=seeds)
    assert len(images.unique(dim=0)) == 3
    assert torch.equal(images[1:], model.sample(labels[1:], seeds=seeds[1:]))


def test_grey_keeps_its_level_when_colour_is_made_grey():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(fit_shape((1, 16, 16), levels.expand(-1, 3, -1, -1)), levels)
    assert torch.equal(fit_shape((3, 16, 16), levels), levels.expand(-1, 3, -1, -1))
