"""--select and --classic select where boxes are learnt: chosen on held-out labelled pictures."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from boxed_digits import digits_on_canvas
from conftest import with_other_test_images
from random_boxes import random_case

import augment
from augment.data.boxed_images import NO_BOX
from augment.data.boxes.stratify import class_presence
from augment.engine.estimate import plan
from augment.errors import UsageError
from augment.experiment.box_scores import validate_boxes
from augment.experiment.cells import expand
from augment.experiment.context import RunContext, Trial
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.folds import boxed_fold_numbers
from augment.experiment.selection import candidates_of, choose, rank_candidates
from augment.experiment.task_choice import with_task
from augment.experiment.validation import make_recipe
from augment.metrics.detection import mean_ap
from augment.metrics.matching import Matches, joined, match
from augment.runtime.device import pick_device
from augment.storage.artifacts import Store
from augment.storage.tables import read_csv

ARMS = "real+classic,real+classic+synth,real+copypaste,real+copypaste+synth"
PLACED = ("filter", "mixing", "placing")


@pytest.fixture(scope="session")
def choosing(boxed_settings):
    return {
        **boxed_settings,
        "arm": ARMS,
        "placing": "paste,vary",
        "generator": "duplicate",
        "select": True,
        "folds": 2,
        "seeds": 1,
        "jobs": 1,
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def chosen(choosing, tmp_path_factory):
    return augment.run(**choosing, out=tmp_path_factory.mktemp("chosen") / "run")


def selecting_cells(choosing, data):
    """The cells that choose, of settings that are not those of a machine."""
    settings = {k: v for k, v in choosing.items() if k not in ("jobs", "device")}
    return [
        cell
        for cell in expand(with_task(make_recipe(**settings).resolved("cpu"), data))
        if cell.candidates
    ]


def test_all_candidates_stand_in_selection_csv_and_the_chosen_one_is_run(chosen):
    assert chosen.failed == 0
    table = read_csv(chosen.path / "selection.csv", PLACED)
    n = int(chosen.table["n_labelled"].iloc[0])
    assert (table["n"] == n).all()
    scores = ["map", "ap50", "box_precision", "box_recall", "gain", "standard_error"]
    assert table[scores].notna().all(axis=None)
    assert "accuracy" not in table
    for arm, own in table.groupby("arm"):
        assert own["placing"].fillna("none").tolist() == ["none", "paste", "vary"]
        assert own["chosen"].sum() == 1
        best = own[own["chosen"]].iloc[0]
        row = chosen.table.set_index("arm").loc[arm]
        assert row["candidates"] == 3
        assert (row["share"], row["validation_map"]) == (best["share"], best["map"])
        assert row["validation_baseline"] == own["map"].iloc[0]
        assert np.isnan(row["validation_accuracy"])
        if best["share"]:
            assert row["placing"] == best["placing"]
    assert "Chosen on validation" in (chosen.path / "table.md").read_text()


def test_a_share_of_none_is_the_baseline_of_the_arm(choosing):
    cells = selecting_cells(choosing, DatasetCache(None))
    assert [candidates_of(cell)[0].arm for cell in cells] == ["real+classic", "real+copypaste"]
    assert [candidates_of(cell)[0].generator for cell in cells] == [None, None]


def test_what_an_arm_does_not_use_is_no_candidate(choosing):
    settings = {**choosing, "mixing": ["falling", "constant"]}
    classic, pasting = selecting_cells(settings, DatasetCache(None))
    assert (len(classic.candidates), len(pasting.candidates)) == (4, 2)  # pasting has no schedule


def test_test_pictures_do_not_change_the_choice(choosing, chosen, tmp_path, monkeypatch):
    with_other_test_images(monkeypatch)
    arm = "real+classic+synth"
    second = augment.run(**choosing | {"arm": arm}, out=tmp_path / "second")
    rows, (row,) = chosen.table.to_dict("records"), second.table.to_dict("records")
    assert row["map"] != next(each["map"] for each in rows if each["arm"] == arm)
    before, after = (read_csv(r.path / "selection.csv", PLACED) for r in (chosen, second))
    pd.testing.assert_frame_equal(before[before["arm"] == arm].reset_index(drop=True), after)


def test_validation_pictures_are_new_to_all_that_is_trained(choosing, tmp_path):
    data = DatasetCache(None)
    cell = selecting_cells(choosing, data)[0]
    context = RunContext(Store(tmp_path), pick_device("cpu"), "fp32", 0)
    trial = Trial.prepare(cell, data.of(cell), context)
    seen = []

    def learn_and_score(inner):
        seen.append(inner)
        yield from ()
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(choose(trial, learn_and_score))
    trained, held, labelled = (
        {picture.numpy().tobytes() for picture in images}
        for images in (seen[0].labelled.images, seen[0].data.test.images, trial.labelled.images)
    )
    assert not trained & held
    assert trained | held == labelled


def test_a_class_of_one_picture_cannot_be_left_out(choosing, tmp_path):
    data = DatasetCache(None)
    cell = selecting_cells(choosing, data)[0]
    whole = data.of(cell)
    shown = class_presence(whole.pool.labels, 2)
    without = np.flatnonzero(~shown[:, 1])
    few = torch.from_numpy(np.append(without[:5], np.flatnonzero(shown[:, 1])[0]))
    context = RunContext(Store(tmp_path), pick_device("cpu"), "fp32", 0)
    trial = Trial.prepare(cell, whole, context, few)
    with pytest.raises(UsageError, match=r"--select: class '1' has images of one fold alone"):
        list(choose(trial, lambda inner: pytest.fail("trained")))


def test_folds_are_stratified_and_groups_stay_together():
    data = digits_on_canvas(30, side=64, classes=3, n_negatives=3)
    groups = [f"patient {k // 3}" for k in range(30)]
    found = boxed_fold_numbers(data, groups, 3, 7)
    assert all(found[k : k + 3].unique().numel() == 1 for k in range(0, 30, 3))
    assert torch.equal(found, boxed_fold_numbers(data, groups, 3, 7))
    alone = boxed_fold_numbers(data, [], 3, 7)
    shown = class_presence(data.labels, 3)
    counts = np.array([shown[alone.numpy() == fold].sum(0) for fold in range(3)])
    assert (np.ptp(counts, axis=0) <= 2).all()
    assert not torch.equal(alone, boxed_fold_numbers(data, [], 3, 8))


@pytest.fixture
def scored(tmp_path):
    """Writes detections of two folds as scores do, and returns these with what they held out."""

    def write(name, detections, boxes, held_out):
        parts = []
        for fold in range(2):
            mask = held_out == fold
            folder = tmp_path / f"{name} {fold}"
            folder.mkdir()
            match(detections[mask], boxes[mask], 3).save(folder / "predictions.safetensors")
            parts.append((folder, torch.from_numpy(mask)))
        return parts

    return write


@pytest.fixture
def case():
    boxes, detections = random_case(np.random.default_rng(5), n=40)
    return boxes, detections, np.random.default_rng(6).integers(2, size=40)


def test_folds_are_scored_together_as_one_set(case, scored):
    boxes, detections, held_out = case
    parts = scored("some", detections, boxes, held_out)
    whole = match(detections, boxes, 3)
    found = joined(
        [(Matches.load(f / "predictions.safetensors"), np.flatnonzero(m)) for f, m in parts], 40
    )
    assert mean_ap(found) == pytest.approx(mean_ap(whole), abs=1e-12)
    np.testing.assert_array_equal(found.n_true, whole.n_true)
    data = dataclasses.replace(digits_on_canvas(40, side=64, classes=3))
    validated = validate_boxes(data, parts)
    assert float(validated.values.mean()) == pytest.approx(mean_ap(whole), abs=1e-9)
    assert validated.scores["map"] == pytest.approx(mean_ap(whole), abs=1e-12)


def test_the_surely_better_candidate_is_chosen_and_equal_ones_leave_the_baseline(
    case, scored, choosing
):
    boxes, detections, held_out = case
    among = candidates_of(selecting_cells(choosing, DatasetCache(None))[0])
    data = digits_on_canvas(40, side=64, classes=3)
    perfect = np.full((40, boxes.shape[1], 6), NO_BOX, np.float32)
    perfect[..., 0], perfect[..., 1], perfect[..., 2:] = boxes[..., 0], 0.9, boxes[..., 1:]
    usual, better = (
        validate_boxes(data, scored(name, rows, boxes, held_out))
        for name, rows in (("usual", detections), ("perfect", perfect))
    )
    assert [line["chosen"] for line in rank_candidates(among, [usual, usual, better])] == [
        *(False, False, True)
    ]
    assert [line["chosen"] for line in rank_candidates(among, [usual] * 3)] == [True, False, False]
    assert rank_candidates(among, [better, usual, usual])[0]["chosen"]


def test_classic_transforms_are_chosen_for_boxes_too(boxed_settings, tmp_path):
    settings = {**boxed_settings, "arm": "real,real+classic", "classic": "select", "folds": 2}
    result = augment.run(**settings, seeds=1, jobs=1, device="cpu", out=tmp_path / "run")
    table = read_csv(result.path / "classic.csv", ("classic",))
    assert table["classic"].tolist()[0] == "document"
    assert len(table) == 4
    best = table[table["chosen"]].iloc[0]
    assert best["map"] == table["map"].max()
    row = result.table.set_index("arm").loc["real+classic"]
    assert (row["classic"], row["classic_candidates"]) == (best["classic"], 4)


def test_dry_run_counts_the_folds_with_their_baselines(choosing):
    settings = {k: v for k, v in choosing.items() if k not in ("jobs", "device")}
    settings |= {"arm": "real+copypaste,real+copypaste+synth", "placing": "vary"}
    plain, folds = (
        plan(make_recipe(**settings | {"select": select}), data_dir=None, device="cpu", jobs=1)
        for select in (False, True)
    )
    # two detectors and their pictures; judge, its halves, generator and synthetic set
    assert plain["stages"] == 2 * 2 + 4
    assert folds["stages"] == 3 * plain["stages"]
