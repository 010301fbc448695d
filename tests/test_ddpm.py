"""The diffusion model's step, and its ways of drawing: variations of labelled images."""

import pytest
import torch
from conftest import bars

from augment.errors import UsageError
from augment.experiment.arms import generator_set
from augment.generators.ddpm import DDPM
from augment.generators.solvers import scheduler
from augment.training.loop import fit, train
from augment.training.serialization import load_learner, save_learner

LABELS, SEEDS = torch.tensor([0, 1, 2]).repeat(20), torch.arange(60)


@pytest.fixture(scope="module")
def model():
    learnt = generator_set(bars(4, ("a", "b", "c")), "document", 0.5)
    ddpm = DDPM(steps=30, batch=16, widths=(8, 16), hub=16)
    fit(ddpm, learnt, seed=0, device=torch.device("cpu"))
    return learnt.parts[0], ddpm


def drawn(ddpm, **settings):
    before = {key: getattr(ddpm, key) for key in settings}
    for key, value in settings.items():
        setattr(ddpm, key, value)
    images = ddpm.sample(LABELS, seeds=SEEDS)
    for key, value in before.items():
        setattr(ddpm, key, value)
    return images


def apart(images, data):
    """Mean grey levels between each image and the nearest labelled one of its class."""
    gaps = []
    for image, label in zip(images, LABELS, strict=True):
        own = data.images[data.labels == label].float()
        gaps.append((own - image.float()).abs().mean((1, 2, 3)).min())
    return float(torch.stack(gaps).mean())


@pytest.mark.parametrize("sampler", ["dpm++", "ddim", "ddpm"])
def test_less_strength_stays_nearer_to_a_labelled_image_of_the_class(model, sampler):
    data, ddpm = model
    far = apart(drawn(ddpm, sampler=sampler), data)
    middle = apart(drawn(ddpm, sampler=sampler, strength=0.5), data)
    near = apart(drawn(ddpm, sampler=sampler, strength=0.05), data)
    assert 3 * near < middle < 0.8 * far


def test_all_strength_is_pure_noise_as_ever(model):
    _, ddpm = model
    assert torch.equal(drawn(ddpm, strength=1.0), ddpm.sample(LABELS, seeds=SEEDS))
    assert not torch.equal(drawn(ddpm, strength=0.9), ddpm.sample(LABELS, seeds=SEEDS))


def test_a_variation_starts_from_as_much_noise_as_its_strength_says(model, monkeypatch):
    _, ddpm = model
    asked = []

    def velocity(x, t, labels):
        asked.append((int(t), float(x.std())))
        return torch.zeros_like(x)

    monkeypatch.setattr(ddpm, "velocity", velocity)
    drawn(ddpm, strength=0.5, calls=10)
    assert len(asked) == 5
    plan = scheduler("dpm++")
    plan.set_timesteps(10)
    assert asked[0][0] == int(plan.timesteps[5])
    started = ddpm.spectrum.to_components(ddpm.memory.start_images(LABELS, SEEDS, ddpm.interpolate))
    alpha_bar = ddpm.alpha_bar[asked[0][0]]
    expected = (alpha_bar * started.var() + 1 - alpha_bar).sqrt()
    assert asked[0][1] == pytest.approx(float(expected), rel=0.05)


def test_interpolation_starts_between_two_images_of_the_class(model):
    data, ddpm = model
    single = ddpm.memory.start_images(LABELS, SEEDS, ddpm.interpolate)
    ddpm.interpolate = True
    between = ddpm.memory.start_images(LABELS, SEEDS, ddpm.interpolate)
    ddpm.interpolate = False
    known = data.images.float() / 127.5 - 1
    assert all((known == image).all((1, 2, 3)).any() for image in single)
    assert sum(bool((known == image).all((1, 2, 3)).any()) for image in between) < 30
    for image, label in zip(between, LABELS, strict=True):  # of the class: its bar stays
        own = known[data.labels == label]
        assert (image <= own.amax(0) + 1e-5).all()
        assert (image >= own.amin(0) - 1e-5).all()


def test_variations_come_from_the_saved_model_alone(model, cpu, tmp_path):
    data, ddpm = model
    save_learner(ddpm, "ddpm", data, tmp_path)
    again = load_learner({"ddpm": DDPM}, tmp_path, cpu, strength=0.3, interpolate=True)
    expected = drawn(ddpm, strength=0.3, interpolate=True)
    assert torch.equal(again.sample(LABELS, seeds=SEEDS), expected)


@pytest.mark.parametrize("micro_batch", [0, 4])
def test_a_step_goes_down_a_gradient_no_longer_than_clip(cpu, micro_batch):
    norms = {}
    for clip in (0.0, 0.01):
        ddpm = DDPM(steps=3, batch=8, widths=(8, 16), hub=8, clip=clip)
        ddpm.prepare(bars(), seed=0, device=cpu)
        taken, step = [], ddpm.optimisers["net"].step

        def seen(ddpm=ddpm, taken=taken, step=step):
            step()
            grads = [p.grad for p in ddpm.modules["net"].parameters()]
            taken.append(float(torch.nn.utils.get_total_norm(grads)))

        ddpm.optimisers["net"].step = seen
        data = generator_set(bars(), "none", 0.0)
        assert len(list(train(ddpm, data, seed=0, device=cpu, micro_batch=micro_batch))) == 3
        norms[clip] = taken
    assert min(norms[0.0]) > 0.05
    assert norms[0.01] == pytest.approx([0.01] * 3, rel=1e-3)


def test_a_snapshot_that_is_not_kept_is_refused(cpu):
    with pytest.raises(UsageError, match=r"snapshot '0\.3' is none of 0\.25, 0\.5, 0\.75, 1\.0"):
        DDPM(snapshot=0.3).prepare(bars(), seed=0, device=cpu)
