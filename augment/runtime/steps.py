"""Generators that yield progress and return a result: iterate over them, then ask for `value`."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Generic, TypeVar

Step = TypeVar("Step")
Value = TypeVar("Value")


class Steps(Generic[Step, Value]):
    """Iterate over a generator in a `for` loop; `value` holds what it returned at its end."""

    value: Value

    def __init__(self, generator: Generator[Step, None, Value]) -> None:
        self.generator = generator

    def __iter__(self) -> Iterator[Step]:
        self.value = yield from self.generator  # a `for` loop alone would drop what it returns


def run_to_end(generator: Generator[Step, None, Value]) -> Value:
    """Discard the progress of a generator and return its result."""
    steps = Steps(generator)
    for _ in steps:
        pass
    return steps.value
