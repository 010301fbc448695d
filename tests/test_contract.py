"""Every entry of every registry keeps the contract; a new entry is covered by being there."""

import dataclasses
import json

import pytest
import torch
from conftest import bars
from torch.utils.flop_counter import FlopCounterMode

from augment.classifiers import CLASSIFIERS
from augment.data.datasets import DATASETS
from augment.data.subset import hide_labels
from augment.experiment.arms import ARMS, UNLABELLED_SHARE, generator_set, training_set
from augment.experiment.hyperparameters import hyperparameters
from augment.experiment.recipe import USUAL_ARMS
from augment.generators import GENERATORS
from augment.generators.blocks import images_per_call
from augment.training.bf16_guard import safe_precision
from augment.training.loop import fit, train
from augment.training.serialization import (
    full_state,
    kept_state,
    load_full_state,
    load_learner,
    save_learner,
)
from augment.training.training_set import TrainingSet
from augment.transforms.autoaugment import POLICIES
from augment.transforms.geometric import CLASSIC

SHAPES = {"grey 8×8": (1, 8, 8), "grey 28×28": (1, 28, 28), "colour 13×20": (3, 13, 20)}
LARGE = [(3, 70, 40), (1, 130, 257)]
GENERATOR_CASES = [(name, shape) for name in GENERATORS for shape in [*SHAPES.values(), *LARGE]]


@pytest.fixture(autouse=True)
def _with_a_pipeline(own_pipelines):
    """For the generators that need one."""


def smallest(registry, name, steps=2, **changed):
    settings = hyperparameters(registry, name, "smoke", {})
    wanted = {"steps": steps, "batch": 8, "side": 16, **changed}  # those that it has
    return registry[name](**settings | {k: v for k, v in wanted.items() if k in settings})


def trained(registry, name, data, cpu, precision="fp32", **changed):
    """A trained learner, guarded as the product's are: in fp32 where bf16 is wrong here."""
    learner = smallest(registry, name, **changed)
    training = TrainingSet((data,), (1.0,), (CLASSIC["natural"],))
    precision, _ = safe_precision(learner, data, precision, cpu)
    fit(learner, training, seed=1, device=cpu, precision=precision)
    return learner


@pytest.mark.parametrize(("name", "shape"), GENERATOR_CASES)
def test_generator_gives_images_like_its_data(name, shape, cpu):
    data = bars(4, ("a", "b", "c"), shape)
    generator = trained(GENERATORS, name, data, cpu)
    images = generator.sample(torch.tensor([0, 1, 2, 2, 0]), seeds=torch.arange(5))
    assert images.shape == (5, *shape)
    assert images.dtype == torch.uint8
    assert images.device.type == "cpu"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", GENERATORS)
def test_image_hangs_on_label_and_seed_alone(name, precision, cpu):
    data = bars(4, ("a", "b", "c"))
    generator = trained(GENERATORS, name, data, cpu, precision, steps=10)
    n = images_per_call(data.shape, cpu) + 22  # more than one call of the network
    labels, seeds = torch.arange(n) % 3, torch.arange(n)
    together = generator.sample(labels, seeds=seeds)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    assert torch.equal(together[order], generator.sample(labels[order], seeds=seeds[order]))
    for part in ([0], [n - 1], range(40, 57)):
        alone = generator.sample(labels[part], seeds=seeds[part])
        assert torch.equal(together[part], alone)
    assert not torch.equal(together, generator.sample(labels, seeds=seeds + 101))


@pytest.mark.parametrize("name", GENERATORS)
def test_generator_saved_and_loaded_draws_the_same(name, cpu, tmp_path):
    data = bars(4, ("a", "b", "c"))
    generator = trained(GENERATORS, name, data, cpu, "bf16")
    precision, _ = safe_precision(smallest(GENERATORS, name), data, "bf16", cpu)
    save_learner(generator, name, data, tmp_path, precision)
    assert {p.name for p in tmp_path.iterdir()} == {"weights.safetensors", "model.json"}
    again = load_learner(GENERATORS, tmp_path, cpu)
    labels, seeds = torch.tensor([0, 1, 2, 2]), torch.arange(4)
    assert torch.equal(generator.sample(labels, seeds=seeds), again.sample(labels, seeds=seeds))


@pytest.mark.parametrize(
    ("registry", "name"),
    [(GENERATORS, n) for n in GENERATORS] + [(CLASSIFIERS, n) for n in CLASSIFIERS],
)
def test_training_continued_from_a_checkpoint_is_bitwise_the_same(registry, name, cpu):
    data = bars(5, ("a", "b", "c"))
    training = TrainingSet((data,), (1.0,), (CLASSIC["document"],))
    whole = smallest(registry, name, steps=5)
    whole.prepare(data, seed=3, device=cpu)
    states = {0: {k: v.clone() for k, v in full_state(whole).items()}}
    for step, _ in train(whole, training, seed=3, device=cpu):
        states[step] = {k: v.clone() for k, v in full_state(whole).items()}
    middle = min(2, whole.steps)
    resumed = smallest(registry, name, steps=5)
    resumed.prepare(data, seed=99, device=cpu)  # other weights, all of which must be replaced
    load_full_state(resumed, states[middle])
    for _ in train(resumed, training, seed=3, device=cpu, start=middle):
        pass
    expected, found = kept_state(whole), kept_state(resumed)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[k], found[k]) for k in expected)
    if whole.steps:
        assert any(not torch.equal(states[0][k], states[5][k]) for k in states[0])


# frozen random weights heed no text; test_finetune has a pipeline that has learnt
BLIND = {"b2-vae", "finetune", *(n for n in GENERATORS if not GENERATORS[n].presets["smoke"])}


@pytest.mark.parametrize("name", [n for n in GENERATORS if n not in BLIND])
def test_generator_sees_its_labels(name, cpu):
    data = bars(8, ("a", "b"))
    generator = trained(GENERATORS, name, data, cpu, steps=40)
    images = generator.sample(torch.tensor([0, 1]).repeat(20), seeds=torch.arange(40) // 2)
    assert (images[::2].float() - images[1::2].float()).abs().mean() > 1


@pytest.mark.parametrize(
    "shape", [(1, 5, 5), (1, 8, 40), (3, 40, 8), (1, 5, 17), (1, 64, 6), (3, 5, 128)]
)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_takes_every_shape_that_is_kept(name, shape, cpu):
    data = bars(4, ("a", "b", "c"), shape)
    classifier = trained(CLASSIFIERS, name, data, cpu)
    assert torch.cat(list(classifier.predict(data.images))).shape == (12, 3)


@pytest.mark.parametrize("name", ["airbench", "resnet"])
def test_cost_of_an_image_grows_no_faster_than_its_pixels(name, cpu):
    per_pixel = {}
    for side in (32, 64, 80, 128, 200, 256):
        data = bars(1, shape=(3, side, side // 2))
        classifier = smallest(CLASSIFIERS, name)
        classifier.prepare(data, seed=0, device=cpu)
        with FlopCounterMode(display=False) as counter:
            list(classifier.predict(data.images))
        per_pixel[side] = counter.get_total_flops() / side**2
    assert max(per_pixel.values()) < 1.2 * per_pixel[32]
    assert max(per_pixel[side] for side in (128, 200, 256)) < per_pixel[64] / 2


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_learns_bars(name, cpu):
    data = bars(12, ("a", "b", "c"))
    classifier = trained(CLASSIFIERS, name, data, cpu, steps=60, ema=0.9)
    probabilities = torch.cat(list(classifier.predict(data.images)))
    assert probabilities.shape == (36, 3)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(36))
    assert (probabilities.argmax(1) == data.labels).float().mean() > 0.9


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_takes_more_steps_for_more_images(name):
    few, many = smallest(CLASSIFIERS, name, epochs=3), smallest(CLASSIFIERS, name, epochs=3)
    few.prepare(bars(2, ("a", "b")), seed=0, device=torch.device("cpu"))
    many.prepare(bars(40, ("a", "b")), seed=0, device=torch.device("cpu"))
    assert (few.steps, many.steps) == (2, 30)  # 3 · 80 / 8


@pytest.mark.parametrize("registry", [GENERATORS, CLASSIFIERS])
def test_presets_are_plain_data_of_known_settings(registry):
    for name, entry in registry.items():
        assert set(entry.presets) == {"smoke", "quick", "full"}
        fields = {f.name for f in dataclasses.fields(entry) if f.init}
        for preset, line in entry.presets.items():
            assert set(line) <= fields, (name, preset)
            json.dumps(hyperparameters(registry, name, preset, {}))


@pytest.mark.parametrize("registry", [GENERATORS, CLASSIFIERS, CLASSIC])
def test_each_entry_says_what_it_is(registry):
    assert all((entry.__doc__ or "").strip() for entry in registry.values())


def test_each_dataset_names_a_classic_policy():
    assert {d.classic for d in DATASETS.values()} <= set(CLASSIC)


@pytest.mark.parametrize("name", ARMS)
def test_arm_fills_its_batches_as_it_says(name, tiny):
    synthetic = tiny.select(range(8))
    training = training_set(name, tiny, synthetic, "natural", 0.25, hide_labels(tiny))
    arm = ARMS[name]
    beside = [round(64 * UNLABELLED_SHARE)] if arm.unlabelled else []
    counts = training.counts(64)
    assert sum(counts) == 64 + sum(beside)
    assert counts[arm.real + arm.synthetic :] == beside
    if arm.real and arm.synthetic:
        assert counts[:2] == [48, 16]
    wanted = "+".join(filter(None, ["natural" if arm.classic else "none", arm.policy]))
    assert {t.__name__ for t in training.transforms} == {wanted}
    assert arm.against is None or arm.against in ARMS
    assert set(USUAL_ARMS) <= set(ARMS)


def test_every_free_way_is_also_an_arm_with_synthetic_images():
    free = {n for n, arm in ARMS.items() if (arm.policy or arm.compose) and not arm.synthetic}
    for name in free - {"pseudo-label"}:
        arm, pair = ARMS[name], ARMS[f"{name}+synth"]
        assert (pair.against, pair.real, pair.synthetic) == (name, True, True)
        assert (pair.classic, pair.policy, pair.compose) == (True, arm.policy, arm.compose)


@pytest.mark.parametrize("shape", SHAPES.values())
@pytest.mark.parametrize("name", ARMS)
def test_arm_trains_a_classifier_and_repeats(name, shape, cpu):
    data = bars(4, ("a", "b", "c"), shape)
    training = training_set(name, data, data, "natural", 0.5, hide_labels(data))
    before = torch.random.get_rng_state()
    weights = []
    for _ in range(2):
        learner = smallest(CLASSIFIERS, "airbench", threshold=0.1)
        fit(learner, training, seed=1, device=cpu)
        weights.append(kept_state(learner))
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", [n for n, arm in ARMS.items() if arm.policy])
@pytest.mark.parametrize("classic", ["document", "natural"])
@pytest.mark.parametrize("shape", SHAPES.values())
def test_policy_keeps_shape_and_range_and_draws_for_each_image(name, classic, shape):
    image = bars(1, ("a",), shape).images.float() / 127.5 - 1
    transform = POLICIES[ARMS[name].policy](classic == "document")
    changed = transform(image.repeat(40, 1, 1, 1), torch.Generator().manual_seed(0))
    assert changed.shape == (40, *shape)
    assert changed.min() >= -1.001
    assert changed.max() <= 1.001
    assert len(changed.unique(dim=0)) > 10


def test_generator_is_told_which_images_are_transformed(tiny):
    learnt = generator_set(tiny, "natural", 0.25)
    k = len(tiny.classes)
    assert learnt.counts(8) == [6, 2]
    assert learnt.transforms == (CLASSIC["none"], CLASSIC["natural"])
    assert torch.equal(learnt.parts[0].labels, tiny.labels)
    assert torch.equal(learnt.parts[1].labels, tiny.labels + k)
    assert all(len(part.classes) == 2 * k for part in learnt.parts)


@pytest.mark.parametrize(
    ("transformed", "classic", "policy"),
    [(0.0, "natural", "none"), (1.0, "natural", "natural"), (0.5, "none", "none")],
)
def test_with_nothing_to_tell_the_classes_stay(tiny, transformed, classic, policy):
    learnt = generator_set(tiny, classic, transformed)
    assert learnt.parts == (tiny,)
    assert learnt.transforms == (CLASSIC[policy],)


def test_adding_a_generator_takes_a_class_and_a_line(monkeypatch, small_run, cpu):
    import augment
    from augment.generators.controls import Duplicate

    class Mean(Duplicate):
        """The mean image of each class."""

        def sample(self, labels, *, seeds):
            memory = self.modules["memory"]
            means = [memory.images[memory.labels == k].float().mean(0) for k in labels.tolist()]
            return torch.stack(means).to(torch.uint8)

    monkeypatch.setitem(GENERATORS, "mean", Mean)
    result = augment.run(**{**small_run, "generator": "mean", "arm": "real,synth", "seeds": 1})
    assert result.failed == 0
    assert result.table["generator"].tolist()[1] == "mean"
