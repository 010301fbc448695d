"""The policies of others: torchvision's operations, and only what a kind of image allows."""

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from augment.experiment.arms import ARMS
from augment.transforms.erasing import random_erasing
from augment.transforms.operations import (
    NARROW,
    RECOLOURING,
    WIDE,
    allowed_operations,
    apply_operations,
)


def pictures(n=3, channels=3, side=16):
    rng = torch.Generator().manual_seed(5)
    return torch.rand(n, channels, side, side, generator=rng)


REFERENCE = {
    "Brightness": lambda x, m: tv.adjust_brightness(x, 1 + m),
    "Contrast": lambda x, m: tv.adjust_contrast(x, 1 + m),
    "Color": lambda x, m: tv.adjust_saturation(x, 1 + m),
    "Sharpness": lambda x, m: tv.adjust_sharpness(x, 1 + m),
    "Solarize": lambda x, m: tv.solarize(x, 1 - abs(m)),
    "AutoContrast": lambda x, m: tv.autocontrast(x),
    "Invert": lambda x, m: tv.invert(x),
    "Rotate": lambda x, m: tv.rotate(x, m, interpolation=tv.InterpolationMode.BILINEAR),
}


@pytest.mark.parametrize("strength", [-0.5, 0.25, 1.0])
@pytest.mark.parametrize("name", REFERENCE)
def test_operation_is_torchvisions(name, strength):
    images = pictures()
    found = apply_operations(
        images, [name], torch.zeros(3, dtype=torch.int64), torch.full((3,), strength), NARROW
    )
    wanted = REFERENCE[name](images, strength * NARROW.get(name, 0))
    inside = slice(5, 11) if name == "Rotate" else slice(1, 15)  # borders are filled otherwise
    torch.testing.assert_close(
        found[..., inside, inside], wanted[..., inside, inside], atol=0.01, rtol=0
    )


@pytest.mark.parametrize(("strength", "bits"), [(1.0, 4), (0.5, 6), (0.25, 7)])
def test_posterise_keeps_the_high_bits(strength, bits):
    images = (pictures() * 255).round().to(torch.uint8)
    found = apply_operations(
        images / 255,
        ["Posterize"],
        torch.zeros(3, dtype=torch.int64),
        torch.full((3,), strength),
        NARROW,
    )
    assert torch.equal((found * 255).round().to(torch.uint8), tv.posterize(images, bits))


@pytest.mark.parametrize(("name", "axis"), [("TranslateX", 3), ("TranslateY", 2)])
def test_translate_moves_by_a_share_of_the_side(name, axis):
    images = pictures(side=16)
    found = apply_operations(
        images, [name], torch.zeros(3, dtype=torch.int64), torch.ones(3), NARROW | {name: 0.25}
    )
    whole = images.narrow(axis, 4, 12)
    torch.testing.assert_close(found.narrow(axis, 0, 12), whole, atol=1e-4, rtol=0)


def test_images_that_drew_nothing_stay():
    images = pictures()
    found = apply_operations(images, ["Invert"], torch.tensor([-1, 0, -1]), torch.ones(3), NARROW)
    assert torch.equal(found[[0, 2]], images[[0, 2]])
    assert torch.equal(found[1], 1 - images[1])


def test_documents_are_never_recoloured():
    assert not set(allowed_operations(NARROW, True)) & set(RECOLOURING)
    assert len(allowed_operations(NARROW, False)) == len(allowed_operations(WIDE, False)) == 14


def test_erasing_touches_half_of_the_images_and_a_rectangle_of_each():
    images = torch.full((400, 1, 20, 20), -1.0)
    erased = random_erasing(images, torch.Generator().manual_seed(0)) != images
    assert 0.4 < erased.flatten(1).any(1).float().mean() < 0.6
    share = erased.float().mean((1, 2, 3))
    assert share.max() < 0.5
    one = erased[int(share.argmax()), 0]
    rows, columns = one.any(1), one.any(0)
    assert one.float().sum() > 0.95 * rows.sum() * columns.sum()


def test_a_policy_learnt_on_other_labelled_images_is_no_closed_set():
    assert {name for name, arm in ARMS.items() if not arm.closed_set} == {
        "real+autoaugment",
        "real+autoaugment+synth",
        "transfer",
        "transfer+linear",
        "transfer+synth",
        "transfer+linear+synth",
    }
