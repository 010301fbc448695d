"""Where cells are run, here or on a cluster, and the record that is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from augment.errors import MachineError, UsageError, unknown

if TYPE_CHECKING:
    from augment.engine.ray import Cluster
from augment.engine.local import Local


def on_ray(device: str, **asked: Any) -> Cluster:
    """A Ray cluster; MachineError if the extra is not installed."""
    try:
        from augment.engine.ray import Cluster
    except ImportError:
        raise MachineError(
            "--executor ray needs the extra: pip install 'augment-compare[ray]'"
        ) from None
    return Cluster(device, **asked)


EXECUTORS: dict[str, Callable[..., Local | Cluster]] = {"local": Local, "ray": on_ray}


FLAGS = {"local": ("jobs",), "ray": ("address", "cpus", "gpus")}  # what each one can be asked


def place(executor: str, device: str, **asked: Any) -> Local | Cluster:
    """Where cells are to run; UsageError for an unknown name, or a flag of the other executor."""
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    given = {flag: value for flag, value in asked.items() if value is not None}
    for flag in given.keys() - FLAGS[executor]:
        own = next(name for name, flags in FLAGS.items() if flag in flags)
        raise UsageError(f"--{flag} is for --executor {own}: leave one of them out")
    return EXECUTORS[executor](device, **given)
