"""Classes that differ in direction: mirroring a picture would turn one into another."""

from __future__ import annotations

import re
from collections.abc import Sequence

# words of class names, in lower case
MIRRORED_WORDS = (
    ("left", "right"),
    ("leftward", "rightward"),
    ("leftwards", "rightwards"),
    ("l", "r"),
    ("east", "west"),
    ("eastbound", "westbound"),
    ("clockwise", "counterclockwise"),
    ("clockwise", "anticlockwise"),
    ("cw", "ccw"),
    ("port", "starboard"),
    ("links", "rechts"),
    ("gauche", "droite"),
    ("izquierda", "derecha"),
    ("izquierdo", "derecho"),
    ("esquerda", "direita"),
    ("sinistra", "destra"),
    ("左", "右"),
)
# whole names: letters and signs that are mirror images
MIRRORED_NAMES = (
    *(("b", "d"), ("p", "q"), ("<", ">"), ("(", ")"), ("[", "]"), ("{", "}"), ("/", "\\")),
    *(("←", "→"), ("<-", "->"), ("<=", "=>")),
)
MIRRORING = ("natural", "any-orientation")  # keys of CLASSIC that mirror


def direction_notes(classes: Sequence[str], classic: str) -> list[str]:
    """Warn of classes that the transforms `classic` would turn into one another, by their names."""
    pairs = [(a, b) for a, b in MIRRORED_NAMES if {a, b} <= set(classes)]
    for a, b in MIRRORED_WORDS:
        pairs += [
            (name, other)
            for name in classes
            if (other := _swapped(name, a, b, classes)) is not None
        ]
    if classic not in MIRRORING or not pairs:
        return []
    first, second = pairs[0]
    return [
        f"classes '{first}' and '{second}' differ in direction, and the default transforms "
        f"({classic}) mirror pictures, which makes one of the other: pass --classic document"
    ]


def guess_notes(classes: Sequence[str], classic: str) -> list[str]:
    """Say that default transforms which mirror are a guess; `direction_notes` may say more."""
    if classic not in MIRRORING or direction_notes(classes, classic):
        return []
    return [
        f"the default transforms ({classic}) mirror these pictures, as photographs may be: pass "
        "the --classic that suits them, or --classic select to have it chosen by cross-validation"
    ]


def _swapped(name: str, word: str, opposite: str, classes: Sequence[str]) -> str | None:
    """Find a class that has `opposite` where this one has `word`."""
    if word not in (words := _words(name)):
        return None
    wanted = [opposite if each == word else each for each in words]
    return next((other for other in classes if _words(other) == wanted), None)


def _words(name: str) -> list[str]:
    """Split a name at signs, digits and inner capitals: "turnLeft_2" → turn, left."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return re.findall(
        r"[左右]|[^\W\d_左右]+", spaced.replace("counter-", "counter").replace("anti-", "anti")
    )
