"""The reference systems are what their reports say: layers, steps, losses, pictures."""

import math

import pandas as pd
import pytest
import torch
from conftest import bars
from torch import nn

import augment
from augment.data.images import LabelledImages
from augment.errors import UsageError
from augment.experiment.evidence import best_of
from augment.experiment.stages import grid_steps
from augment.generators import GENERATORS
from augment.generators.reference.mnist_networks import MnistDiscriminator, MnistGenerator
from augment.report.plots import loss_curves
from augment.runtime.seeds import seed_for
from augment.training.loop import train
from augment.training.training_set import TrainingSet
from augment.transforms.geometric import CLASSIC

CLASSES = ("a", "b", "c")
SMALL = {"a1-gan": dict(width=8), "a2-cgan": dict(width=8)}


def prepared(name, data, cpu, **settings):
    learner = GENERATORS[name](**{"batch": 8, **SMALL.get(name, {}), **settings})
    learner.prepare(data, seed=2, device=cpu)
    return learner


def taught(name, data, cpu, **settings):
    """(learner, metrics of every step), trained to its end."""
    learner = prepared(name, data, cpu, **settings)
    training = TrainingSet((data,), (1.0,), (CLASSIC["none"],))
    return learner, [m for _, m in train(learner, training, seed=2, device=cpu)]


def weights(module):
    return [p.detach().clone() for p in module.parameters()]


def same(before, module):
    return all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def test_b1_generator_has_the_layers_of_the_report():
    g = MnistGenerator(100, (1, 28, 28), 10)
    assert g.label.weight.shape == (10, 100)
    linear, _, *rest = g.body
    assert (linear.in_features, linear.out_features) == (100, 7 * 7 * 256)
    kinds = [type(layer) for layer in rest]
    between = [nn.ConvTranspose2d, nn.BatchNorm2d, nn.LeakyReLU]
    assert kinds == [*between, *between, nn.ConvTranspose2d, nn.Tanh]
    ups = [m for m in rest if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in ups] == [
        (256, 128, 3, 2),
        (128, 64, 3, 1),
        (64, 1, 3, 2),
    ]
    z, labels = torch.randn(2, 100), torch.tensor([3, 7])
    torch.testing.assert_close(g(z, labels), g.body(z * g.label(labels)))
    assert g(z, labels).shape == (2, 1, 28, 28)


def test_b1_discriminator_has_the_layers_of_the_report():
    d = MnistDiscriminator((1, 28, 28), 10)
    assert d.reader.label.weight.shape == (10, 28 * 28)
    *body, linear = d.reader.body
    kinds = [type(layer) for layer in body]
    later = [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]
    assert kinds == [nn.Conv2d, nn.LeakyReLU, *later, *later, nn.Flatten]
    convolutions = [m for m in body if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [(2, 64), (64, 64), (64, 128)]
    assert {(m.kernel_size, m.stride) for m in convolutions} == {((3, 3), (2, 2))}
    assert (linear.in_features, linear.out_features) == (3 * 3 * 128, 1)
    assert isinstance(d.squash, nn.Sigmoid)
    assert d(torch.randn(2, 1, 28, 28), torch.tensor([0, 9])).shape == (2, 1)


def test_a_discriminator_is_a_resnet_18(cpu):
    from torchvision.models import resnet18

    theirs = resnet18(num_classes=1)
    theirs = [m.weight.shape for m in theirs.modules() if isinstance(m, nn.Conv2d)]
    ours = prepared("a1-gan", bars(4, CLASSES, (3, 32, 32)), cpu, width=64).modules["d"]
    ours = [m.weight.shape for m in ours.modules() if isinstance(m, nn.Conv2d)]
    assert sorted(ours) == sorted(theirs)


@pytest.mark.parametrize("name", ["a1-gan", "a2-cgan", "b1-cgan"])
def test_losses_start_near_ln_2(name, cpu):
    _, metrics = taught(name, bars(8, CLASSES), cpu, steps=1, batch=16)
    assert math.isclose(
        sum(GENERATORS[name].start.values()) / len(GENERATORS[name].start), math.log(2)
    )
    for loss in GENERATORS[name].start:
        assert float(metrics[0][loss]) == pytest.approx(math.log(2), abs=0.4)


@pytest.mark.parametrize("name", ["a1-gan", "a2-cgan"])
def test_generator_takes_two_steps_for_each_of_the_discriminator(name, cpu):
    learner, _ = taught(name, bars(8, CLASSES), cpu, steps=3)
    taken = {key: {int(s["step"]) for s in learner.optimisers[key].state.values()} for key in "gd"}
    assert taken == {"g": {6}, "d": {3}}


@pytest.mark.parametrize("name", ["a1-gan", "b1-cgan", "b2-vae", "b4-vae-cgan"])
def test_epochs_become_steps(name, cpu):
    learner = prepared(name, bars(13, CLASSES), cpu, epochs=3)
    assert learner.steps == 15  # 3 · 39 / 8
    assert prepared(name, bars(13, CLASSES), cpu, epochs=3, steps=4).steps == 4


def test_a1_with_a_model_a_class_teaches_each_its_own(cpu):
    data = bars(8, CLASSES)
    learner = prepared("a1-gan", data, cpu, labelling="per-class", steps=9)
    before = [weights(net) for net in learner.modules["g"]]
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(5, 1, 8, 8) * 2 - 1
    learner.update(images, torch.tensor([1, 1, 1, 1, 2]), step=0, rng=rng)
    changed = [not same(*pair) for pair in zip(before, learner.modules["g"], strict=True)]
    assert changed == [False, True, False]  # one image of class 2 is too few
    seeds = torch.arange(6)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    drawn = learner.sample(labels, seeds=seeds)
    assert torch.equal(drawn[labels == 2], learner.sample_model(2, labels[2::3], seeds[2::3]))
    assert "labeller" not in learner.modules


def test_a1_sample_is_the_first_that_its_classifier_takes_for_the_class(cpu):
    learner = prepared("a1-gan", bars(4, CLASSES), cpu, steps=1)

    def parity(images):  # a stand-in that no picture can please by looking like a class
        return nn.functional.one_hot(images.flatten(1).sum(1).long() % 3, 3).float()

    learner.probabilities = parity
    labels, seeds = torch.arange(30) % 3, torch.arange(30)
    drawn = learner.sample(labels, seeds=seeds)
    assert torch.equal(parity(drawn).argmax(1), labels)
    for image, label, seed in zip(drawn, labels, seeds.tolist(), strict=True):
        keys = torch.tensor([seed_for(seed, attempt) for attempt in range(32)])
        tries = learner.sample_model(0, label.expand(32), keys)
        first = int((parity(tries).argmax(1) == label).nonzero()[0])
        assert torch.equal(image, tries[first])


def test_a1_trains_its_classifier_on_what_it_learns_from(cpu):
    data = bars(20, CLASSES)
    learner, metrics = taught("a1-gan", data, cpu, steps=60, batch=16)
    assert float(metrics[-1]["labeller"]) < 0.7 * float(metrics[0]["labeller"])
    assert (learner.probabilities(data.images).argmax(1) == data.labels).float().mean() > 0.9


def test_a1_refuses_an_unknown_labelling(cpu):
    with pytest.raises(UsageError, match="none of classifier, per-class"):
        prepared("a1-gan", bars(4, CLASSES), cpu, labelling="by hand")


def test_a2_similarity_draws_samples_towards_the_class(cpu):
    data = bars(12, CLASSES)
    ends = {}
    for weight in (0.0, 50.0):
        _, metrics = taught("a2-cgan", data, cpu, steps=40, similarity=weight, lr=1e-3)
        ends[weight] = float(metrics[-1]["mse_simu"])
        assert set(metrics[0]) == {"d_real", "d_fake", "g", "mse_simu"}
    assert ends[50.0] < 0.8 * ends[0.0]


def test_b2_knows_no_labels(cpu):
    learner, _ = taught("b2-vae", bars(8, CLASSES), cpu, steps=10)
    seeds = torch.arange(6)
    drawn = [learner.sample(torch.full((6,), k), seeds=seeds) for k in (0, 2)]
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0][0], drawn[0][1])


def test_b4_teaches_the_vae_first_and_shows_its_pictures_as_real(cpu):
    data = bars(8, CLASSES)
    learner = prepared("b4-vae-cgan", data, cpu, steps=8)
    shown, judged = [], []
    reconstruct, discriminate = learner.vae.reconstruct, learner.modules["d"].forward

    def remember(images, labels):
        shown.append(reconstruct(images, labels))
        return shown[-1]

    learner.vae.reconstruct = remember
    learner.modules["d"].forward = lambda x, y: judged.append(x) or discriminate(x, y)
    start = {key: weights(learner.modules[key]) for key in ("g", "decoder")}
    training = TrainingSet((data,), (1.0,), (CLASSIC["none"],))
    for step, metrics in train(learner, training, seed=1, device=cpu):
        assert ("kl" in metrics) == (step <= 4)
        if step == 4:
            assert same(start["g"], learner.modules["g"])
            assert not same(start["decoder"], learner.modules["decoder"])
            start["decoder"] = weights(learner.modules["decoder"])
    assert same(start["decoder"], learner.modules["decoder"])
    assert not same(start["g"], learner.modules["g"])
    assert len(shown) == 4
    assert all(torch.equal(a, b) for a, b in zip(shown, judged[::3], strict=True))


def test_generators_are_shown_at_the_epochs_of_the_report():
    assert grid_steps(GENERATORS["a1-gan"](steps=50)) == {0, 15, 35, 50}
    assert grid_steps(GENERATORS["a2-cgan"](steps=50)) == {0, 35, 50}
    assert grid_steps(GENERATORS["cvae"](steps=100)) == {25, 50, 75, 100}
    assert grid_steps(GENERATORS["cvae"](steps=1)) == {1}


def test_run_leaves_curves_grids_and_the_best_pictures(small_run):
    changed = {"generator": "a1-gan", "arm": "real,real+synth", "seeds": 1, "per_class": 6}
    found = augment.run(**{**small_run, **changed})
    log = pd.read_csv(found.path / "history.csv")
    first = log[(log["stage"] == "generator") & (log["step"] == 1)]
    assert set(first["metric"]) == {"d_real", "d_fake", "g", "labeller"}
    names = [p.name for p in (found.path / "samples").iterdir()]
    for step in (0, 1, 3, 4):  # of 4 steps
        assert any(name.endswith(f"step-{step}.png") for name in names)
    assert sum(name.startswith("best-") for name in names) == 1
    assert (found.path / "plots/loss-a1-gan.png").exists()


def test_curves_have_the_names_of_the_report_and_a_line_at_ln_2():
    variants = ["a2-cgan lr=1e-3", "a2-cgan lr=1e-4"]
    log = pd.DataFrame(
        {
            "metric": ["d_real", "mse_simu"] * 2,
            "step": 1,
            "value": 0.7,
            "dataset": "x",
            "seed": 0,
            "artefact": "y",
            "generator": [v for v in variants for _ in range(2)],
        }
    )
    axes = loss_curves("a2-cgan", log).axes
    said = [f"{v}: {title}" for v in variants for title in ("D loss on real", "mse_simu")]
    assert [axis.get_title() for axis in axes] == said
    assert axes[0].lines[-1].get_ydata() == pytest.approx([math.log(2)] * 2)
    assert len(axes[1].lines) == 1


def test_best_pictures_are_the_surest_of_each_class():
    images = torch.arange(120, dtype=torch.uint8)[:, None, None, None]
    data = LabelledImages(images, torch.arange(120) % 2, ("a", "b"))
    probabilities = torch.full((120, 2), 0.5)
    probabilities[100:, 0] = 0.9  # ten of class a are sure, ten of class b are surely wrong
    probabilities[100:, 1] = 0.1
    best = best_of(data, probabilities).flatten().tolist()
    assert len(best) == 32
    assert [b % 2 for b in best] == [0] * 16 + [1] * 16
    assert set(range(100, 120, 2)) < set(best[:16])
    assert max(best[16:]) < 100
