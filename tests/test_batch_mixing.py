"""What is made of a whole batch: labels follow the pixels."""

import pytest
import torch

from augment.transforms.batch_mixing import (
    BATCH_TRANSFORMS,
    cut_paste,
    cutmix,
    fixmatch,
    mixup,
    pseudo_label,
)

LABELLED = [n for n in BATCH_TRANSFORMS if n in ("mixup", "cutmix", "compose")]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def flat(k=4, n=200, side=12):
    """Plain pictures whose grey is their class."""
    labels = torch.arange(n) % k
    grey = labels / (k - 1) * 2 - 1
    return grey[:, None, None, None].expand(n, 1, side, side).clone(), labels


@pytest.mark.parametrize("name", LABELLED)
def test_composition_depends_on_its_generator_alone(name):
    images, labels = flat()
    first, again, other = (BATCH_TRANSFORMS[name](images, labels, 4, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert first[0].shape == images.shape
    assert name == "compose" or not torch.equal(first[0], other[0])


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_labels_are_the_shares_of_the_pixels(mix):
    images, labels = flat()
    mixed, targets = mix(images, labels, 4, seeded())
    torch.testing.assert_close(targets.sum(1), torch.ones(200))
    greys = torch.linspace(-1, 1, 4)
    torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ greys, atol=1e-5, rtol=0)
    assert len(targets.unique(dim=0)) > 50  # a share for each image


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_soft_and_weighted_labels_are_mixed_as_classes_are(mix):
    images, labels = flat()
    _, of_classes = mix(images, labels, 4, seeded())
    weights = torch.where(torch.arange(len(labels)) < 100, 0.5, 1.5)[:, None]
    one_hot = torch.eye(4)[labels]
    _, of_soft = mix(images, one_hot, 4, seeded())
    torch.testing.assert_close(of_soft, of_classes)
    _, of_weighted = mix(images, weights * one_hot, 4, seeded())
    assert of_weighted.sum(1).min() >= 0.5
    assert of_weighted.sum() == pytest.approx(float(weights.sum()), rel=0.1)
    assert not torch.allclose(of_weighted, of_classes)


def test_cutmix_leaves_every_other_image():
    images, labels = flat()
    _, targets = cutmix(images, labels, 4, seeded())
    assert 0.4 < (targets.max(1).values == 1).float().mean() < 0.75  # of one class count too


def test_compose_keeps_the_foreground_and_takes_the_ground_of_another():
    images = torch.full((64, 3, 16, 16), -0.8)
    images[32:] = 0.3  # two grounds
    images[:, :, 6:10, 6:10] = 1.0  # one foreground
    labels = torch.arange(64) % 2
    placed, same = cut_paste(images, labels, 2, seeded())
    assert torch.equal(same, labels)
    assert placed[:, :, 7:9, 7:9].min() > 0.9
    corner = placed[:, 0, 0, 0]
    moved = (corner - images[:, 0, 0, 0]).abs() > 1
    assert 0.1 < moved.float().mean() < 0.5  # half are placed, half of those on the other ground


def test_fixmatch_gives_labels_of_the_labelled_and_two_views_of_the_others():
    images, labels = flat()
    labels = labels[:100]
    images[100:, :, 4:8, 4:8] = 0.5
    views, known = fixmatch(images, labels, 4, seeded())
    assert torch.equal(known, labels)
    assert torch.equal(views[:200], images)
    assert len(views) == 300
    assert not torch.equal(views[200:], images[100:])
    plain, known = pseudo_label(images, labels, 4, seeded())
    assert torch.equal(known, labels)
    assert torch.equal(plain[200:], images[100:])
