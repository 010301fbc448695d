"""Errors a user can meet: one sentence each, and the exit code that goes with it."""

import difflib
from collections.abc import Iterable


class AugmentError(Exception):
    """A fault with a way out, told in one sentence; `exit_code` is what the command returns."""

    exit_code = 1


class UsageError(AugmentError):
    """A flag, name or recipe key that cannot be used."""

    exit_code = 2


class DataError(AugmentError):
    """Images or labels that cannot be learnt from."""

    exit_code = 3


class MachineError(AugmentError):
    """Something that this machine lacks: a device, room on the disk, the network, an extra."""

    exit_code = 5


class RunFolderError(AugmentError):
    """A run folder that is in use or was made by other settings."""

    exit_code = 6


class Diverged(Exception):
    """A loss that is no longer a finite number; the cell is marked, the others go on."""


def unknown(what: str, name: str, valid: Iterable[str]) -> UsageError:
    """Make the error for a name that is not in a registry: the nearest and all valid ones."""
    valid = list(valid)
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return UsageError(f"unknown {what} '{name}': {hint}valid are {', '.join(valid)}")
