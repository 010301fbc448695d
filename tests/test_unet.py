"""The lean UNet and the settings of ddpm that choose and shape its network."""

from __future__ import annotations

import pytest
import torch

from augment.data.images import LabelledImages
from augment.errors import UsageError
from augment.generators.blocks import normalise
from augment.generators.ddpm import DDPM
from augment.generators.unet import LeanUNet, UNetSettings

SMALL = dict(widths=(8, 16), hub=16, batch=4, steps=6)


def prepared(cpu, shape=(1, 8, 8), **settings):
    model = DDPM(**{**SMALL, **settings})
    model.prepare(LabelledImages.blank(12, shape, ("a", "b", "c")), seed=1, device=cpu)
    return model


def learn(model, steps=3):
    rng = torch.Generator()
    images = torch.rand(4, *model.shape, generator=rng.manual_seed(5)) * 2 - 1
    losses = []
    for step in range(steps):
        rng.manual_seed(step)
        labels = torch.tensor([0, 1, 2, 0])
        losses.append(float(model.update(images, labels, step=step, rng=rng)["loss"]))
    return losses


@pytest.mark.parametrize("groups", [1, 4])
def test_normalise_is_group_norm_forward_and_backward(groups):
    x = torch.randn(3, 8, 5, 6, generator=torch.Generator().manual_seed(0))
    given = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    known = x.clone().requires_grad_()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = normalise(given, groups), torch.nn.functional.group_norm(known, groups)
    torch.testing.assert_close(ours, theirs)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    torch.testing.assert_close(given.grad, known.grad)


def test_network_starts_by_predicting_nothing():
    net = LeanUNet(4, (8, 8), 3, UNetSettings((8, 16), hub=16, attention=True, dropout=0.0))
    x = torch.randn(2, 4, 8, 8)
    (v,) = net(x, torch.tensor([1, 900]), torch.tensor([0, 2]))
    assert v.shape == x.shape
    assert not v.any()


@pytest.mark.parametrize("what", ["level", "label"])
def test_trained_network_listens_to_level_and_label(what, cpu):
    model = prepared(cpu)
    learn(model, 6)
    net = model.modules["net"]
    x = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(3))
    level, label = torch.tensor([500, 500]), torch.tensor([0, 0])
    (before,) = net(x, level, label)
    (after,) = net(x, level + 300, label) if what == "level" else net(x, level, label + 1)
    assert not torch.allclose(before, after)


@pytest.mark.parametrize(
    ("shape", "fold", "grid"),
    [
        ((1, 8, 8), 2, (2, 2)),
        ((3, 32, 32), 2, (8, 8)),
        ((3, 50, 64), 2, (7, 8)),
        ((1, 96, 80), 2, (8, 7)),
    ],
)
def test_patch_and_hub_follow_the_size_of_the_images(shape, fold, grid, cpu):
    model = prepared(cpu, shape)
    assert model.fold == fold
    assert model.modules["net"].hub.grid == grid
    labels = torch.tensor([0, 2])
    assert model.sample(labels, seeds=labels).shape == (2, *shape)


def test_patch_that_is_asked_for_is_taken(cpu):
    assert prepared(cpu, patch=1).fold == 1
    assert prepared(cpu, (1, 16, 16), patch=4).fold == 4


def test_hub_and_attention_can_be_left_out(cpu):
    model = prepared(cpu, hub=0, attention=False)
    assert model.modules["net"].hub is None
    assert model.modules["net"].attention is None
    assert len(set(learn(model))) == 3


@pytest.mark.parametrize("network", ["lean", "unet2d"])
def test_dropout_draws_from_the_steps_own_seed(network, cpu):
    state = torch.random.get_rng_state()
    first, again, without = (
        learn(prepared(cpu, network=network, dropout=dropout)) for dropout in (0.5, 0.5, 0.0)
    )
    assert first == again
    assert first[-1] != without[-1]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_high_noise_is_drawn_more_often_with_a_small_power(cpu, monkeypatch):
    drawn = {}
    for power in (0.3, 1.0):
        model = prepared(cpu, noise_power=power, batch=512)
        seen = []
        original = model.modules["net"].forward
        monkeypatch.setattr(
            model.modules["net"],
            "forward",
            lambda x, t, seen=seen, original=original, **more: (
                seen.append(t),
                original(x, t, **more),
            )[1],
        )
        rng = torch.Generator().manual_seed(0)
        images = torch.zeros(512, *model.shape)
        model.update(images, torch.zeros(512, dtype=torch.int64), step=0, rng=rng)
        drawn[power] = seen[0]
    assert drawn[1.0].float().mean() == pytest.approx(500, abs=40)
    assert drawn[0.3].float().mean() == pytest.approx(1000 / 1.3, abs=40)
    assert drawn[0.3].max() < 1000


@pytest.mark.parametrize("key", ["network", "sampler"])
def test_unknown_choice_is_named_with_what_there_is(key, cpu):
    with pytest.raises(UsageError, match=rf"ddpm\.{key} 'lien' is none of \w+"):
        prepared(cpu, **{key: "lien"})
