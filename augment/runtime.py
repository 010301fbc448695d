"""Seeds, device, precision and a record of the machine. Global random state is never touched."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment import __version__
from augment.errors import MachineError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PRECISIONS = ("auto", "fp32", "bf16")
EXTRAS = ("ray", "tensorboard", "transformers")  # that a user may want; each is named as its module


def seed_for(*parts: object) -> int:
    """A 63-bit seed for one purpose: `seed_for(trial, "subset", label)`; stable over machines."""
    text = json.dumps([str(part) for part in parts])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@contextlib.contextmanager
def seeded(rng: torch.Generator, *, only_if: bool = True) -> Iterator[None]:
    """Layers that draw from the global state (dropout) draw from `rng`; the state is put back.

    What they draw follows from the seed that `rng` was last given: once a step.
    """
    if not only_if:
        yield
        return
    import torch

    seed = seed_for(rng.initial_seed(), "layers")  # drawn from rng, it would wait for the GPU
    with torch.random.fork_rng(devices=[rng.device] if rng.device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def noise_for(seeds: Tensor, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Standard normal noise with one seed an image: [N] int64 → [N, *shape] float32.

    Drawn on the CPU, so that image k is the same on every device and in every batch.
    """
    import torch

    rng = torch.Generator()
    noise = torch.empty(len(seeds), *shape)
    for row, seed in zip(noise, seeds.tolist(), strict=True):
        torch.randn(shape, generator=rng.manual_seed(seed), out=row)
    return noise.to(device)


def pick_device(name: str) -> torch.device:
    """`auto` takes the GPU if there is one; a device asked for by name is never replaced."""
    import torch

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


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Run on so many threads of the processor, as a worker process does."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_memory_mb(device: torch.device) -> float:
    """The most memory held so far, in MB: the GPU's, or the process's resident size."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    with contextlib.suppress(OSError):  # Linux: ru_maxrss would start at the parent's size
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    import resource

    unit = 1 if platform.system() == "Darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def data_dir(flag: Path | None = None) -> Path:
    """Where data sets are cached: `--data-dir`, else AUGMENT_DATA, else ./data."""
    return flag or Path(os.environ.get("AUGMENT_DATA") or "data")


def environment(device: torch.device) -> dict[str, Any]:
    """What a reader needs to place a figure: versions, processor, device, threads, time."""
    import torch

    versions = {"augment": __version__}  # metadata of an editable install can be older
    for package in ("torch", "torchvision", "diffusers", "scikit-learn", "pandas", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    cuda = device.type == "cuda"
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "versions": versions,
    }


def missing_parts(uncached: list[str], folder: Path) -> dict[str, str]:
    """What this machine lacks of what `augment` can use, and how to get it."""
    import torch

    missing = {}
    if uncached:
        missing["data sets"] = (
            f"{', '.join(uncached)}: augment check NAME fetches one, or put NAME.npz into {folder}"
        )
    if not torch.cuda.is_available():
        missing["GPU"] = (
            f"torch is built for CUDA {torch.version.cuda} but sees no GPU: if nvidia-smi shows "
            "one, its driver is too old"
            if torch.version.cuda
            else "torch is built without CUDA: pytorch.org/get-started has the command for one with"
        )
    for extra in EXTRAS:
        if not importlib.util.find_spec(extra):
            missing[extra] = f"pip install 'augment-compare[{extra}]'"
    return missing


def processor_name() -> str:
    """The processor's own name where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
