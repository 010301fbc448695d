"""The device that a run computes on, its threads and its peak memory."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from augment.errors import MachineError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def pick_device(name: str) -> torch.device:
    """Pick a device: `auto` takes the GPU if there is one; one asked for by name is never replaced.

    Raises UsageError for a name that is no device, MachineError for one that is not here.
    """
    import torch  # inside, so that `augment --help` is fast

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device '{name}' is no device: use auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MachineError(
            "--device cuda: torch sees no CUDA device here; use --device auto or cpu"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MachineError(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices"
        )
    if device.type not in ("cpu", "cuda"):
        raise MachineError(f"--device {name} is not supported: use auto, cpu or cuda")
    return device


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU to a device; the CPU does not wait for what a GPU is doing."""
    # a copy from pageable memory would wait
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute on `count` threads of the processor inside the block, as a worker process does."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def memory() -> int:
    """Return the machine's memory in bytes."""
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 2**34  # Windows does not say: as much as most have


def peak_memory_mb(device: torch.device) -> float:
    """Measure the most memory held so far, in MB: the GPU's, or the process's resident size."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    with contextlib.suppress(OSError):  # Linux: ru_maxrss would start at the parent's size
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6  # given in KiB
    import resource

    unit = 1 if platform.system() == "Darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
