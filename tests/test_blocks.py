"""The parts of the classifiers' networks against what they stand for."""

import pytest
import torch
import torch.nn.functional as F

from augment.classifiers.blocks import Projection


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
