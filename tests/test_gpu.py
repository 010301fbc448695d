"""What only a GPU can show: steps replayed from recordings, that never wait for it."""

import warnings

import pytest
import torch
from conftest import bars

from augment.classifiers import CLASSIFIERS
from augment.data.subset import hide_labels
from augment.engine.run import run
from augment.experiment.arms import generator_set, training_set
from augment.generators import GENERATORS
from augment.generators.solvers import Course, follow_scheduler, follow_table
from augment.training import cuda_graphs
from augment.training.loop import train
from augment.training.serialization import finite_state, full_state, load_full_state

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
STEPS = 12
SIZES = {
    "ddpm": dict(widths=(16, 32), hub=32, dropout=0.1),
    "unet2d": dict(widths=(16, 32), network="unet2d"),
    "resnet18": dict(side=32),
    "a1-gan": dict(width=8),
    "a2-cgan": dict(width=8),
    "b1-cgan": {},
    "b2-vae": {},
    "b3-cvae": {},
}
REFERENCES = ["a1-gan", "a2-cgan", "b1-cgan", "b2-vae", "b3-cvae"]
GENERATOR_NAMES = ["ddpm", "unet2d", "cgan", "cvae", "mix", *REFERENCES]
LEARNERS = [*CLASSIFIERS, *GENERATOR_NAMES]
ARMS_TRIED = ["real+mixup", "real+cutmix", "real+compose", "ssl", "pseudo-label"]
POLICIES_TRIED = ["real+randaugment", "real+trivialaugment", "real+autoaugment"]


def build(name):
    registry = CLASSIFIERS if name in CLASSIFIERS else GENERATORS
    settings = SIZES.get(name, dict(width=16))
    return registry["ddpm" if name == "unet2d" else name](steps=STEPS, batch=16, **settings)


def started(name, arm="real+classic+synth", policy="natural", micro_batch=0, start=0, state=None):
    """The learner and its training on a GPU, not begun."""
    data, device = bars(90, shape=(3, 32, 32)), torch.device("cuda")
    learner = build(name)
    learnt = (
        generator_set(data, policy, learner.transformed)
        if name in GENERATOR_NAMES
        else training_set(
            arm, data, bars(99, shape=(3, 32, 32), seed=1), policy, 0.25, hide_labels(data)
        )
    )
    learner.prepare(learnt.parts[0], seed=3, device=device, precision="bf16")
    if state:
        load_full_state(learner, state)
    steps = train(learner, learnt, seed=3, device=device, start=start, micro_batch=micro_batch)
    return learner, steps


@pytest.fixture
def recordings(monkeypatch):
    """The recordings made, as they come."""
    made, record = [], cuda_graphs.record

    def noted(*args):
        made.append(record(*args))
        return made[-1]

    monkeypatch.setattr(cuda_graphs, "record", noted)
    return made


@pytest.mark.parametrize("name", LEARNERS)
def test_a_recorded_step_learns_what_it_would_learn_without(name, recordings, monkeypatch):
    learner, steps = started(name)
    losses = torch.stack([torch.stack(list(metrics.values())) for _, metrics in steps])
    assert len(recordings) == 1
    monkeypatch.setattr(cuda_graphs, "UNRECORDED", STEPS)
    other, steps = started(name)
    expected = torch.stack([torch.stack(list(metrics.values())) for _, metrics in steps])
    assert len(recordings) == 1
    assert torch.allclose(losses, expected, rtol=0.05, atol=0.02), (losses, expected)  # bf16 rounds
    wanted = full_state(other)
    for key, value in full_state(learner).items():
        apart = (value.float() - wanted[key].float()).norm()
        assert apart <= 0.1 * wanted[key].float().norm().clamp(min=1e-2), (key, float(apart))


@pytest.mark.parametrize(
    ("name", "arm", "policy"),
    [
        *((name, "real+classic+synth", "natural") for name in LEARNERS),
        *(("resnet", arm, "document") for arm in (*ARMS_TRIED, *POLICIES_TRIED)),
        *(("resnet", arm, "natural") for arm in POLICIES_TRIED),
    ],
)
def test_no_step_waits_for_the_gpu(name, arm, policy, recordings):
    _, steps = started(name, arm, policy)
    for _ in range(cuda_graphs.UNRECORDED + 1):  # the recording, and the first epoch's order
        next(steps)
    assert len(recordings) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        next(steps)
        next(steps)
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", ["resnet", "ddpm", "cgan"])
def test_a_training_goes_on_as_if_it_had_never_stopped(name):
    """In fp32 arithmetic that repeats: on a GPU some backward passes add up in any order."""
    states = []
    for _ in range(2):
        learner, steps = started(name)
        for _ in steps:
            pass
        states.append(full_state(learner))
    if not all(torch.equal(value, states[1][key]) for key, value in states[0].items()):
        pytest.skip("its kernels do not repeat to the bit on this GPU")
    learner, steps = started(name)
    for step, _ in steps:
        if step == STEPS // 2:
            break
    saved = finite_state(learner, STEPS // 2)
    learner, steps = started(name, start=STEPS // 2, state=saved)
    for _ in steps:
        pass
    assert all(torch.equal(value, states[0][key]) for key, value in full_state(learner).items())


def test_the_global_random_state_is_left_alone():
    _, steps = started("ddpm")  # its dropout draws from that
    before = torch.cuda.get_rng_state(), torch.get_rng_state()
    for _ in steps:
        pass
    assert torch.equal(torch.cuda.get_rng_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_a_batch_in_parts_is_not_recorded(recordings):
    _, steps = started("resnet", micro_batch=8)
    for _, metrics in steps:
        assert metrics["loss"].isfinite()
    assert not recordings


@pytest.mark.parametrize("sampler", ["dpm++", "ddim"])
def test_a_recorded_sampler_draws_the_images_of_diffusers(sampler, recordings):
    learner, steps = started("ddpm")
    for _ in steps:
        pass
    learner.sampler, learner.guidance = sampler, 1.5
    del recordings[:]
    labels, seeds = torch.arange(40) % 3, torch.arange(40)
    images = learner.sample(labels, seeds=seeds)
    assert len(recordings) == 1
    assert torch.equal(learner.sample(labels, seeds=seeds), images)
    assert len(recordings) == 1
    course = Course(sampler, learner.calls, 1.0)
    with torch.inference_mode():
        noise = torch.randn(512, 12, 16, 16, generator=torch.Generator().manual_seed(0)).cuda()
        many = (torch.arange(512) % 3).cuda()

        def velocity(x, t):
            return learner.velocity(x, t, many)

        def step(x, last, t, row):
            return learner.graphed_step()(many, x, last, t, row)

        found = follow_table(course, noise, step)
        wanted = follow_scheduler(course, noise, velocity, seeds)
    assert (found - wanted).abs().mean() < 0.02  # bf16 rounds


def test_a_run_on_the_gpu_has_every_row(tmp_path):
    settings = dict(dataset="digits", per_class=5, generator="ddpm", seeds=2, preset="smoke")
    table = run(**settings, device="cuda", jobs=2, out=tmp_path / "run").table
    assert set(table["device"]) == {"cuda"}
    assert set(table["status"]) == {"ok"}
    assert len(table) == 10
