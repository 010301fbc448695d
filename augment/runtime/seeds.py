"""Seeds by purpose, and noise by seed. Global random state is never touched."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from augment.runtime.device import to_device

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def seed_for(*parts: object) -> int:
    """Derive a 63-bit seed for one purpose: `seed_for(trial, "subset", label)`, on any machine."""
    text = json.dumps([str(part) for part in parts])
    # hash() differs from process to process; >> 1 fits the result into torch's int64
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def default_generator(device: torch.device) -> torch.Generator:
    """Return the generator that layers draw from on a device: its global random state."""
    import torch

    if device.type != "cuda":
        return torch.default_generator
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]


@contextlib.contextmanager
def seeded(rng: torch.Generator, *, only_if: bool = True) -> Iterator[None]:
    """Make layers that draw from the global state (dropout) draw from `rng`; put the state back.

    What they draw follows from the seed that `rng` was last given: once a step. While a CUDA graph
    is recorded the state is left alone: it is whoever replays the graph that seeds it.
    """
    import torch

    if not only_if or (rng.device.type == "cuda" and torch.cuda.is_current_stream_capturing()):
        yield
        return
    seed = seed_for(rng.initial_seed(), "layers")  # drawn from rng, it would wait for the GPU
    default = default_generator(rng.device)
    before = default.get_state()
    default.manual_seed(seed)
    try:
        yield
    finally:
        default.set_state(before)


def noise_for(seeds: Tensor, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw standard normal noise with one seed an image: [N] int64 → [N, *shape] float32.

    Drawn on the CPU, so that image k is the same on every device and in every batch.
    """
    import torch

    rng = torch.Generator()
    noise = torch.empty(len(seeds), *shape)
    for row, seed in zip(noise, seeds.tolist(), strict=True):
        # one generator, given the seed of each image in turn
        torch.randn(shape, generator=rng.manual_seed(seed), out=row)
    return to_device(noise, device)
