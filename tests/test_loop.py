"""The loop: what it draws, in what order, and what it keeps."""

import dataclasses
import math

import pytest
import torch
from conftest import Recorder, bars
from torch import nn

from augment.classifiers.models import ResNet
from augment.errors import Diverged
from augment.training.ema import ema_copy, ema_update
from augment.training.learner import seeded_init
from augment.training.loop import finite_floats, train
from augment.training.optim import optimizer_step, warmup_cosine
from augment.training.recovery import update_in_parts
from augment.training.serialization import full_state
from augment.training.training_set import TrainingSet, draws, independent_draws, shuffled_draws
from augment.transforms.geometric import CLASSIC


@pytest.mark.parametrize(("n", "take"), [(10, 4), (10, 10), (3, 8), (7, 1)])
def test_each_image_is_drawn_once_an_epoch(n, take, cpu):
    drawn = torch.cat(list(shuffled_draws(n, [take] * n, seed=5, device=cpu)))
    assert len(drawn) == n * take
    for epoch in drawn.split(n):
        assert sorted(epoch.tolist()) == list(range(n))
    assert drawn[:n].tolist() != drawn[n : 2 * n].tolist() or n * take < 2 * n or n < 4


@pytest.mark.parametrize("with_replacement", [False, True])
def test_draws_of_a_step_do_not_depend_on_the_steps_before(with_replacement, cpu, tiny):
    data = TrainingSet((tiny, bars(4)), (0.5, 0.5), (CLASSIC["none"],) * 2)
    data = dataclasses.replace(data, with_replacement=with_replacement)
    counts = [[4, 1], [3, 0], [0, 6], [5, 5]] * 100
    in_order = list(draws(data, counts, 5, 0, cpu))
    assert [[len(rows) for rows in step] for step in in_order] == counts
    for start in (1, 7, 255, 256, 300):
        later = list(draws(data, counts, 5, start, cpu))
        assert all(
            torch.equal(a, b)
            for one, other in zip(later, in_order[start:], strict=True)
            for a, b in zip(one, other, strict=True)
        )
    other = next(iter(draws(data, counts, 6, 8, cpu)))
    assert not torch.equal(other[0], in_order[8][0])


def test_independent_draws_are_uniform_whatever_the_order_of_the_classes(cpu):
    part = bars(3).select([0, 3, 1, 4, 2])
    drawn = [rows for (rows,) in independent_draws((part,), [[40]] * 600, seed=1, device=cpu)]
    drawn = torch.stack(drawn)  # [steps, draws]
    error = (5 / drawn.numel()) ** 0.5  # bounds the standard error of each share below
    shares = torch.stack([(drawn == k).double().mean() for k in range(5)])
    assert (shares - 0.2).abs().max() < 4 * error
    # two draws of a batch, and of steps beside each other, are equal as often as independent ones
    for one, other in ((drawn[:, :-1], drawn[:, 1:]), (drawn[:-1], drawn[1:])):
        assert float((one == other).double().mean()) == pytest.approx(0.2, abs=4 * error)


def test_rows_draw_the_same_share_of_the_classes_in_whatever_part_they_are(cpu):
    few, many = bars(3), bars(12).select(torch.arange(24).flip(0))
    one = torch.cat([rows for (rows,) in independent_draws((few,), [[9]] * 9, seed=1, device=cpu)])
    both = [
        torch.cat([few.labels[rows], many.labels[others]])
        for rows, others in independent_draws((few, many), [[4, 5]] * 9, seed=1, device=cpu)
    ]
    assert torch.equal(few.labels[one], torch.cat(both))


def test_batches_hold_the_parts_in_their_shares(cpu):
    real = bars(4, ("a", "b"))
    synthetic = bars(9, ("a", "b"), seed=7)
    recorder = Recorder()
    data = TrainingSet((real, synthetic), (0.75, 0.25), (CLASSIC["none"],) * 2)
    for _ in train(recorder, data, seed=0, device=cpu):
        pass
    reals = {tuple(i.flatten().tolist()) for i in real.images}
    for images, labels in recorder.seen:
        pixels = images.add(1).mul(127.5).round().to(torch.uint8)
        from_real = [tuple(i.flatten().tolist()) in reals for i in pixels]
        assert from_real == [True] * 6 + [False] * 2
        assert labels.shape == (8,)
        assert images.min() >= -1
        assert images.max() <= 1


def test_loop_says_how_far_it_is_and_can_start_in_the_middle(cpu, tiny):
    data = TrainingSet((tiny,), (1.0,), (CLASSIC["natural"],))
    whole, half = Recorder(), Recorder()
    assert [step for step, _ in train(whole, data, seed=0, device=cpu)] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in train(half, data, seed=0, device=cpu, start=3)] == [4, 5, 6]
    for (a, b), (c, d) in zip(whole.seen[3:], half.seen, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


class Line:
    """A linear classifier: no noise, no statistics of a batch."""

    batch = 12

    def __init__(self):
        net = seeded_init(lambda: nn.Linear(64, 2), 0)
        self.modules = {"net": net, "ema": ema_copy(net)}
        self.optimisers = {"net": torch.optim.Adam(net.parameters(), 0.1)}

    def update(self, images, labels, *, step, rng):
        loss = nn.functional.cross_entropy(self.modules["net"](images.flatten(1)), labels)
        optimizer_step(self.optimisers["net"], loss)
        ema_update(self.modules["ema"], self.modules["net"], step, 0.9)
        return {"loss": loss.detach()}


@pytest.mark.parametrize("parts", [2, 3, 12])
def test_batch_in_parts_is_the_step_of_the_whole_batch(parts, tiny):
    whole, split = Line(), Line()
    images, rng = tiny.images / 255, torch.Generator()
    for step in range(3):
        loss = whole.update(images, tiny.labels, step=step, rng=rng)["loss"]
        met = update_in_parts(split, parts, images, tiny.labels, step=step, rng=rng)["loss"]
        torch.testing.assert_close(met, loss)
    torch.testing.assert_close(full_state(split), full_state(whole), atol=1e-5, rtol=1e-4)


def test_unlabelled_views_stay_with_each_other_in_parts(tiny):
    recorder = Recorder()
    update_in_parts(recorder, 2, torch.arange(12.0), tiny.labels[:4], step=0, rng=None)
    first, second = (part.tolist() for part, _ in recorder.seen)
    assert first == [0, 1, 4, 5, 8, 9]
    assert second == [2, 3, 6, 7, 10, 11]


@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_rows_to_be_normalised_apart_are_told_in_each_part(parts, tiny):
    """Rows 3 to 7 of eight labelled ones; two unlabelled images follow, in two views."""
    recorder, rows = Recorder(), torch.arange(12.0)
    update_in_parts(recorder, parts, rows, tiny.labels[:8], step=0, rng=None, apart=5)
    found = []
    for (images, labels), apart in zip(recorder.seen, recorder.apart, strict=True):
        found += images[len(labels) - apart : len(labels)].tolist()
    assert found == [3, 4, 5, 6, 7]


def test_global_random_state_is_left_alone(cpu, tiny):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    classifier = ResNet(steps=2, batch=4, width=8)
    classifier.prepare(tiny, seed=1, device=cpu)
    data = TrainingSet((tiny,), (1.0,), (CLASSIC["document"],))
    for _ in train(classifier, data, seed=0, device=cpu):
        pass
    assert torch.equal(torch.rand(3), expected)


def test_fresh_builds_the_same_from_the_same_seed():
    first, second, other = (seeded_init(lambda: nn.Linear(3, 3), seed).weight for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_rate_rises_to_one_and_falls_to_its_floor():
    factors = [warmup_cosine(step, 100, warmup=0.2, floor=0.1) for step in range(100)]
    assert factors[0] == pytest.approx(0.05)
    assert max(factors) == pytest.approx(1.0)
    assert factors.index(max(factors)) == 19
    assert factors[-1] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("step", "decay", "weight"), [(0, 0.9, 0.9), (80, 0.9, 0.1), (8, 0.9, 0.5)]
)
def test_average_follows_with_the_stated_weight(step, decay, weight):
    net = nn.BatchNorm1d(2)
    average = ema_copy(net)
    with torch.no_grad():
        net.weight += 1
        net.running_mean += 2
        net.num_batches_tracked += 3
    ema_update(average, net, step, decay)
    torch.testing.assert_close(average.weight, torch.full((2,), 1 + weight))
    torch.testing.assert_close(average.running_mean, torch.full((2,), 2 * weight))
    assert average.num_batches_tracked == 3
    assert not average.weight.requires_grad


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_no_number_ends_the_cell(value):
    with pytest.raises(Diverged, match=r"loss was (nan|inf) at step 7"):
        finite_floats(7, {"loss": torch.tensor(value)})


@pytest.mark.parametrize(("threshold", "learns"), [(0.0, True), (1.0, False)])
def test_unlabelled_images_count_where_the_classifier_is_sure(threshold, learns, cpu):
    learner = ResNet(steps=2, batch=4, width=8, threshold=threshold)
    data = bars()
    learner.prepare(data, seed=1, device=cpu)
    images = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rng = torch.Generator()
    loss = learner.update(images, data.labels[:4], step=0, rng=rng)["loss"]
    learner.prepare(data, seed=1, device=cpu)
    logits = learner.modules["net"].train()(images)
    known = nn.functional.cross_entropy(logits[:4], data.labels[:4], label_smoothing=0.1)
    each = nn.functional.cross_entropy(logits[8:], logits[4:8].argmax(1))  # weak views tell strong
    torch.testing.assert_close(loss, (known + each * learns).detach())
