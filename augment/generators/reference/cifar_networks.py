"""Networks of reference system A, as the report gives them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from augment.classifiers.blocks import Residual
from augment.data.images import ImageShape


class CifarGenerator(nn.Module):
    """(z [B, Z], labels [B]) → images [B, C, H, W] in [-1, 1].

    With classes, label and noise each pass a fully connected layer and are concatenated.
    """

    def __init__(self, z: int, width: int, shape: ImageShape, n_classes: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.label = nn.Embedding(n_classes, z) if n_classes else None
        self.noise = nn.Linear(z, z) if n_classes else nn.Identity()
        self.body = nn.Sequential(
            _upsample(2 * z if n_classes else z, 4 * width, 1, 0),  # 4×4
            _upsample(4 * width, 2 * width, 2, 1),
            _upsample(2 * width, width, 2, 1),
            nn.AvgPool2d(2),  # 16×16 to 8×8
            nn.Flatten(),
            nn.Linear(64 * width, shape[0] * shape[1] * shape[2]),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        x = self.noise(z)  # [B, Z]
        if self.label is not None:
            x = torch.cat([self.label(labels), x], 1)
        # 1×1 to 4×4, 8×8, 16×16, 8×8, then all pixels at once
        return self.body(x[:, :, None, None]).unflatten(1, self.shape)


def _upsample(channels: int, out: int, stride: int, padding: int) -> nn.Sequential:
    """Build a transposed 4×4 convolution, batch norm, ReLU."""
    convolution = nn.ConvTranspose2d(channels, out, 4, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU())


class CifarDiscriminator(nn.Module):
    """ResNet-18 (at width 64), fully connected, sigmoid: (images, labels) → [B, 1].

    With classes, the label becomes one more channel of the image by a fully connected layer.
    """

    def __init__(self, width: int, shape: ImageShape, n_classes: int = 0) -> None:
        super().__init__()
        self.sides, w = shape[1:], width
        # an embedding is a fully connected layer on one-hot labels
        self.label = nn.Embedding(n_classes, shape[1] * shape[2]) if n_classes else None
        self.body = nn.Sequential(
            # torchvision's resnet18, layer by layer
            nn.Conv2d(shape[0] + bool(n_classes), w, 7, 2, 3, bias=False),
            nn.BatchNorm2d(w),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            Residual(w, w),
            Residual(w, w),
            Residual(w, 2 * w, 2),
            Residual(2 * w, 2 * w),
            Residual(2 * w, 4 * w, 2),
            Residual(4 * w, 4 * w),
            Residual(4 * w, 8 * w, 2),
            Residual(8 * w, 8 * w),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8 * w, 1),
            nn.Sigmoid(),
        )

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = images
        if self.label is not None:
            x = torch.cat([x, self.label(labels).unflatten(1, (1, *self.sides))], 1)
        return self.body(x.contiguous(memory_format=torch.channels_last))
