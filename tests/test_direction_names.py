"""Classes that mirroring turns into one another are noticed by their names."""

import numpy as np
import pytest
from PIL import Image
from test_folder import noted, put

from augment.data.datasets import load_dataset
from augment.data.layouts.direction_names import direction_notes


@pytest.mark.parametrize(
    ("classes", "pair"),
    [
        (["left", "forward", "right"], "'left' and 'right'"),
        (["Turn_Right", "Turn_Left", "stop"], "'Turn_Left' and 'Turn_Right'"),
        (["turnLeft", "turnRight"], "'turnLeft' and 'turnRight'"),
        (["clockwise", "counter-clockwise"], "'clockwise' and 'counter-clockwise'"),
        (["a", "b", "c", "d"], "'b' and 'd'"),
        (["左", "右"], "'左' and '右'"),
        (["(", ")"], "'(' and ')'"),
        (["eye L", "eye R"], "'eye L' and 'eye R'"),
    ],
)
def test_opposite_names_are_warned_of_where_pictures_are_mirrored(classes, pair):
    (note,) = direction_notes(classes, "natural")
    assert pair in note
    assert "--classic document" in note
    assert direction_notes(classes, "any-orientation")
    assert direction_notes(classes, "document") == []


@pytest.mark.parametrize(
    "classes",
    [
        ["cat", "dog"],
        ["right", "wrong"],
        ["B", "D"],
        ["bright", "dull"],
        ["left ventricle", "right atrium"],
        ["up", "down"],
    ],
)
def test_other_names_are_not(classes):
    assert direction_notes(classes, "natural") == []


def test_colour_pictures_of_left_and_right_are_warned_of(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(12):
        picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        put(tmp_path, f"{['left', 'right'][k % 2]}/{k}.png", picture=picture)
    assert noted(load_dataset(str(tmp_path)).notes, "'left' and 'right' differ in direction")
