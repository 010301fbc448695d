"""What this machine is and has: versions, processor, extras, the data folder.

`augment doctor` prints it; a run writes it to `environment.json`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment import __version__

if TYPE_CHECKING:
    import torch


EXTRAS = {  # that a user may want → the module that tells whether it is there
    "ray": "ray",
    "tensorboard": "tensorboard",
    "transformers": "transformers",
    "finetune": "peft",
    "parquet": "pyarrow",
    "dicom": "pydicom",
    "heic": "pi_heif",
    "tiff": "imagecodecs",
}


def data_dir(flag: Path | None = None) -> Path:
    """Return where data sets are cached: `--data-dir`, else AUGMENT_DATA, else ./data."""
    # `or`, not a default: an empty variable counts as none
    return flag or Path(os.environ.get("AUGMENT_DATA") or "data")


def environment(device: torch.device) -> dict[str, Any]:
    """Record what a reader needs to place a figure: versions, processor, device, threads, time."""
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
    """List what this machine lacks of what `augment` can use, and how to get it.

    `uncached` are the data sets that are not in `folder` yet.
    """
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
    for extra, module in EXTRAS.items():
        if not importlib.util.find_spec(module):  # found, not imported: that takes seconds
            missing[extra] = f"pip install 'augment-compare[{extra}]'"
    return missing


def processor_name() -> str:
    """Return the processor's own name where the system tells it."""
    with contextlib.suppress(OSError):  # Linux only
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
