"""--select: the choice is made inside the labelled images; a share of 0 is among the choices."""

import dataclasses
import json

import pandas as pd
import pytest
import torch
from conftest import bars, with_other_test_images, write_folder

import augment
from augment.data.datasets import load_dataset
from augment.data.subset import folds
from augment.errors import UsageError
from augment.experiment.cells import expand
from augment.experiment.classification import calibrated_losses, validated_classes
from augment.experiment.context import RunContext, Trial
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.selection import choose, rank_candidates
from augment.experiment.validation import make_recipe
from augment.runtime.device import pick_device
from augment.storage.artifacts import Store
from augment.storage.tables import read_csv

ARMS = "real+classic,real+classic+synth"


@pytest.fixture
def selecting(small_run):
    longer = {"generator": {"steps": 4}, "classifier": {"steps": 40, "batch": 16, "width": 8}}
    return {**small_run, "arm": ARMS, "select": True, "folds": 2, "set": longer, "seeds": 1}


def test_useless_images_are_left_out_and_the_answer_is_the_baseline(selecting):
    result = augment.run(
        **{
            **selecting,
            "generator": "noise",
            "per_class": 8,
            "set": {"classifier": selecting["set"]["classifier"]},
        }
    )
    baseline, chosen = result.table.to_dict("records")
    assert chosen["share"] == 0
    assert chosen["n_synth"] == 0
    assert chosen["candidates"] == 2
    assert chosen["accuracy"] == baseline["accuracy"]
    assert chosen["signature"] == baseline["signature"]
    assert chosen["validation_accuracy"] == chosen["validation_baseline"]
    line = result.summary.iloc[1]
    assert (line["generator"], line["difference"]) == ("noise selected", 0)
    assert line["chosen"] == "share=0 (1)"
    assert (
        "Chosen on validation (number of trials): share=0 (1)"
        in (result.path / "table.md").read_text()
    )
    assert "share=0 (1)" in (result.path / "report.html").read_text()


def test_all_candidates_stand_in_selection_csv(selecting):
    result = augment.run(**{**selecting, "share": [0.25, 0.5], "filter": ["none", "agreement"]})
    table = read_csv(result.path / "selection.csv", ("filter",))
    validated = table[["accuracy", "macro_precision", "macro_recall"]]
    assert validated.notna().all(axis=None)
    assert validated.iloc[0].nunique() > 1  # not one figure thrice
    assert table["share"].tolist() == [0, 0.25, 0.25, 0.5, 0.5]
    assert table["chosen"].sum() == 1
    assert (table["n"] == 30).all()
    assert result.table.iloc[1]["candidates"] == 5
    best = table[table["chosen"]].iloc[0]
    assert result.table.iloc[1]["share"] == best["share"]
    assert result.table.iloc[1]["validation_accuracy"] == best["accuracy"]


def test_mixings_are_candidates_and_what_was_chosen_is_run(selecting):
    result = augment.run(**{**selecting, "mixing": ["pretrain", "falling"]})
    table = read_csv(result.path / "selection.csv", ("filter", "mixing"))
    assert table["mixing"].isna().tolist() == [True, False, False]
    assert table["mixing"].tolist()[1:] == ["pretrain", "falling"]
    assert table["loss"].nunique() == 3
    chosen = table[table["chosen"]].iloc[0]
    line = result.table[result.table["candidates"].notna()].iloc[0]
    assert line["share"] == chosen["share"]
    assert line["validation_accuracy"] == chosen["accuracy"]
    if chosen["share"]:
        assert line["mixing"] == chosen["mixing"]
        assert f"mixing={chosen['mixing']}" in result.summary.iloc[1]["chosen"]


def test_the_clearly_better_candidate_is_chosen_and_the_unsure_one_is_not():
    recipe = make_recipe(arm=ARMS, share=[0.25, 0.5], select=True).resolved("cpu")
    cell = expand(recipe)[1]
    among = (expand(recipe)[0], *cell.candidates)
    labels = torch.arange(40) % 2
    rng = torch.Generator().manual_seed(0)
    sure = torch.where(labels == 0, 0.7, 0.3)
    wavering = torch.rand(40, generator=rng) * 0.98 + 0.01
    for better, expected in ((sure, 0.5), (wavering, 0.0)):
        p = torch.stack([torch.full((40,), 0.5), wavering, better])
        found = [validated_classes(torch.stack([each, 1 - each], 1), labels) for each in p]
        lines = rank_candidates(among, found)
        assert [line["share"] for line in lines if line["chosen"]] == [expected]
        assert lines[0]["gain"] == 0


def test_equal_candidates_leave_the_baseline():
    recipe = make_recipe(arm=ARMS, select=True).resolved("cpu")
    baseline, cell = expand(recipe)[:2]
    same = validated_classes(torch.full((10, 2), 0.5), torch.zeros(10, dtype=torch.int64))
    lines = rank_candidates((baseline, *cell.candidates), [same, same])
    assert [line["chosen"] for line in lines] == [True, False]


def test_loss_does_not_hang_on_how_sure_a_classifier_is():
    rng = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(200, 4, generator=rng), torch.arange(200) % 4
    logits[torch.arange(200), labels] += 1
    usual = calibrated_losses(logits.softmax(1), labels)
    for temperature in (0.5, 2.0):
        other = calibrated_losses((logits / temperature).softmax(1), labels)
        torch.testing.assert_close(usual.mean(), other.mean(), rtol=5e-3, atol=0)


def test_validation_images_are_new_to_all_that_is_trained_and_test_images_are_not_there(tmp_path):
    recipe = make_recipe(per_class=6, select=True, seeds=1).resolved("cpu")
    cell = next(c for c in expand(recipe) if c.candidates)
    data = DatasetCache(None).of(cell)
    context = RunContext(Store(tmp_path), pick_device("cpu"), "fp32", 0)
    trial = Trial.prepare(cell, data, context, torch.arange(120))
    folds_seen = []

    def learn_and_score(inner):
        folds_seen.append(inner)
        yield from ()
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(choose(trial, learn_and_score))
    (inner,) = folds_seen
    trained = {i.numpy().tobytes() for i in inner.labelled.images}
    held = {i.numpy().tobytes() for i in inner.data.test.images}
    labelled = {i.numpy().tobytes() for i in trial.labelled.images}
    assert not trained & held
    assert trained | held == labelled
    assert not held & ({i.numpy().tobytes() for i in data.test.images} - labelled)


def test_test_images_and_labels_do_not_change_the_choice(selecting, tmp_path, monkeypatch):
    first = augment.run(**selecting)
    with_other_test_images(monkeypatch)
    second = augment.run(**{**selecting, "out": tmp_path / "second"})
    assert first.table["accuracy"].tolist() != second.table["accuracy"].tolist()
    tables = [read_csv(r.path / "selection.csv") for r in (first, second)]
    pd.testing.assert_frame_equal(*tables)


def test_choice_is_made_once_and_kept(selecting):
    result = augment.run(**selecting)
    artefact = next((result.path / "artefacts/selection").iterdir()) / "about.json"
    before = artefact.stat().st_mtime_ns
    again = augment.run(**selecting)
    assert artefact.stat().st_mtime_ns == before
    pd.testing.assert_frame_equal(result.table, again.table)


@pytest.mark.slow
def test_two_processes_choose_as_one_does(selecting, tmp_path, threads):
    threads(1)
    arms = "real+classic,real+synth,real+classic+synth"
    one = augment.run(**{**selecting, "arm": arms})
    two = augment.run(**{**selecting, "arm": arms, "jobs": 2, "out": tmp_path / "two"})
    columns = ["arm", "accuracy", "share", "validation_accuracy", "signature"]
    pd.testing.assert_frame_equal(one.table[columns], two.table[columns])


def test_folds_are_stratified_and_units_stay_together():
    labels = [0] * 9 + [1] * 6
    units = list(range(15))
    units[1] = units[0]
    units[10] = units[9]
    found = folds(labels, units, 3, "key")
    assert found[0] == found[1]
    assert found[9] == found[10]
    for label, share in ((0, 3), (1, 2)):
        own = [f for f, k in zip(found, labels, strict=True) if k == label]
        assert [own.count(f) for f in range(3)] == [share] * 3
    assert found == folds(labels, units, 3, "key")
    assert found != folds(labels, units, 3, "another key")


def test_class_that_cannot_be_left_out_is_refused(tmp_path, selecting):
    data = bars(6, ("scratch", "fine"))
    images = data.images.clone()
    images[data.labels == 1] = images[data.labels == 1][:1]  # one picture, six times
    root = write_folder(tmp_path / "own", dataclasses.replace(data, images=images))
    (root / "test").mkdir()
    files = sorted(root.glob("fine/*.png"))
    lines = [f"{f.relative_to(root)},fine," for f in files]
    lines += [f"{f.relative_to(root)},scratch," for f in sorted(root.glob("scratch/*.png"))]
    other = write_folder(root / "extra", bars(3, ("scratch", "fine"), seed=9))
    lines += [f"{f.relative_to(root)},{f.parent.name},test" for f in sorted(other.rglob("*.png"))]
    (root / "metadata.csv").write_text("file_name,label,split\n" + "\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=r"--select: class 'fine' has images of one fold alone"):
        augment.run(**{**selecting, "dataset": str(root), "per_class": None})


def test_select_without_a_mixed_arm_is_refused():
    with pytest.raises(UsageError, match="no arm mixes"):
        make_recipe(arm="real,synth", select=True)


def test_dry_run_counts_the_folds(tmp_path):
    from augment.engine.estimate import plan

    recipe = make_recipe(arm=ARMS, generator="cvae", preset="smoke", select=True, seeds=1)
    plain = recipe.model_copy(update={"select": False})
    about = [plan(r, data_dir=None, device="cpu", jobs=1) for r in (plain, recipe)]
    assert about[1]["stages"] == about[0]["stages"] + 3 * 5
    assert json.dumps(about[1])


def test_dataset_keeps_the_groups_of_its_pool(tmp_path):
    root = write_folder(tmp_path / "own", bars(8, ("scratch", "fine")))
    files = sorted(f.relative_to(root).as_posix() for f in root.rglob("*.png"))
    lines = [f"{f},{f.partition('/')[0]},patient {n // 2}" for n, f in enumerate(files)]
    (root / "metadata.csv").write_text("file_name,label,group\n" + "\n".join(lines) + "\n")
    data = load_dataset(str(root))
    group_of = {line.partition(",")[0]: line.rpartition(",")[2] for line in lines}
    assert data.pool_groups == [group_of[file] for file in data.pool_files]
    assert 0 < len(set(data.pool_groups)) < len(data.pool)
