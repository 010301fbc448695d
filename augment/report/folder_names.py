"""Class names → folder names that no file system and no reader of images takes for another."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

# what Windows forbids; a dot in front hides a folder; a dot or blank at the end is lost on Windows;
# `datasets` passes over paths with `::` without a word
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]|^\.|[. ]$')
_MAX_BYTES = 200  # of UTF-8; file systems take 255


def folder_names(classes: Sequence[str], *, ignores_case: bool = False) -> list[str]:
    """Name a folder for each class: like the class, where every file system can have that name.

    Other names are percent-encoded (a/b → a%2Fb). If that could be taken for another class, or
    would sort at another place than the class, all folders are numbered instead, in the order of
    the classes. `ignores_case`: the file system takes A and a for one name.
    """
    encoded = [_FORBIDDEN.sub(_percent_encoded, name) for name in classes]
    if _unmistakable(encoded, classes, ignores_case):
        return encoded
    width = len(str(len(classes) - 1))
    for dashes in itertools.count(1):  # more of them where a class is itself called 0-a
        numbered = [
            f"{k:0{width}}{'-' * dashes}{name.encode()[:_MAX_BYTES].decode(errors='ignore')}"
            for k, name in enumerate(encoded)
        ]
        if not set(numbered) & set(classes):
            return numbered
    raise AssertionError("unreachable: classes are finite")


def _percent_encoded(found: re.Match[str]) -> str:
    """Encode a character that is forbidden as in addresses."""
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def _unmistakable(names: list[str], classes: Sequence[str], ignores_case: bool) -> bool:
    """Tell whether names are distinct, no other class's, short and sorted like the classes."""
    keys = {name.casefold() if ignores_case else name for name in names}
    changed = {name for name, own in zip(names, classes, strict=True) if name != own}
    order = sorted(range(len(names)), key=lambda k: names[k])
    return (
        len(keys) == len(names)
        and not changed & set(classes)
        and max(len(name.encode()) for name in names) <= _MAX_BYTES
        and order == sorted(range(len(names)), key=lambda k: classes[k])
    )
