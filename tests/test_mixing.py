"""When and how synthetic images come into a training, counted image by image."""

import copy
import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F
from conftest import FIVE_ARMS, Recorder, bars

import augment
from augment.classifiers import CLASSIFIERS
from augment.classifiers.blocks import forward_apart
from augment.classifiers.models import Airbench
from augment.data.images import LabelledImages, to_uint8
from augment.data.subset import hide_labels
from augment.errors import UsageError
from augment.experiment.arms import training_set
from augment.experiment.cells import expand
from augment.experiment.filters import Evidence
from augment.experiment.mixing import MIXINGS
from augment.experiment.records import QualityResult, classifier_path
from augment.experiment.stages import classifier_set
from augment.experiment.unseen import trust_in
from augment.experiment.validation import make_recipe
from augment.runtime.seeds import seed_for
from augment.storage.artifacts import Store
from augment.training.loop import fit, train
from augment.training.serialization import load_learner
from augment.transforms.batch_mixing import BATCH_TRANSFORMS

N, M, FIRST = 5, 9, 100  # labelled images, synthetic ones, and the grey of the first of these

NEWER_MEASURES = ("kappa", "kappa_floor", "trust")


def numbered(n, first=0):
    """Two classes of plain pictures, each of a grey of its own."""
    grey = torch.arange(first, first + n, dtype=torch.uint8)
    return LabelledImages(
        grey[:, None, None, None].expand(n, 1, 4, 4), torch.arange(n) % 2, ("a", "b")
    )


CHANCES = (
    torch.linspace(0, 1, M)[:, None]
    .mul(torch.tensor([[1.0, -1.0]]))
    .add(torch.tensor([[0.0, 1.0]]))
)  # [M, 2]: image m is of class "a" with the chance m / (M - 1)


def mixed(name, share=0.5, arm="real+synth", trust=1.0):
    labelled, synthetic = numbered(N), numbered(M, FIRST)
    plain = training_set(arm, labelled, synthetic, "none", share, hide_labels(labelled))
    nothing = torch.zeros(M)
    return MIXINGS[name](plain, Evidence(synthetic.labels, CHANCES, nothing, nothing > 0, trust))


def batches(data, cpu, start=0, steps=8, batch=8):
    """The greys of each batch, and its labels."""
    recorder = Recorder(steps, batch)
    for _ in train(recorder, data, seed=3, device=cpu, start=start):
        pass
    return [(to_uint8(i)[:, 0, 0, 0].tolist(), labels) for i, labels in recorder.seen]


def synthetic_rows(seen):
    return [sum(grey >= FIRST for grey in greys) for greys, _ in seen]


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_draws_of_each_part_follow_from_seed_and_step(share, cpu):
    seen = batches(mixed("constant", share), cpu)
    take = round(8 * (1 - share))
    orders = [(torch.arange(n) % 2).argsort(stable=True) for n in (N, M)]
    for step, (greys, labels) in enumerate(seen):
        rng = torch.Generator().manual_seed(seed_for(3, "step", step))
        u = torch.rand(8, generator=rng, dtype=torch.float64)
        real, synthetic = (u[:take] * N).long(), (u[take:] * M).long()
        assert greys == [*orders[0][real].tolist(), *(orders[1][synthetic] + FIRST).tolist()]
        assert labels.tolist() == [grey % FIRST % 2 for grey in greys]


def test_parts_of_a_generator_draw_what_they_always_drew(cpu):
    """Part p takes its next images from endless shuffled epochs of seed (3, p)."""
    share, data = 0.3, dataclasses.replace(mixed("constant", 0.3), with_replacement=False)
    expected = []
    for part, n in enumerate((N, M)):
        orders = [
            torch.randperm(
                n,
                generator=torch.Generator().manual_seed(
                    seed_for(seed_for(3, part), "epoch", epoch)
                ),
            )
            for epoch in range(20)
        ]
        expected.append(torch.cat(orders) + FIRST * part)
    take = round(8 * (1 - share))
    seen = batches(data, cpu)
    for step, (greys, labels) in enumerate(seen):
        other = 8 - take
        real = expected[0][step * take : (step + 1) * take]
        synthetic = expected[1][step * other : (step + 1) * other]
        assert greys == [*real.tolist(), *synthetic.tolist()]
        assert labels.tolist() == [grey % FIRST % 2 for grey in greys]


@pytest.mark.parametrize(
    ("name", "share", "wanted"),
    [
        ("constant", 0.5, [4] * 8),
        ("pretrain", 0.5, [8] * 4 + [0] * 4),
        ("pretrain", 0.25, [8] * 2 + [0] * 6),
        ("falling", 0.5, [8, 6, 6, 4, 4, 2, 2, 0]),  # of 7.5, 6.5, …, 0.5
        ("falling", 0.25, [4, 3, 3, 2, 2, 1, 1, 0]),
        ("falling", 0.75, [8, 6, 6, 4, 4, 2, 2, 0]),  # from 1, not from 1.5
        ("early", 0.25, [7, 5, 3, 1, 0, 0, 0, 0]),
        ("early", 0.125, [4, 2, 2, 0, 0, 0, 0, 0]),  # of 3.5, 2.5, 1.5, 0.5
        ("early", 0.75, [7, 5, 3, 1, 0, 0, 0, 0]),  # from 1, not from 3
    ],
)
def test_so_many_synthetic_images_are_in_each_batch(name, share, wanted, cpu):
    assert synthetic_rows(batches(mixed(name, share), cpu)) == wanted


@pytest.mark.parametrize("trust", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("arm", ["real+synth", "ssl+synth"])
def test_confirmed_is_early_scaled_by_trust(trust, arm):
    data, like = mixed("confirmed", 0.2, arm, trust), mixed("early", 0.2, arm)
    for done in (0.01, 0.3, 0.49, 0.6, 0.99):
        early = like.counts(1000, done)[1]
        assert data.counts(1000, done)[1] == pytest.approx(trust * early, abs=1)
        assert trust or data.counts(1000, done)[1] == 0


@pytest.mark.parametrize(
    ("kappa", "floor", "trust"),
    [
        (0.6, 0.8, 0.75),
        (0.9, 0.8, 1.0),
        (-0.1, 0.8, 0.0),
        (0.3, 0.0, 0.0),  # a judge that guesses confirms nothing
        (0.3, None, 0.3),
    ],
)
def test_trust_is_kappa_over_that_of_real_images(kappa, floor, trust):
    assert trust_in(kappa, floor) == pytest.approx(trust)


def test_measures_of_an_older_version_have_no_trust(tmp_path):
    """None, not 0: nobody asked the judges."""
    older = dict.fromkeys(("agreement_floor", "copy_rate_features", "closer_to_train")) | {
        "against": "none",
        "agreement": 0.5,
        "agreement_by_class": [0.5],
        "copy_rate": 0.0,
    }
    QualityResult(**older, spaces={}).write(tmp_path)
    about = tmp_path / "about.json"
    told = json.loads(about.read_text())
    about.write_text(json.dumps({k: v for k, v in told.items() if k not in NEWER_MEASURES}))
    read = QualityResult.read(tmp_path)
    assert [getattr(read, name) for name in NEWER_MEASURES] == [None] * 3


@pytest.mark.parametrize("seed", [3, 4])
def test_images_that_no_judge_confirms_leave_the_training_of_the_baseline(seed, cpu):
    """To the bit: the answer cannot fall below it, whatever they show."""
    labelled = numbered(N)
    alone = training_set("real", labelled, None, "none", 0.0, None)
    trained = []
    for data in (alone, mixed("confirmed", 0.4, trust=0.0)):
        classifier = Airbench(steps=6, batch=8, width=4)
        classifier.prepare(labelled, seed=seed, device=cpu)
        fit(classifier, data, seed=seed, device=cpu)
        trained.append(classifier.modules["ema"].state_dict())
    for name, tensor in trained[0].items():
        assert torch.equal(tensor, trained[1][name]), name


@pytest.mark.parametrize(("share", "mean"), [(0.05, 0.05), (0.25, 0.25), (0.9, 0.25)])
def test_early_has_the_share_on_average_and_no_synthetic_image_from_half_on(share, mean):
    data = mixed("early", share)
    counts = [data.counts(64, (step + 0.5) / 200)[1] for step in range(200)]
    assert counts == sorted(counts, reverse=True)
    assert counts[100:] == [0] * 100
    assert sum(counts) / (64 * 200) == pytest.approx(mean, abs=0.002)


@pytest.mark.parametrize(
    ("mixing", "share"), [("constant", 1 / 64), ("falling", 1 / 128), ("early", 1 / 256)]
)
def test_share_is_refused_where_the_first_batch_would_have_no_synthetic_image(mixing, share):
    """The first of 32 images: half an image is none, more is one."""

    def cells(share):
        return expand(make_recipe(mixing=mixing, share=share, preset="smoke").resolved("cpu"))

    assert cells(share * 1.01)
    with pytest.raises(UsageError, match="leaves no synthetic image in a batch of 32"):
        cells(share * 0.99)


@pytest.mark.parametrize(
    ("share", "wanted"),
    [
        (0.25, [15, 13, 11, 9, 8, 8, 0, 0]),  # the last four of 7, 5, 3, 1
        (0.5, [32, 24, 22, 18, 14, 10, 8, 0]),  # of 30, 26 … 6, 2
    ],
)
def test_none_or_enough_images_of_a_kind_have_statistics_of_their_own(share, wanted, cpu):
    seen = batches(mixed("falling-own-norm", share), cpu, batch=32)
    assert synthetic_rows(seen) == wanted


@pytest.mark.parametrize("arm", ["real+classic+synth", "ssl+synth"])
@pytest.mark.parametrize("name", MIXINGS)
def test_batches_are_as_large_in_every_mixing_and_the_budget_as_constant(name, arm, cpu):
    data = mixed(name, 0.25, arm)
    data = dataclasses.replace(data, mix_batch=None)
    seen = batches(data, cpu, steps=40, batch=32)
    beside = 64 if arm == "ssl+synth" else 0
    assert [len(greys) for greys, _ in seen] == [32 + beside] * 40
    assert sum(synthetic_rows(seen)) == 40 * 8


@pytest.mark.parametrize("name", MIXINGS)
@pytest.mark.parametrize("start", [1, 5])
def test_training_taken_up_in_the_middle_draws_the_same(name, start, cpu):
    data = mixed(name, 0.3)
    whole, rest = batches(data, cpu, batch=32), batches(data, cpu, start, batch=32)
    for (greys, labels), (again, same) in zip(whole[start:], rest, strict=True):
        assert greys == again
        assert torch.equal(labels, same)


def test_images_that_come_in_changing_numbers_still_come_once_an_epoch(cpu):
    data = dataclasses.replace(mixed("falling"), with_replacement=False)
    greys = [grey for row, _ in batches(data, cpu) for grey in row]
    for n, own in ((N, [g for g in greys if g < FIRST]), (M, [g for g in greys if g >= FIRST])):
        for epoch in range(len(own) // n):
            assert len(set(own[epoch * n : (epoch + 1) * n])) == n


def test_arms_without_labelled_or_without_synthetic_images_have_no_mixing():
    cells = expand(make_recipe(arm=FIVE_ARMS, mixing="constant,falling", seeds=1).resolved("cpu"))
    assert [(c.arm, c.use.mixing) for c in cells] == [
        ("real", None),
        ("real+classic", None),
        ("real+synth", "constant"),
        ("real+synth", "falling"),
        ("real+classic+synth", "constant"),
        ("real+classic+synth", "falling"),
        ("synth", None),
    ]


def test_score_of_constant_mixing_is_named_as_before_there_was_a_choice():
    cells = expand(
        make_recipe(arm="real+synth", mixing="constant,falling", seeds=1).resolved("cpu")
    )
    constant, falling = (cell.use.signed("score") for cell in cells)
    assert "mixing" not in constant
    assert falling == constant | {"mixing": "falling"}


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_weighted_images_count_half_and_their_smoothing_too(share, cpu):
    """A step's loss is the weighted mean of smoothed losses, an image each."""
    greys, labels = batches(mixed("weighted", share), cpu)[0]
    images = torch.tensor(greys)[:, None, None, None].expand(8, 1, 8, 8) / 127.5 - 1
    learner = Airbench(steps=4, batch=8, width=4, label_smoothing=0.2)
    learner.prepare(bars(), seed=1, device=cpu)
    logits = copy.deepcopy(learner.modules["net"]).train()(images)
    classes = torch.tensor([grey % FIRST % 2 for grey in greys])
    each = F.cross_entropy(logits, classes, reduction="none", label_smoothing=0.2)
    weights = torch.tensor([0.5 if grey >= FIRST else 1.0 for grey in greys])
    loss = learner.update(images, labels, step=0, rng=torch.Generator())["loss"]
    torch.testing.assert_close(loss, (each * weights).sum() / weights.sum())
    assert weights.sum() == 8 * (1 - share / 2)


def test_soft_labels_are_the_chances_of_each_synthetic_image(cpu):
    for greys, labels in batches(mixed("soft"), cpu):
        for grey, row in zip(greys, labels, strict=True):
            one_hot = F.one_hot(torch.tensor(grey % 2), 2).float()
            assert torch.equal(row, CHANCES[grey - FIRST] if grey >= FIRST else one_hot)


@pytest.mark.parametrize(("name", "columns"), [("weighted", [2]), ("soft", [2]), ("own-norm", [])])
def test_fixmatch_tells_unlabelled_images_by_labels_of_any_kind(name, columns, cpu):
    """64 weak and strong views of 32 unlabelled images stand behind the labels of the batch."""
    recorder = Recorder(3, 16)
    for _ in train(recorder, mixed(name, arm="ssl+synth"), seed=3, device=cpu):
        pass
    assert [(len(i), [*y.shape]) for i, y in recorder.seen] == [(80, [16, *columns])] * 3
    assert recorder.apart == [8 * (name == "own-norm")] * 3
    assert all((labels >= 0).all() for _, labels in recorder.seen)


def test_soft_labels_of_a_run_are_the_probabilities_of_its_baseline(small_run, monkeypatch):
    """Of the images that the filter leaves, by the classifier that is the trial's real+classic."""
    learnt = []

    def spy(trial, synthetic, pictures):
        data = classifier_set(trial, synthetic, pictures)
        learnt.append((trial.cell, data))
        return data

    monkeypatch.setattr("augment.experiment.stages.classifier_set", spy)
    result = augment.run(
        **{
            **small_run,
            "arm": "real+classic,real+classic+synth",
            "seeds": 1,
            "mixing": "soft",
            "filter": "confidence",
        }
    )
    assert result.failed == 0
    data = next(data for cell, data in learnt if cell.use.mixing == "soft")
    store = Store(result.path)
    score = store.path("score", result.table.iloc[0]["signature"])
    judge = load_learner(CLASSIFIERS, classifier_path(store, score), torch.device("cpu"))
    seen = torch.cat(list(judge.predict(data.parts[1].images)))
    assert 0 < len(seen) < 60
    torch.testing.assert_close(data.targets[1], seen, atol=1e-3, rtol=0)  # kept as half floats
    assert (data.targets[0].sum(1) == 1).all()


def trained(name, cpu, grey, **settings):
    """The network after a training whose synthetic images are plain, of this grey."""
    labelled, blank = bars(), LabelledImages.blank(9, (1, 8, 8), ("across", "down"))
    synthetic = dataclasses.replace(blank, images=blank.images + grey)
    learner = Airbench(**{"steps": 5, "batch": 16, "width": 4, **settings})
    data = training_set("real+synth", labelled, synthetic, "none", 0.5)
    fit(learner, MIXINGS[name](data, CHANCES), seed=1, device=cpu)
    return learner.modules["ema"]


@pytest.mark.parametrize(
    ("name", "depends", "steps"),
    [("constant", True, 5), ("own-norm", False, 5), ("falling-own-norm", False, 4)],
)
def test_statistics_of_prediction_are_those_of_labelled_images(name, depends, steps, cpu):
    """At a rate of 0 only statistics are learnt; the first falling batch is all synthetic."""
    dark, bright = (dict(trained(name, cpu, grey, lr=0.0).named_buffers()) for grey in (9, 200))
    assert all(torch.equal(dark[key], bright[key]) for key in dark) != depends
    (counted,) = {int(value) for key, value in dark.items() if key.endswith("batches_tracked")}
    assert counted == steps


def test_weights_are_learnt_from_both_kinds_of_images_and_repeat(cpu):
    first, again, other = (
        trained("own-norm", cpu, grey)[-1].weight.clone() for grey in (9, 9, 200)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("start", "stop"), [(2, 6), (0, 6), (0, 8), (3, 3), (8, 8)])
def test_each_kind_is_normalised_by_its_own_rows_alone_wherever_they_stand(start, stop, cpu):
    learner = Airbench(batch=6, width=4)
    learner.prepare(bars(), seed=1, device=cpu)
    net = learner.modules["net"].train()
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    outputs = forward_apart(net, images, start, stop)
    apart = torch.zeros(8, dtype=torch.bool)
    apart[start:stop] = True
    for own in (apart, ~apart):
        if own.any():
            torch.testing.assert_close(outputs[own], net(images[own]))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_normalises_apart_unless_its_statistics_are_fixed(name, frozen, cpu):
    shape = {"side": 32} if name == "resnet18" else {"width": 4}
    data, rng = bars(), torch.Generator()
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    losses = []
    for apart in (0, 4):
        learner = CLASSIFIERS[name](batch=8, **shape)
        learner.prepare(data, seed=1, device=cpu)
        learner.frozen = frozen
        labels = torch.arange(8) % 2
        losses.append(learner.update(images, labels, step=0, rng=rng, apart=apart)["loss"])
    assert torch.equal(*losses) == frozen


@pytest.mark.parametrize("name", ["constant", "falling", "own-norm", "falling-own-norm"])
def test_mixup_keeps_kinds_that_are_normalised_apart_to_themselves(name, cpu):
    data = dataclasses.replace(mixed(name), mix_batch=BATCH_TRANSFORMS["mixup"])
    recorder = Recorder(8, 32)
    for _ in train(recorder, data, seed=3, device=cpu):
        pass
    crossed = 0
    for (images, labels), apart in zip(recorder.seen, recorder.apart, strict=True):
        greys = images.add(1).mul(127.5)[:, 0, 0, 0]
        crossed += int(((greys > N) & (greys < FIRST - 0.1)).sum())
        assert labels.shape == (32, 2)
        assert labels.sum(1).allclose(torch.ones(32))
        assert (greys[: 32 - apart] < N).all() or not data.norm_apart
    assert bool(crossed) != data.norm_apart
    counts = [data.counts(32, (step + 0.5) / 8)[1] for step in range(8)]
    assert recorder.apart == [n * data.norm_apart for n in counts]


@pytest.mark.parametrize(
    ("mixing", "share", "batch", "wanted"),
    [
        ("own-norm", 0.2, 32, "8 images of each kind .* of 32 --share 0.2 makes 6 synthetic"),
        ("own-norm", 0.8, 32, "makes 26 synthetic"),
        ("falling-own-norm", 0.1, 32, "makes 6 synthetic"),
        ("falling-own-norm", 0.5, 15, "of 15 .* a larger --set classifier.batch"),
        ("own-norm", 0.25, 32, ""),
        ("falling-own-norm", 0.25, 16, ""),
        ("falling-own-norm", 0.8, 32, ""),
    ],
)
def test_statistics_of_too_few_images_are_refused(mixing, share, batch, wanted):
    settings = {"classifier": {"batch": batch}}
    recipe = make_recipe(mixing=mixing, share=share, preset="smoke", set=settings).resolved("cpu")
    if not wanted:
        assert expand(recipe)
        return
    with pytest.raises(UsageError, match=wanted):
        expand(recipe)


def test_table_has_a_row_for_each_mixing_and_names_it(small_run):
    result = augment.run(
        **{
            **small_run,
            "arm": "real+classic,real+classic+synth",
            "seeds": 1,
            "mixing": list(MIXINGS),
            "share": 0.5,
        }
    )
    assert result.failed == 0
    assert result.table["mixing"].fillna("").tolist() == ["", *MIXINGS]
    assert result.table["steps"].nunique() == 1
    assert result.table["signature"].nunique() == 1 + len(MIXINGS)
    named = [f"cvae mixing={name}" for name in MIXINGS]
    assert result.summary["generator"].tolist() == ["", *named]
