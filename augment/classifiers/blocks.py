"""Parts that the classifiers' networks are made of."""

from __future__ import annotations

import bisect
import contextlib
import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.data.images import ImageShape, to_float


def extra_halvings(shape: ImageShape) -> int:
    """Count how often 64 px must be doubled to reach the longer side of images [C, H, W]."""
    return max(0, math.ceil(math.log2(max(shape[1:]) / 64)))


def network_edition(shape: ImageShape) -> int | None:
    """Return the edition of the networks for images [C, H, W]; None: those of 0.3.0.

    Raised when a network changes, so that artefacts of before are made anew.
    """
    return 2 if extra_halvings(shape) or shape[1] != shape[2] else None


class ImageNetInput(nn.Module):
    """Images [N, 1 or 3, H, W] in [-1, 1] as ImageNet's networks see them: [N, 3, H', W'].

    Normalised by the mean and standard deviation of ImageNet's channels in [0, 1]; enlarged in
    their shape until the longer side has `side` pixels. Larger ones stay as they are.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.mean: Tensor
        self.std: Tensor
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            # not persistent: torchvision's weights have no such tensors
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        longer = max(x.shape[2:])
        if longer < self.side:
            sides = [max(1, round(side * self.side / longer)) for side in x.shape[2:]]
            # antialiased, as torchvision's own preprocessing
            x = F.interpolate(x, sides, mode="bilinear", antialias=True)
        return ((x.expand(-1, 3, -1, -1) + 1) / 2 - self.mean) / self.std


@contextlib.contextmanager
def batch_statistics(net: nn.Module, track: bool) -> Iterator[None]:
    """Decide whether batch norm in training updates the statistics that prediction uses.

    It normalises by the batch in training either way.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = track
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def forward_apart(net: nn.Module, images: Tensor, start: int, stop: int) -> Tensor:
    """Compute the network's output; rows `start` to `stop` are normalised by their own statistics.

    These are not tracked, so prediction uses those of the other rows alone (AdvProp: Xie et al.
    2020, section 4, with one affine part for both).
    """
    if start == stop:
        return net(images)
    others = torch.cat([images[:start], images[stop:]])
    with batch_statistics(net, track=False):
        between = net(images[start:stop])
    if not len(others):
        return between
    outputs = net(others)
    return torch.cat([outputs[:start], between, outputs[start:]])


class Ensemble(nn.Module):
    """Networks that learn one after the other; together they give the mean of their probabilities.

    Images [B, C, H, W] → logarithms of the mean probabilities [B, K], as logits.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        each = torch.stack([net(images).float().log_softmax(1) for net in self.members])
        return each.logsumexp(0) - math.log(len(self.members))

    def turn(self, step: int, steps: int) -> tuple[int, int, int]:
        """Return whose turn a step of a training is: (member, its own step, all of its steps)."""
        starts = [steps * m // len(self.members) for m in range(len(self.members) + 1)]
        member = bisect.bisect(starts, step) - 1
        return member, step - starts[member], starts[member + 1] - starts[member]


def conv_norm_relu(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    """Build a 3×3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
    )


class Projection(nn.Conv2d):
    """A 1×1 convolution of every `stride`-th row and column."""

    FEW = 16  # input channels below which torch's strided kernel is not used

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__(channels, out, 1, stride, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        if self.in_channels >= self.FEW:
            return super().forward(input)
        # on some processors that kernel ends the process (torch 2.14 and 2.15)
        rows, columns = self.stride
        strided = input[..., ::rows, ::columns].contiguous(memory_format=torch.channels_last)
        return F.conv2d(strided, self.weight)


class Residual(nn.Module):
    """The basic block of ResNet (He et al. 2016): two 3×3 convolutions and a shortcut."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv_norm_relu(channels, out, stride)
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        # a 1×1 projection where the shape changes
        same = channels == out and stride == 1
        self.shortcut = nn.Identity() if same else Projection(channels, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.second(self.first(x)))


def pooled_stage(channels: int, out: int, pool: tuple[int, int] = (2, 2)) -> nn.Sequential:
    """Build a convolution, max pooling, then a residual pair at the lower resolution."""
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, padding=1, bias=False),
        nn.MaxPool2d(pool),  # before the norm, as in airbench: a quarter of the work
        nn.BatchNorm2d(out),
        nn.GELU(),
        ResidualPair(out),
    )


class ResidualPair(nn.Module):
    """Two 3×3 convolutions with GELU and an identity shortcut over both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.body(x))


def whitening_conv(images: Tensor, patch: int = 2, stride: int = 1, eps: float = 5e-4) -> nn.Conv2d:
    """Build a fixed convolution that whitens patches (Page 2019).

    Its filters are the eigenvectors of the patches' covariance, scaled to unit variance, and their
    negatives, from the labelled images alone ([N, C, H, W] uint8).
    """
    channels = images.shape[1]
    # fewer of larger images, evenly over the classes, whose images may stand together
    some = images[:5000] if stride == 1 else images[:: 1 + len(images) // 1000]
    patches = F.unfold(to_float(some), patch, stride=stride)
    patches = patches.transpose(1, 2).reshape(-1, channels * patch**2)
    # 200,000 patches estimate the covariance well enough
    patches = patches[:: max(1, len(patches) // 200_000)]
    values, vectors = torch.linalg.eigh(torch.cov(patches.T))  # vectors in columns
    filters = (vectors / (values + eps).sqrt()).T.reshape(-1, channels, patch, patch)
    layer = nn.Conv2d(channels, 2 * len(filters), patch, stride, bias=False)
    # both signs, because the activation behind it passes little but the positive part
    layer.weight.data = torch.cat([filters, -filters])
    return layer.requires_grad_(False)
