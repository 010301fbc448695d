"""The parts of the classifiers' networks against what they stand for."""

import pytest
import torch
import torch.nn.functional as F

from augment.classifiers.blocks import Projection, network_edition, whitening_conv
from augment.data.images import to_float


@pytest.mark.parametrize("channels", [4, 7, 8, 16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [5, 8])
def test_projection_is_a_strided_convolution(channels, stride, side):
    """Reference in float64, by slices, whatever kernel torch would take."""
    layer = Projection(channels, 24, stride)
    x = torch.randn(3, channels, side, side + 3, generator=torch.Generator().manual_seed(0))
    wanted = F.conv2d(x.double()[..., ::stride, ::stride], layer.weight.double())
    found = layer(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=1e-5)


def test_artefacts_are_made_anew_where_a_network_changed():
    assert network_edition((3, 64, 64)) is None
    assert network_edition((1, 65, 65)) == network_edition((1, 32, 16)) == 2


@pytest.mark.parametrize(("channels", "patch", "stride"), [(1, 2, 1), (3, 4, 2), (1, 4, 4)])
def test_whitened_patches_are_uncorrelated_and_of_unit_variance(channels, patch, stride):
    """Images of smooth and fine noise, so that neighbouring pixels are correlated."""
    rng = torch.Generator().manual_seed(0)
    smooth, fine = (torch.rand(200, channels, n, n, generator=rng) for n in (8, 32))
    smooth = F.interpolate(smooth, scale_factor=4, mode="bilinear")
    images = (smooth * 200 + fine * 55).byte()
    layer = whitening_conv(images, patch, stride, eps=0.0)
    out = layer(to_float(images)).flatten(2).transpose(1, 2).reshape(-1, layer.out_channels)
    half = out.shape[1] // 2
    assert torch.equal(layer.weight[:half], -layer.weight[half:])
    torch.testing.assert_close(torch.cov(out[:, :half].T), torch.eye(half), atol=0.02, rtol=0)
