"""The parts that the classifiers' networks are made of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Enter(nn.Module):
    """Images in [-1, 1] as ImageNet's networks see them: three channels, resized, normalised."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.mean: Tensor
        self.std: Tensor
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, (self.side, self.side), mode="bilinear", antialias=True)
        return ((x.expand(-1, 3, -1, -1) + 1) / 2 - self.mean) / self.std


@contextlib.contextmanager
def statistics(net: nn.Module, kept: bool) -> Iterator[None]:
    """Whether batch norm in training keeps what it sees for prediction."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = kept
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def conv(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    """3×3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
    )


class Residual(nn.Module):
    """Two 3×3 convolutions around a shortcut."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv(channels, out, stride)
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        same = channels == out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.second(self.first(x)))


def pooled(channels: int, out: int) -> nn.Sequential:
    """Convolution, 2×2 max pooling, then a residual pair at the lower resolution."""
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(out),
        nn.GELU(),
        Pair(out),
    )


class Pair(nn.Module):
    """Two convolutions with a shortcut over both."""

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


def whitening(images: Tensor, patch: int = 2, eps: float = 5e-4) -> nn.Conv2d:
    """A fixed convolution that whitens patches: eigenvectors of their covariance and negatives.

    Learnt from the labelled images alone ([N, C, H, W] in [-1, 1]), as in Page 2019.
    """
    channels = images.shape[1]
    patches = F.unfold(images[:5000], patch).transpose(1, 2).reshape(-1, channels * patch**2)
    patches = patches[:: max(1, len(patches) // 200_000)]
    values, vectors = torch.linalg.eigh(torch.cov(patches.T))
    filters = (vectors / (values + eps).sqrt()).T.reshape(-1, channels, patch, patch)
    layer = nn.Conv2d(channels, 2 * len(filters), patch, bias=False)
    layer.weight.data = torch.cat([filters, -filters])
    return layer.requires_grad_(False)
