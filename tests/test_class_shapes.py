"""The shape of a picture must not tell its class unnoticed, and no mixed set is warned of."""

import numpy as np
import pytest
from test_folder import noted, put

from augment.data.check import inspect
from augment.data.class_shapes import class_shape_notes
from augment.data.pictures.framing import Framing, choose_frame

SHAPES = [(100, 100), (120, 100), (100, 140), (160, 100)]


def notes_of(sizes, labels, **framing):
    classes = [f"c{k}" for k in range(max(labels) + 1)]
    return class_shape_notes(sizes, labels, classes, choose_frame(sizes, Framing(64, **framing)))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([(200, 100)] * 6, [(100, 200)] * 6),
        ([(200, 100)] * 8, [(200, 104)] * 8),  # one row of pixels at 64 px
        ([(130 + 5 * k, 100) for k in range(10)], [(80 + 3 * k, 100) for k in range(10)]),
        ([(100, 100)] * 20, [*SHAPES, (120, 100)] * 4),
    ],
)
def test_classes_of_other_shapes_are_warned_of(a, b):
    labels = [0] * len(a) + [1] * len(b)
    (note,) = notes_of(a + b, labels)
    assert note.startswith("pictures of 'c0' and 'c1' differ in shape")
    assert note.endswith("--fit crop")
    assert not notes_of(a + b, labels, fit="crop")


def test_one_class_of_many_is_named_alone():
    sizes = [(200, 100)] * 12 + SHAPES * 12
    (note,) = notes_of(sizes, [0] * 12 + [1 + k // 12 for k in range(48)])
    assert note.startswith("pictures of 'c0' and others differ in shape")


@pytest.mark.parametrize(("classes", "n"), [(2, 4), (2, 12), (5, 20), (20, 10)])
@pytest.mark.parametrize("mixed", [True, False])
def test_sets_of_mixed_shapes_are_not_warned_of(classes, n, mixed):
    rng, labels, alarms = np.random.default_rng(0), [k % classes for k in range(classes * n)], 0
    for _ in range(50):
        drawn = rng.integers(60, 300, (classes * n, 2)).tolist()
        few = [SHAPES[k] for k in rng.integers(len(SHAPES), size=classes * n)]
        alarms += bool(notes_of([tuple(size) for size in drawn] if mixed else few, labels))
    assert alarms <= 3


def test_check_warns_of_a_shape_that_gives_the_class_away(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, shape in (("a", (20, 30, 3)), ("b", (30, 20, 3))):
        for k in range(15):
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            put(tmp_path, f"{name}/{k}.png", picture=Image.fromarray(pixels))
    assert noted(inspect(str(tmp_path))["warnings"], "'a' and 'b' differ in shape", "--fit crop")
