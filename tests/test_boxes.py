"""Pictures with boxes: three formats read alike, and what is wrong with them said."""

import pytest
import torch
from boxed_digits import (
    NO_BOX,
    boxes_of,
    digits_on_canvas,
    overlap,
    write_coco,
    write_voc,
    write_yolo,
)
from test_folder import noted

from augment.data.check import inspect
from augment.data.datasets import load_dataset

SPLITS = ["train"] * 14 + ["val"] * 4 + ["test"] * 6
WRITERS = {
    "VOC": write_voc,
    "COCO": write_coco,
    "YOLO": write_yolo,
    "YOLO by split": lambda data, root, splits=None: write_yolo(data, root, splits, True),
}


@pytest.fixture(scope="module")
def digits():
    return digits_on_canvas(24, classes=3, seed=4, n_negatives=2)


def same_boxes(data, k, other, row):
    """Boxes of two pictures, to the rounding of YOLO's text, in any order."""
    first, second = (sorted(boxes_of(d, i)) for d, i in ((data, k), (other, row)))
    return len(first) == len(second) and all(
        a == pytest.approx(b, abs=1e-3) for a, b in zip(first, second, strict=True)
    )


def test_digits_are_drawn_apart_with_tight_boxes():
    data = digits_on_canvas(20, seed=1)
    for k in range(len(data)):
        boxes = [box[1:] for box in boxes_of(data, k)]
        assert 1 <= len(boxes) <= 5
        assert all(overlap(a, b) <= 0.2 for a in boxes for b in boxes if a is not b)
        for x0, y0, x1, y1 in boxes:
            assert 16 <= max(x1 - x0, y1 - y0) <= 40
            assert min(x0, y0) >= 0
            assert max(x1, y1) <= 128


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_formats_read_alike_with_their_splits(write, digits, tmp_path):
    data = load_dataset(str(write(digits, tmp_path / "set", SPLITS)))
    assert (data.task, data.official_test) == ("detect", True)
    assert (len(data.pool), len(data.test)) == (18, 6)
    assert data.pool.classes == ("0", "1", "2")
    for part, files in ((data.pool, data.pool_files), (data.test, data.test_files)):
        assert part.shape == (1, 128, 128)
        for row, file in enumerate(files):
            k = int(file[-7:-4])
            assert (SPLITS[k] == "test") == (part is data.test)
            assert torch.equal(part.images[row], digits.images[k])
            assert same_boxes(part, row, digits, k)
    assert "24 pictures" in data.layout


def test_check_counts_boxes(digits, tmp_path):
    found = inspect(str(write_coco(digits, tmp_path / "set", SPLITS)))
    assert (found["task"], found["pool"], found["test"]) == ("detect", 18, "6 (given)")
    n = sum(len(boxes_of(digits, k)) for k in range(18))
    assert found["boxes"].startswith(f"pool {n}, test ")
    assert sum(found["pool_boxes_by_class"].values()) == n
    assert found["without_boxes"] == "pool 0, test 2"
    assert found["boxes_by_size"].endswith("0 from 96×96 on")
    assert found["problems"] == []
    assert noted(found["warnings"], "2 of 6 pictures to test on are without boxes")
    held = [{label for label, *_ in boxes_of(digits, k)} for k in range(18)]
    shown = [sum(label in each for each in held) for label in range(3)]
    assert [*found["pool_pictures_by_class"].values()] == shown


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_test_set_is_held_out_of_all_formats(write, digits, tmp_path):
    data = load_dataset(str(write(digits, tmp_path / "set")))
    assert not data.official_test
    assert len(data.pool) + len(data.test) == 24
    assert 3 <= len(data.test) <= 7
    assert (data.test.counts() > 0).all()
    assert (data.pool.labels[..., 0] >= NO_BOX).all()
