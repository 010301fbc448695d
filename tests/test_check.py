"""`augment check`: what it finds in a clean folder and in faulty ones."""

import json

import numpy as np
import pytest
from test_folder import grey, noted, put, table, truncated, two_classes

from augment.data.check import inspect
from augment.errors import UsageError


def test_a_clean_folder_has_counts_and_nothing_to_tell(tmp_path):
    found = inspect(str(two_classes(tmp_path, 20)))
    assert (found["problems"], found["warnings"], found["unreadable"]) == ([], [], [])
    assert found["images"].startswith("1×8×8")
    assert (found["pool"], found["pool_by_class"]) == (32, {"a": 16, "b": 16})
    assert found["test"] == "8 (held out, stratified, fixed by the data's hash)"
    assert len(found["sha"]) == 16
    json.dumps(found)


def test_a_given_test_set_is_told(tmp_path):
    two_classes(tmp_path, 3, "test/")
    assert inspect(str(two_classes(tmp_path, 12, "train/")))["test"] == "6 (given)"


def test_every_fault_of_a_folder_is_found_at_once(tmp_path):
    put(two_classes(tmp_path, 12), "rare/1.png", ".hidden/1.png")
    truncated(tmp_path / "a" / "cut.jpg")
    (tmp_path / "b" / "zero.png").touch()
    found = inspect(str(tmp_path))
    assert len(found["problems"]) == 1
    assert "2 unreadable images" in found["problems"][0]
    assert [line.partition(":")[0] for line in found["unreadable"]] == ["a/cut.jpg", "b/zero.png"]
    assert found["unreadable"][1] == "b/zero.png: empty file"
    assert not noted(found["warnings"], "left out unreadable")  # only in the look for more faults
    skipped = inspect(str(tmp_path), skip_bad=True, drop_small_classes=True)
    assert noted(skipped["warnings"], "left out unreadable images (2)")
    assert noted(found["warnings"], "dropped small classes", "'rare' has 1 to learn from")
    assert noted(found["warnings"], "hidden folders")
    assert found["classes"] == 2


def test_a_folder_that_cannot_be_mended_has_its_problems_only(tmp_path):
    put(tmp_path, "only/1.png")
    (tmp_path / "only" / "2.png").touch()
    found = inspect(str(tmp_path))
    assert len(found["problems"]) == 2
    assert noted(found["problems"], "only/2.png")
    assert noted(found["problems"], "a single class")


def test_a_group_on_both_sides_is_a_problem(tmp_path):
    rows = [(f"{i}.png", "ab"[i % 2], "p", "test" if i > 3 else "train") for i in range(8)]
    put(tmp_path, *(row[0] for row in rows))
    found = inspect(str(table(tmp_path, rows, ("file_name", "label", "group", "split"))))
    assert noted(found["problems"], "group 'p'", "train and in test")


def test_repeats_and_pictures_of_two_labels_are_warned_of(tmp_path):
    for part, n in (("train", 12), ("test", 2)):
        two_classes(tmp_path, n, f"{part}/")
    put(tmp_path, "train/a/x.png", "train/a/y.png", "train/b/z.png", picture=grey())
    warnings = inspect(str(tmp_path))["warnings"]
    assert "2 images of the pool repeat another one of it, pixel by pixel" in warnings
    assert "one picture is labelled a (train/a/x.png) and b (train/b/z.png)" in warnings


def test_few_images_and_imbalance_are_warned_of(tmp_path):
    put(tmp_path, *(f"many/{i}.png" for i in range(60)), *(f"few/{i}.png" for i in range(3)))
    warnings = inspect(str(tmp_path))["warnings"]
    assert noted(warnings, "fewer than 10", "few (2)")
    assert noted(warnings, "imbalanced")


def test_mixed_formats_and_sizes_are_warned_of(tmp_path):
    two_classes(tmp_path, 12)
    put(tmp_path, "a/x.png", picture=grey(side=(9, 9)).convert("RGB"))
    warnings = inspect(str(tmp_path))["warnings"]
    assert noted(warnings, "pixel formats: L 24, RGB 1")
    assert noted(warnings, "2 picture sizes")


def test_an_npz_and_a_named_set_are_looked_at_too(tmp_path):
    assert inspect("digits", size=8)["problems"] == []
    images = np.zeros((4, 8, 8), np.float32)
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=np.arange(4) % 2)
    assert noted(inspect(str(tmp_path / "x.npz"))["problems"], "x.npz", "uint8")


def test_an_unknown_name_is_no_problem_of_the_data():
    with pytest.raises(UsageError, match="did you mean 'digits'"):
        inspect("digitz")


def test_one_repeat_is_spoken_of_as_one(tmp_path):
    put(two_classes(tmp_path, 12), "a/x.png", "a/y.png", picture=grey())
    assert noted(inspect(str(tmp_path))["warnings"], "1 image of the pool repeats another one")
