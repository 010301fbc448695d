"""Networks of the diffusion model: a UNet for small images, and diffusers' UNet2DModel.

The first has half the work of the second at equal widths. Against UNet2DModel: one norm a block and
over the whole image (group norm is the slowest operation of a small channels-last net), skips added
instead of concatenated, the class and the noise level as scale and shift (FiLM), and an MLP on the
lowest grid, whose receptive field is the whole image where convolutions see a neighbourhood only.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.generators.blocks import normalise

FREQUENCIES = 32  # of the noise level's sinusoidal embedding
BOTTLENECK_GRID = 8  # larger lowest grids are pooled to this side in front of the MLP


@dataclass(frozen=True)
class UNetSettings:
    """What shapes a network besides the images; fields as in `DDPM`."""

    widths: tuple[int, ...]  # channels of each resolution, the highest first
    hub: int  # hidden units of the bottleneck MLP (LeanUNet); 0: none
    attention: bool  # at the lowest resolution
    dropout: float
    fused_attention: bool = True  # torch's kernel in UNet2DModel; slow in bf16 on a CPU
    precision: str = "fp32"


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a norm that class and noise level scale and shift."""

    def __init__(self, channels: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * channels)
        self.second = _zero_init(nn.Conv2d(channels, channels, 3, padding=1))
        self.drop = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        scale, bias = self.film(e)[:, :, None, None].chunk(2, 1)  # [B, C, 1, 1] each
        inner = F.silu(normalise(self.first(x)) * (1 + scale) + bias)
        return x + self.second(self.drop(inner))


class Attention(nn.Module):
    """Self-attention over all H × W pixels of the map, heads of 64 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 64)
        self.enter = nn.Conv2d(channels, 3 * channels, 1)
        self.leave = _zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        qkv = self.enter(normalise(x)).permute(0, 2, 3, 1)
        # [B, heads, H × W, C / heads] each
        q, k, v = qkv.reshape(n, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        # by hand: the fused kernel takes five times as long in bf16 on a CPU at 49 pixels
        mixed = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1) @ v
        mixed = mixed.transpose(1, 2).reshape(n, height, width, c)
        return x + self.leave(mixed.permute(0, 3, 1, 2))


class BottleneckMLP(nn.Module):
    """A residual MLP with FiLM over all pixels and channels of the lowest grid, at most 8×8."""

    def __init__(self, channels: int, grid: tuple[int, int], embedding: int, hidden: int) -> None:
        super().__init__()
        self.grid = (min(grid[0], BOTTLENECK_GRID), min(grid[1], BOTTLENECK_GRID))
        self.pooled = self.grid != grid
        size = channels * self.grid[0] * self.grid[1]
        self.enter = nn.Linear(size, hidden)
        self.film = nn.Linear(embedding, 2 * hidden)
        self.leave = _zero_init(nn.Linear(hidden, size))

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        small = F.adaptive_avg_pool2d(x, self.grid) if self.pooled else x
        scale, bias = self.film(e).chunk(2, 1)
        flat = normalise(small).permute(0, 2, 3, 1).flatten(1)  # [B, H × W × C], as in memory
        flat = self.leave(F.silu(self.enter(flat) * (1 + scale) + bias))
        residual = flat.unflatten(1, (*self.grid, -1)).permute(0, 3, 1, 2)  # [B, C, H, W]
        return x + (F.interpolate(residual, x.shape[2:]) if self.pooled else residual)


class LeanUNet(nn.Module):
    """(x [B, C, H, W], noise level [B], class [B]) → [B, C, H, W], as UNet2DModel is called."""

    rates: Tensor

    def __init__(
        self, channels: int, sides: tuple[int, int], n_classes: int, settings: UNetSettings
    ) -> None:
        super().__init__()
        widths, dropout = settings.widths, settings.dropout
        size = 4 * widths[0]  # of the embedding of noise level and class
        self.register_buffer(
            "rates",
            torch.exp(-math.log(10000) * torch.arange(FREQUENCIES) / FREQUENCIES),
            persistent=False,
        )
        self.level = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, size), nn.SiLU(), nn.Linear(size, size)
        )
        self.label = nn.Embedding(n_classes, size)
        self.enter = nn.Conv2d(channels, widths[0], 3, padding=1)
        pairs = list(itertools.pairwise(widths))  # (higher, lower resolution)
        self.down = nn.ModuleList(ResidualBlock(a, size, dropout) for a, _ in pairs)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairs)
        grid = (sides[0] // 2 ** len(pairs), sides[1] // 2 ** len(pairs))
        self.first = ResidualBlock(widths[-1], size, dropout)
        self.last = ResidualBlock(widths[-1], size, dropout)
        self.hub = BottleneckMLP(widths[-1], grid, size, settings.hub) if settings.hub else None
        self.attention = Attention(widths[-1]) if settings.attention else None
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in reversed(pairs))
        self.up = nn.ModuleList(ResidualBlock(a, size, dropout) for a, _ in reversed(pairs))
        self.leave = _zero_init(nn.Conv2d(widths[0], channels, 3, padding=1))

    def forward(
        self, x: Tensor, t: Tensor, class_labels: Tensor, return_dict: bool = False
    ) -> tuple[Tensor]:
        # sinusoidal embedding of the noise level (Vaswani et al. 2017, section 3.5)
        angles = t.float()[:, None] * self.rates  # [B, FREQUENCIES]
        levels = self.level(torch.cat([angles.cos(), angles.sin()], 1))
        e = F.silu(levels + self.label(class_labels))  # [B, size]
        x, skips = self.enter(x), []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            skips.append(block(x, e))
            x = shrink(skips[-1])
        x = self.first(x, e)
        x = self.hub(x, e) if self.hub else x
        x = self.attention(x) if self.attention else x
        x = self.last(x, e)
        for grow, block in zip(self.grow, self.up, strict=True):
            # the convolution in front of the upsampling: a quarter of the work
            x = block(F.interpolate(grow(x), scale_factor=2.0) + skips.pop(), e)
        return (self.leave(F.silu(normalise(x))),)


def diffusers_unet(
    channels: int, sides: tuple[int, int], n_classes: int, settings: UNetSettings
) -> nn.Module:
    """Build UNet2DModel with one block a level."""
    from diffusers import UNet2DModel
    from diffusers.models.attention_processor import Attention as FusedAttention
    from diffusers.models.attention_processor import AttnProcessor

    net = UNet2DModel(
        sample_size=sides,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=1,
        block_out_channels=settings.widths,
        down_block_types=("DownBlock2D",) * len(settings.widths),
        up_block_types=("UpBlock2D",) * len(settings.widths),
        norm_num_groups=8,
        attention_head_dim=min(32, settings.widths[-1]),
        add_attention=settings.attention,
        dropout=settings.dropout,
        num_class_embeds=n_classes,
    )
    if not settings.fused_attention:
        for module in net.modules():
            if isinstance(module, FusedAttention):
                module.set_processor(AttnProcessor())
    # diffusers starts class embeddings at std 1, seven times the time embedding's
    assert isinstance(net.class_embedding, nn.Embedding)
    nn.init.normal_(net.class_embedding.weight, std=0.14)
    return net


def velocity_of(net: nn.Module, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """Call a network: v [B, C, H, W] of noisy images at noise levels [B] of classes [B]."""
    return net(x, t, class_labels=labels, return_dict=False)[0]


NETWORKS = {"lean": LeanUNet, "unet2d": diffusers_unet}


def _zero_init(layer: nn.Module) -> nn.Module:
    """Set weight and bias of a layer to 0: the residual branch that it ends starts as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
