"""Shared by all tests: tiny data, one thread, slow tests behind --run-slow and first."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch; processes beside each other share
# before pandas, which loads pyarrow: tests and servers below fork, and with a thread of its
# allocator in the parent a fork may wait for a lock without end
os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")

import forkserver
import torch
from boxed_digits import digits_on_canvas, write_voc

import augment
from augment.data.images import LabelledImages
from augment.experiment.dataset_cache import DatasetCache

# modules whose tests share a run, a cluster or what else takes seconds to make
TOGETHER = """
    test_bad_images test_bad_words test_beyond test_box_selection test_cli test_cluster
    test_detection test_examples test_html test_quality test_shards test_test_set_error
""".split()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give the modules above to one process each, all other tests to whichever is free.

    `--dist loadgroup` would do that, but finds no groups with pytest 9.2 (pytest-xdist 3.8.0).
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return file if Path(file).stem in TOGETHER else nodeid

    return Scheduling(config, log)


def pytest_addoption(parser):
    parser.addoption("--run-slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--run-slow"):
        items.sort(key=lambda item: "slow" not in item.keywords)  # short ones fill up the end
    else:
        skip = pytest.mark.skip(reason="slow: pass --run-slow")
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(skip)


def bars(n_per_class=6, classes=("across", "down"), shape=(1, 8, 8), seed=0):
    """Pictures of bars: class k has its bar at rows (or columns) that tell it from the others."""
    rng = torch.Generator().manual_seed(seed)
    images, labels = [], []
    for label in range(len(classes)):
        for _ in range(n_per_class):
            image = torch.randint(0, 60, shape, generator=rng)
            place = 1 + (label * 2) % (shape[1] - 2)
            if label % 2:
                image[:, :, place : place + 2] = 230
            else:
                image[:, place : place + 2] = 230
            images.append(image)
            labels.append(label)
    return LabelledImages(torch.stack(images).to(torch.uint8), torch.tensor(labels), tuple(classes))


class Recorder:
    """A learner that writes down what it is given."""

    modules: dict = {}
    optimisers: dict = {}

    def __init__(self, steps=6, batch=8):
        self.steps, self.batch, self.seen, self.apart = steps, batch, [], []

    def update(self, images, labels, *, step, rng, apart=0):
        self.seen.append((images, labels))
        self.apart.append(apart)
        return {"loss": images.mean()}


@pytest.fixture(scope="session", autouse=True)
def _fork_server():
    yield
    forkserver.stop_server()


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory):
    """A diffusers pipeline that draws 8×8 pictures for one of 1000 labels, of random weights."""
    from diffusers import AutoencoderKL, DDPMScheduler, DiTPipeline, DiTTransformer2DModel

    from augment.training.learner import seeded_init

    def build():
        network = DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            sample_size=8,
            patch_size=2,
            num_embeds_ada_norm=1000,
            out_channels=8,
            norm_num_groups=4,
        )
        pictures = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, sample_size=8)
        return DiTPipeline(transformer=network, vae=pictures, scheduler=DDPMScheduler())

    folder = tmp_path_factory.mktemp("pipeline")
    seeded_init(build, 0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def text_folder(pipeline_folder, tmp_path_factory):
    """A tiny Stable Diffusion of random weights whose tokens are single letters."""
    transformers = pytest.importorskip("transformers", reason="needs the extra transformers")
    from diffusers import DDIMScheduler, DiTPipeline, StableDiffusionPipeline, UNet2DConditionModel

    from augment.training.learner import seeded_init

    folder = tmp_path_factory.mktemp("text")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    tokens = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    end = len(tokens) - 1
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=24
    )
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=end - 1,
        eos_token_id=end,
        pad_token_id=end,
    )

    def build():
        network = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            cross_attention_dim=16,
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=4,
        )
        return StableDiffusionPipeline(
            vae=DiTPipeline.from_pretrained(pipeline_folder).vae,
            unet=network,
            tokenizer=tokenizer,
            text_encoder=transformers.CLIPTextModel(config),
            scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    seeded_init(build, 0).save_pretrained(folder / "text")
    return folder / "text"


@pytest.fixture(scope="session")
def pixel_folder(tmp_path_factory):
    """A diffusers pipeline without classes that draws grey 8×8 pictures, of random weights."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    from augment.training.learner import seeded_init

    def build():
        network = UNet2DModel(
            sample_size=8,
            in_channels=1,
            out_channels=1,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=4,
        )
        return DDPMPipeline(unet=network, scheduler=DDPMScheduler())

    folder = tmp_path_factory.mktemp("pixels")
    seeded_init(build, 0).save_pretrained(folder)
    return folder


@pytest.fixture
def own_pipelines(pipeline_folder, monkeypatch, request):
    """Gives the generators that need a folder one; skips those whose extra is missing."""
    from augment.generators.finetune import Finetune
    from augment.generators.pretrained import Pretrained

    monkeypatch.setitem(Pretrained.presets["smoke"], "folder", str(pipeline_folder))
    if "finetune" in request.node.name:
        pytest.importorskip("peft", reason="needs the extra finetune")
        folder = request.getfixturevalue("text_folder")
        monkeypatch.setitem(Finetune.presets["smoke"], "folder", str(folder))


@pytest.fixture
def tiny():
    """Twelve grey 8×8 pictures of two classes."""
    return bars()


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """No test sees the data cache or the random draws of another, in whatever order they run."""
    monkeypatch.setenv("AUGMENT_DATA", str(tmp_path / "cache"))
    torch.manual_seed(0)


@pytest.fixture
def threads():
    """Sets the number of torch's threads; sums, and so the last bits, depend on it."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def cpu():
    return torch.device("cpu")


SMOKE = {"generator": {"steps": 4}, "classifier": {"steps": 6, "batch": 16, "width": 8}}
FIVE_ARMS = ["real", "real+classic", "real+synth", "real+classic+synth", "synth"]
SMALL_RUN = dict(
    dataset="digits",
    arm=FIVE_ARMS,
    per_class=3,
    generator="cvae",
    preset="smoke",
    seeds=2,
    jobs=1,
    set=SMOKE,
    ratio=2,
)


@pytest.fixture
def small_run(tmp_path):
    """Keyword arguments of a run on digits that takes a second or two."""
    return {**SMALL_RUN, "out": tmp_path / "run"}


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Result of that run, made once for all: its folder is to be read, never to be changed."""
    return augment.run(**SMALL_RUN, out=tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="session")
def boxed_folder(tmp_path_factory):
    """40 canvases of digits with their boxes as Pascal VOC, 24 of them to learn from."""
    data = digits_on_canvas(40, side=64, seed=3, classes=2)
    return write_voc(
        data, tmp_path_factory.mktemp("boxed") / "set", ["trainval"] * 24 + ["test"] * 16
    )


@pytest.fixture(scope="session")
def boxed_settings(boxed_folder):
    """Keyword arguments of runs on these that train for a few steps."""
    few = {
        "generator": {"steps": 3},
        "classifier": {"steps": 4, "epochs": 0},
        "detector": {"steps": 4, "epochs": 0},
    }
    return dict(
        dataset=str(boxed_folder),
        frac=0.5,
        preset="smoke",
        precision="fp32",
        ratio=2,
        generator="ddpm",
        set=few,
    )


@pytest.fixture
def copied(finished, small_run):
    """The folder of `small_run`, filled with a copy of the finished one that a test may change."""
    return shutil.copytree(finished.path, small_run["out"])


def write_folder(root: Path, data: LabelledImages) -> Path:
    """Images as PNG files, a folder a class."""
    from augment.data.grids import to_pillow

    for place, (image, label) in enumerate(zip(data.images, data.labels.tolist(), strict=True)):
        folder = root / data.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        to_pillow(image).save(folder / f"{place:03d}.png")
    return root


def with_other_test_images(monkeypatch):
    """Invert all test images, and give them labels of others, from now on."""
    original = DatasetCache.of

    def other_test(self, cell):
        data = original(self, cell)
        flipped = dataclasses.replace(
            data.test, images=255 - data.test.images, labels=data.test.labels.flip(0)
        )
        return dataclasses.replace(data, test=flipped)

    monkeypatch.setattr(DatasetCache, "of", other_test)
