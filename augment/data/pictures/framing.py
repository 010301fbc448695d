"""The shape that the images of a set get: from what its pictures hold and a run affords.

Free of heavy imports: the command line reads the names.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from augment.errors import DataError

NATIVE = "native"  # as --size: the size of the files
FITS = ("pad", "crop", "stretch")
# sides in pixels that are chosen without --size, and how long the trainings of a trial take at
# each, at 32 as 1: seven of airbench and one of ddpm, `quick`, 30.6, 66.5, 117, 127, 67, 145 and
# 288 ms a step and 122, 152, 171, 196, 268, 483 and 898 (colour, fp32, one core of an Intel Xeon)
TIMES = {32: 1.0, 48: 1.7, 64: 2.5, 96: 2.8, 128: 2.2, 192: 4.3, 256: 8.3}
SIDES = tuple(TIMES)
KEPT_FROM, KEPT_UP_TO = 5, 64  # sides of a set of one shape that are kept without --size
LEAST_SIDE, MOST_SIDE = 8, 512  # pixels, of what networks are built for
SHORT_SIDE = 16  # pixels of the shorter side that are wanted, where the pictures hold them
MAX_SIZES = 3  # listed in a refusal
UNKNOWN_SIDE = 32  # where no picture can be read
# longest side that is chosen without --size: a trial of 20 steel surfaces a class takes two cores
# as long as at 64 pixels, by --dry-run 225 and 227 s; a GPU has not been measured
AFFORDED_SIDE = 128
TURNED_SHARE = 0.25  # of the pictures upright, and of them lying, from which the set is square
NEARLY_SQUARE = 1.05  # aspect of a set of several shapes up to which it is made square


class Frame(NamedTuple):
    """The shape that a picture is brought to, and how."""

    width: int
    height: int
    fit: str = "stretch"  # one of FITS


@dataclass(frozen=True)
class Framing:
    """What is asked for: side and fit, and what a run affords where no side is."""

    size: int | str | None = None  # longer side in pixels, or NATIVE; None: chosen
    fit: str | None = None  # one of FITS; None: pad
    affords: int = AFFORDED_SIDE  # longest side to choose

    @classmethod
    def of(cls, size: Framing | int | None) -> Framing:
        """Return a framing as it is, or that of a side alone."""
        return size if isinstance(size, Framing) else cls(size)


def choose_frame(sizes: Sequence[tuple[int, int]], framing: Framing) -> Frame:
    """Choose the frame of a set from (W, H) of its pictures.

    Padded sets keep the shape of the pictures where all have one, else get their median aspect, or
    a square where some are upright and some lie. Cropped and stretched ones become squares.
    Raises DataError for --size native of pictures of several sizes, or of large ones.
    """
    fit = framing.fit or "pad"
    if not sizes:
        return Frame(UNKNOWN_SIDE, UNKNOWN_SIDE, fit)
    native = sizes[0] if len(set(sizes)) == 1 else None
    if framing.size == NATIVE:
        return Frame(*_checked_native(sizes), fit)
    if native and framing.size in (None, max(native)):
        keeps = min(native) >= KEPT_FROM and max(native) <= KEPT_UP_TO
        if keeps and (framing.size is None or fit == "pad"):
            return Frame(*native, fit)
    aspect = _aspect(sizes) if fit == "pad" else 1.0
    side = framing.size
    if not isinstance(side, int):
        side = _chosen_side(sizes, framing.affords, min(aspect, 1 / aspect))
    shorter = max(min(LEAST_SIDE, side), round(side * min(aspect, 1 / aspect)))
    return Frame(side, shorter, fit) if aspect >= 1 else Frame(shorter, side, fit)


def _checked_native(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the one size of the pictures; DataError where they have no usable one."""
    native = sizes[0]
    if distinct := [*dict.fromkeys(sizes)][1:]:
        listed = ", ".join(f"{w}×{h}" for w, h in [native, *distinct][:MAX_SIZES])
        more = ", …" if len(distinct) >= MAX_SIZES else ""
        sides = {max(size) for size in sizes}
        side = max(sides)
        out = f"give a longer side, --size {side}" if sides == {side} else "give a side in pixels"
        raise DataError(
            f"--size native: the pictures have {len(distinct) + 1} sizes, width×height ({listed}"
            f"{more}), and a set has one: {out}"
        )
    if not min(native) >= LEAST_SIDE or max(native) > MOST_SIDE:
        raise DataError(
            f"--size native: pictures of {native[0]}×{native[1]} have a side outside {LEAST_SIDE} "
            f"to {MOST_SIDE} pixels: give another side"
        )
    return native


def _held_side(sizes: Sequence[tuple[int, int]]) -> int:
    """Return the longer side that half of the pictures hold, in pixels."""
    return int(statistics.median(max(size) for size in sizes))


def _chosen_side(sizes: Sequence[tuple[int, int]], affords: int, shape: float = 1.0) -> int:
    """Choose the longer side: what the pictures hold, as far as a run affords it.

    `shape` is the shorter side over the longer one. Narrow sets get a longer side until the shorter
    one has SHORT_SIDE pixels, as long as there are no more pixels than in the square afforded.
    """
    held = _held_side(sizes)
    fitting = [side for side in SIDES if side <= min(held, affords)]
    chosen = max(fitting) if fitting and held > SIDES[0] else max(held, LEAST_SIDE)
    for side in SIDES:
        if chosen < side <= held and chosen * shape < SHORT_SIDE and side**2 * shape <= affords**2:
            chosen = side
    return chosen


def _aspect(sizes: Sequence[tuple[int, int]]) -> float:
    """Return W / H of the frame of pictures that are not to be distorted."""
    aspects = [width / height for width, height in sizes]
    middle = math.exp(statistics.median(map(math.log, aspects)))
    if len(set(sizes)) == 1:
        return aspects[0]
    upright, lying = (sum(each) / len(sizes) for each in _orientations(sizes))
    if min(upright, lying) >= TURNED_SHARE or max(middle, 1 / middle) <= NEARLY_SQUARE:
        return 1.0
    return middle


def _orientations(sizes: Sequence[tuple[int, int]]) -> tuple[list[bool], list[bool]]:
    """Tell which pictures stand upright, and which lie."""
    return [w < h for w, h in sizes], [w > h for w, h in sizes]


def inner_size(size: tuple[int, int], frame: Frame) -> tuple[int, int]:
    """Return (W, H) of a whole picture inside its frame, undistorted to a pixel."""
    if frame.fit == "stretch":
        return frame.width, frame.height
    scale = min(frame.width / size[0], frame.height / size[1])
    # a side that is a pixel short is so by rounding
    width, height = (
        whole if length * scale > whole - 1 else max(1, round(length * scale))
        for length, whole in zip(size, frame[:2], strict=True)
    )
    return width, height


def middle_box(size: tuple[int, int], frame: Frame) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) of the middle of a picture that fills its frame."""
    scale = min(size[0] / frame.width, size[1] / frame.height)
    left, top = (size[0] - frame.width * scale) / 2, (size[1] - frame.height * scale) / 2
    return left, top, left + frame.width * scale, top + frame.height * scale


def framing_notes(sizes: Sequence[tuple[int, int]], framing: Framing, frame: Frame) -> list[str]:
    """Note how pictures were brought to a frame of another size, and what a larger one costs."""
    distinct = [*dict.fromkeys(sizes)]
    if distinct == [frame[:2]]:
        return []
    which = f"{len(distinct)} picture sizes"
    if len(distinct) == 1:
        which = f"pictures of {distinct[0][0]}×{distinct[0][1]}"
    goal = f"{frame.width}×{frame.height}"
    padded = any(inner_size(size, frame) != frame[:2] for size in distinct)
    how = {
        "pad": f"fitted whole into {goal}, with bands of the colour of their edges"
        if padded
        else f"resized to {goal}",
        "crop": f"cut to their middle and resized to {goal}",
        "stretch": f"stretched to {goal}",
    }
    return [
        f"{which}, all {how[frame.fit]}",
        *_detail_notes(sizes, frame),
        *_cost_notes(sizes, framing, max(frame[:2])),
    ]


def _detail_notes(sizes: Sequence[tuple[int, int]], frame: Frame) -> list[str]:
    """Note pictures that are enlarged, and a shorter side of which hardly anything is left."""
    notes, choose = [], max if frame.fit == "crop" else min
    enlarged = sum(choose(frame.width / w, frame.height / h) > 1 for w, h in sizes)
    if enlarged:
        notes.append(
            f"{enlarged} of {len(sizes)} pictures are smaller and enlarged: more pixels hold no "
            "more detail"
        )
    sides = sorted((min(inner_size(size, frame)), size) for size in sizes)
    short, size = sides[len(sides) // 2]
    if frame.fit == "pad" and short < min(SHORT_SIDE, min(size)):
        wanted = [s for s in SIDES if s <= max(size) and s * min(size) / max(size) >= SHORT_SIDE]
        out = f": --size {wanted[0]}" if wanted else ""
        notes.append(
            f"of pictures of {size[0]}×{size[1]} the shorter side has only {short} px left{out}"
        )
    return notes


def _cost_notes(sizes: Sequence[tuple[int, int]], framing: Framing, side: int) -> list[str]:
    """Say what side was chosen, and what a larger one takes, unless a side was asked for."""
    held = _held_side(sizes)
    larger = [each for each in SIDES if side < each <= min(held, 2 * side)]
    if framing.size is not None or not larger:
        return []
    factor = TIMES[max(larger)] / TIMES[max(each for each in SIDES if each <= side)]
    held_by = sorted({max(size) for size in sizes})
    have = f"{held_by[0]} to {held_by[-1]}" if len(held_by) > 1 else f"{held}"
    return [
        f"{side} px a side were chosen (the pictures have {have}; {max(larger)} px would "
        f"take about {factor:.2g} times as long on a CPU: --size {max(larger)})"
    ]
