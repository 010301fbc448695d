"""What only a GPU can show: networks replayed from recordings, steps that never wait for it."""

import warnings

import pytest
import torch
from conftest import bars

from augment.classifiers import CLASSIFIERS
from augment.classifiers import models as classifiers
from augment.engine.run import run
from augment.experiment.arms import generator_set, training_set
from augment.generators import GENERATORS, ddpm, morph
from augment.training import cuda_graphs as graphs
from augment.training.loop import train

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
STEPS = 12
LEARNERS = {
    "ddpm": lambda: GENERATORS["ddpm"](steps=STEPS, batch=16, widths=(16, 32), hub=32, dropout=0.1),
    "ddpm unet2d": lambda: GENERATORS["ddpm"](
        steps=STEPS, batch=16, widths=(16, 32), network="unet2d"
    ),
    "mix": lambda: GENERATORS["mix"](steps=STEPS, batch=16, width=16),
    "airbench": lambda: CLASSIFIERS["airbench"](steps=STEPS, batch=16, width=16),
    "resnet": lambda: CLASSIFIERS["resnet"](steps=STEPS, batch=16, width=16),
}


def started(name, policy="natural", micro_batch=0):
    """The learner and its training on a GPU, not begun."""
    data, device = bars(90, shape=(3, 32, 32)), torch.device("cuda")
    learner = LEARNERS[name]()
    learnt = (
        generator_set(data, policy, learner.transformed)
        if hasattr(learner, "transformed")
        else training_set(
            "real+classic+synth", data, bars(99, shape=(3, 32, 32), seed=1), policy, 0.25
        )
    )
    learner.prepare(learnt.parts[0], seed=3, device=device, precision="bf16")
    return learner, train(learner, learnt, seed=3, device=device, micro_batch=micro_batch)


def plain(net, *inputs, call=None):
    """`graphed` without a graph."""
    return call(net, *inputs) if call else net(*inputs)


@gpu
@pytest.mark.parametrize("name", LEARNERS)
def test_a_recorded_network_learns_what_it_would_learn_without(name, monkeypatch):
    learner, steps = started(name)
    losses = torch.stack([metrics["loss"] for _, metrics in steps])
    assert "recording" in vars(learner.modules["net"])
    for module in (classifiers, ddpm, morph):
        monkeypatch.setattr(module, "graphed", plain)
    other, steps = started(name)
    expected = torch.stack([metrics["loss"] for _, metrics in steps])
    assert "recording" not in vars(other.modules["net"])
    assert torch.allclose(losses, expected, rtol=0.03), (losses, expected)  # bf16 rounds
    for key, value in learner.modules["net"].state_dict().items():
        wanted = other.modules["net"].state_dict()[key].float()
        apart = (value.float() - wanted).norm() / wanted.norm().clamp(min=1e-3)
        assert apart < 0.1, (key, float(apart))


@gpu
@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("policy", ["natural", "document"])
def test_no_step_waits_for_the_gpu(name, policy):
    _, steps = started(name, policy)
    for _ in range(3):  # the recording, and the first epoch's places
        next(steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        next(steps)
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode("default")


@gpu
def test_a_batch_in_parts_is_not_recorded():
    learner, steps = started("resnet", micro_batch=8)
    for _, metrics in steps:
        assert metrics["loss"].isfinite()
    assert "recording" not in vars(learner.modules["net"])


@gpu
def test_a_run_on_the_gpu_has_every_row(tmp_path):
    settings = dict(dataset="digits", per_class=5, generator="ddpm", seeds=2, preset="smoke")
    table = run(**settings, device="cuda", jobs=2, out=tmp_path / "run").table
    assert set(table["device"]) == {"cuda"}
    assert set(table["status"]) == {"ok"}
    assert len(table) == 10


def test_without_a_gpu_a_network_runs_as_it_is():
    net = torch.nn.Linear(3, 2)
    x = torch.randn(5, 3)
    assert torch.equal(graphs.graphed(net, x), net(x))
    assert torch.equal(graphs.graphed(net, x, call=lambda own, x: own(2 * x)), net(2 * x))
    assert "recording" not in vars(net)


def test_what_is_recorded_leaves_parts_of_the_network_in_their_mode():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2)).train()
    net[0].eval()  # frozen, as in a linear probe
    module = graphs.GraphedCall(net, None)
    assert [module.training, net.training, net[0].training, net[1].training] == [
        True,
        True,
        False,
        True,
    ]
    x = torch.randn(5, 3)
    assert torch.equal(module(x), net(x))
