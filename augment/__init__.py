"""Do generated images help a classifier of a small labelled image set, and how sure is that?

`augment.run(dataset="digits", per_class=10, generator="ddpm", seeds=3)` does what the command does.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.3.0"

if TYPE_CHECKING:
    from augment.engine.run import Result, run

__all__ = ["Result", "__version__", "run"]


def __getattr__(name: str) -> Any:
    """Import torch on first use, so that `augment --help` is fast."""
    if name in ("run", "Result"):
        from augment.engine import run as engine

        return getattr(engine, name)
    raise AttributeError(f"module 'augment' has no attribute '{name}'")
