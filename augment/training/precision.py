"""The arithmetic of a training: fp32 or bf16."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def pick_precision(name: str, device: torch.device, side: int) -> str:
    """The arithmetic that `auto` stands for, for images whose longer side is `side` pixels.

    bf16 on a GPU that has it, and above 16 pixels on a CPU with AMX or AVX-512 bf16. With AMX it
    trained the larger classifier 3.7 times and the ddpm 2 times faster at equal results (Sapphire
    Rapids, torch 2.15); with AVX-512 bf16 the classifier 1.6 times, the ddpm 1.3 (28 pixels) and
    1.6 (32), and drew 1.8 times faster (Zen 5). At 8 pixels it was slower than fp32 on the first.
    A rule of the hardware alone, not a timing, so that a run repeats bit for bit.
    """
    import torch

    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if side > 16 and cpu_features() else "fp32"


def cpu_features() -> set[str]:
    """Which of the fast bf16 units the processor has: a subset of {"amx", "avx512_bf16"}."""
    import torch

    probes = {"amx": "_is_amx_tile_supported", "avx512_bf16": "_is_avx512_bf16_supported"}
    return {name for name, probe in probes.items() if getattr(torch.cpu, probe, bool)()}


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """The context in which networks run: bf16 autocast, or nothing for fp32."""
    import torch

    if precision == "fp32":
        return contextlib.nullcontext()
    # its cache would outlive the recording of a CUDA graph, and each weight is used once
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=device.type != "cuda")
