"""Seeds, noise and the choice of device and precision."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.errors import MachineError, UsageError, unknown
from augment.runtime.device import peak_memory_mb, pick_device
from augment.runtime.machine import data_dir, environment
from augment.runtime.seeds import noise_for, seed_for
from augment.training import precision
from augment.training.precision import autocast, pick_precision

PARTS = st.lists(st.one_of(st.integers(), st.text(max_size=4)), max_size=3)


def test_seeds_are_what_they_were():
    # a change here changes the subset, images and networks of every published run
    assert seed_for(0, "subset", "digits") == 315615410062674049
    assert seed_for("grid", 7) == 5943964460143708176


@given(PARTS, PARTS)
@settings(max_examples=60, deadline=None)
def test_seeds_differ_where_the_purpose_does(a, b):
    assert (seed_for(*a) == seed_for(*b)) == ([str(x) for x in a] == [str(x) for x in b])
    assert 0 <= seed_for(*a) < 2**63


@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 8, 8), (5,)])
def test_noise_of_an_image_hangs_on_its_seed_alone(shape, cpu):
    seeds = torch.tensor([3, 2**62, 0, 3, 8])
    together = noise_for(seeds, shape, cpu)
    assert together.shape == (5, *shape)
    assert torch.equal(together[0], together[3])
    assert not torch.equal(together[0], together[2])
    for k in range(5):
        assert torch.equal(together[k : k + 1], noise_for(seeds[k : k + 1], shape, cpu))


def test_noise_is_standard_normal_and_leaves_the_global_state(cpu):
    before = torch.get_rng_state()
    noise = noise_for(torch.arange(64), (3, 16, 16), cpu)
    assert noise.mean().abs() < 0.02
    assert (noise.std() - 1).abs() < 0.02
    assert torch.equal(before, torch.get_rng_state())


@pytest.fixture
def _gpus(monkeypatch, request):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)


@pytest.mark.usefixtures("_gpus")
@pytest.mark.parametrize(
    ("_gpus", "name", "wanted"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (1, "auto", "cuda"),
        (1, "cpu", "cpu"),
        (2, "cuda:1", "cuda:1"),
    ],
    indirect=["_gpus"],
)
def test_device_is_the_one_asked_for(name, wanted):
    assert str(pick_device(name)) == wanted


@pytest.mark.usefixtures("_gpus")
@pytest.mark.parametrize(
    ("_gpus", "name", "error", "says"),
    [
        (0, "cuda", MachineError, "use --device auto or cpu"),
        (0, "cuda:0", MachineError, "no CUDA device"),
        (2, "cuda:2", MachineError, "--device cuda:2: this machine has 2"),
        (1, "mps", MachineError, "--device mps is not supported"),
        (1, "meta", MachineError, "--device meta is not supported"),
        (1, "banana", UsageError, "--device 'banana'"),
        (1, "", UsageError, "use auto, cpu or cuda"),
    ],
    indirect=["_gpus"],
)
def test_device_that_is_not_there_is_refused_never_replaced(name, error, says):
    with pytest.raises(error, match=says):
        pick_device(name)


@pytest.mark.parametrize(
    ("name", "features", "side", "wanted"),
    [
        ("fp32", {"amx"}, 64, "fp32"),
        ("bf16", set(), 8, "bf16"),
        ("auto", {"amx"}, 32, "bf16"),
        ("auto", {"amx"}, 17, "bf16"),
        ("auto", {"amx"}, 16, "fp32"),
        ("auto", {"avx512_bf16"}, 64, "bf16"),
    ],
)
def test_precision_follows_hardware_and_size(name, features, side, wanted, cpu, monkeypatch):
    monkeypatch.setattr(precision, "cpu_features", lambda: features)
    assert pick_precision(name, cpu, side) == wanted


@pytest.mark.parametrize(("has", "wanted"), [(True, "bf16"), (False, "fp32")])
def test_precision_of_a_gpu_is_what_it_has(has, wanted, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has)
    assert pick_precision("auto", torch.device("cuda"), 8) == wanted


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_networks_run_in_the_precision_named(name, dtype, cpu):
    with autocast(name, cpu):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_environment_is_json_and_names_what_a_figure_hangs_on(cpu):
    about = json.loads(json.dumps(environment(cpu)))
    assert about["device"] == "cpu"
    assert about["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert all(about[key] for key in ("time", "python", "system", "processor", "cores", "threads"))
    assert peak_memory_mb(cpu) > 10


def test_data_dir_is_flag_then_variable_then_here(tmp_path, monkeypatch):
    monkeypatch.setenv("AUGMENT_DATA", str(tmp_path))
    assert data_dir(tmp_path / "flag") == tmp_path / "flag"
    assert data_dir() == tmp_path
    monkeypatch.setenv("AUGMENT_DATA", "")
    assert str(data_dir()) == "data"


def test_unknown_name_is_answered_with_the_nearest_and_all():
    said = str(unknown("arm", "reel", ["real", "synth"]))
    assert said == "unknown arm 'reel': did you mean 'real'? valid are real, synth"
    assert str(unknown("arm", "xyz", ["real"])) == "unknown arm 'xyz': valid are real"
