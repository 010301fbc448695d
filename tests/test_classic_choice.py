"""--classic select: the kind of classic transforms is chosen inside the labelled images."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMOKE, bars, with_other_test_images, write_folder
from test_folder import noted

import augment
from augment.data.check import inspect
from augment.data.images import LabelledImages
from augment.data.layouts.direction_names import MIRRORING
from augment.engine.estimate import plan
from augment.engine.scheduling import stage_keys
from augment.errors import UsageError
from augment.experiment.cells import expand
from augment.experiment.classic_choice import kinds_for
from augment.experiment.context import RunContext, Trial
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.validation import make_recipe
from augment.runtime.device import pick_device
from augment.storage.artifacts import Store
from augment.storage.tables import read_csv
from augment.transforms.geometric import CLASSIC

LONGER = {"steps": 40, "batch": 16, "width": 8}


def halves(n_per_class=16, classes=("one", "two")):
    """Colour pictures that are bright on the left in one class and on the right in the other."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 60, (2 * n_per_class, 3, 8, 8), generator=rng)
    images[:n_per_class, :, :, :3] += 150
    images[n_per_class:, :, :, 5:] += 150
    labels = torch.arange(2 * n_per_class) // n_per_class
    return LabelledImages(images.to(torch.uint8), labels, classes)


@pytest.fixture
def choosing(small_run, tmp_path):
    """Keyword arguments of a run that chooses, on pictures that must not be mirrored."""
    return {
        **small_run,
        "dataset": str(write_folder(tmp_path / "own", halves())),
        "per_class": 10,
        "arm": ["real", "real+classic"],
        "classic": "select",
        "folds": 2,
        "set": {"classifier": LONGER},
    }


def test_kind_that_makes_one_class_of_another_is_not_chosen(choosing):
    result = augment.run(**choosing)
    table = read_csv(result.path / "classic.csv", ("classic",))
    assert table["classic"].tolist() == ["natural", "document", "any-orientation", "none"] * 2
    assert table.groupby("seed")["chosen"].sum().tolist() == [1, 1]
    assert not set(table[table["chosen"]]["classic"]) & {*MIRRORING}
    least = table.loc[table.groupby("seed")["loss"].idxmin()]
    assert least["chosen"].all()
    assert (table["n"] == 20).all()
    rows = result.table[result.table["arm"] == "real+classic"]
    assert rows["classic"].tolist() == least["classic"].tolist()
    assert (result.table["classic_candidates"] == 4).all()
    assert set(result.table[result.table["arm"] == "real"]["classic"]) == {"none"}


def test_report_says_what_was_chosen_in_how_many_trials(choosing):
    result = augment.run(**choosing)
    chosen = result.table[result.table["arm"] == "real+classic"]["classic"]
    counted = ", ".join(f"{kind} ({n})" for kind, n in chosen.value_counts().items())
    sentence = f"cross-validation on its labelled images (number of trials): {counted}."
    assert set(result.summary["classic_chosen"]) == {counted}
    assert sentence in (result.path / "table.md").read_text()
    assert sentence in (result.path / "report.html").read_text()


def test_what_follows_has_the_signatures_of_the_kind_given(choosing, tmp_path):
    chosen = augment.run(**{**choosing, "seeds": 1})
    kind = chosen.table.set_index("arm")["classic"]["real+classic"]
    given = augment.run(**{**choosing, "seeds": 1, "classic": kind, "out": tmp_path / "given"})
    assert chosen.table["signature"].tolist() == given.table["signature"].tolist()
    assert chosen.table["accuracy"].tolist() == given.table["accuracy"].tolist()
    assert given.table["classic_candidates"].isna().all()
    assert set(given.summary["classic_chosen"]) == {""}


def test_choice_is_made_once_for_all_arms_and_kept(choosing):
    arms = ["real+classic", "real+classic+synth", "synth"]
    settings = {**choosing, "seeds": 1, "arm": arms, "set": {**SMOKE, "classifier": LONGER}}
    result = augment.run(**settings)
    (artefact,) = (result.path / "artefacts/classic").iterdir()
    before = (artefact / "about.json").stat().st_mtime_ns
    pd.testing.assert_frame_equal(augment.run(**settings).table, result.table)
    assert (artefact / "about.json").stat().st_mtime_ns == before
    assert result.failed == 0


def test_test_images_and_labels_do_not_change_the_choice(choosing, tmp_path, monkeypatch):
    first = augment.run(**choosing)
    with_other_test_images(monkeypatch)
    second = augment.run(**{**choosing, "out": tmp_path / "second"})
    assert first.table["accuracy"].tolist() != second.table["accuracy"].tolist()
    pd.testing.assert_frame_equal(*(read_csv(r.path / "classic.csv") for r in (first, second)))


def test_select_and_classic_select_go_together(choosing):
    settings = {**choosing, "seeds": 1, "select": True, "arm": ["real+classic+synth"]}
    result = augment.run(**settings | {"set": {**SMOKE, "classifier": LONGER}})
    (row,) = result.table.to_dict("records")
    assert (row["status"], row["candidates"], row["classic_candidates"]) == ("ok", 2, 4)
    assert row["classic"] not in MIRRORING
    assert (result.path / "selection.csv").is_file()


def test_kinds_are_all_but_those_that_the_names_of_classes_rule_out(tmp_path):
    for classes, expected in (
        (("one", "two"), ["natural", "document", "any-orientation", "none"]),
        (("left", "right"), ["document", "none"]),
    ):
        root = write_folder(tmp_path / classes[0], halves(classes=classes))
        recipe = make_recipe(dataset=str(root), classic="select").resolved("cpu")
        cell = expand(recipe)[0]
        context = RunContext(Store(tmp_path), pick_device("cpu"), "fp32", 0)
        trial = Trial.prepare(cell, DatasetCache(None).of(cell), context)
        assert kinds_for(trial) == expected
    assert len(CLASSIC) == 4


def test_cells_are_as_before_unless_the_kind_is_to_be_chosen():
    plain, chosen = (
        expand(make_recipe(seeds=1, classic=kind, folds=5).resolved("cpu"))
        for kind in ("auto", "select")
    )
    assert {cell.folds for cell in plain} == {0}
    assert {cell.folds for cell in chosen} == {5}
    real = chosen[0]
    assert real.generator is None
    assert len(stage_keys(real)) == 1  # the choice, which one cell of a trial makes
    assert all(stage_keys(real) <= stage_keys(cell) for cell in chosen)
    assert stage_keys(plain[0]) == set()


def test_class_that_cannot_be_left_out_in_part_is_refused(choosing, tmp_path):
    data = bars(6, ("scratch", "fine"))
    images = data.images.clone()
    images[data.labels == 1] = images[data.labels == 1][:1]  # one picture, six times
    arrays = {"train_images": images[:, 0].numpy(), "train_labels": data.labels.numpy()}
    other = bars(3, ("scratch", "fine"), seed=9)
    arrays |= {"test_images": other.images[:, 0].numpy(), "test_labels": other.labels.numpy()}
    np.savez(tmp_path / "set.npz", classes=np.array(["scratch", "fine"]), **arrays)
    settings = {**choosing, "dataset": str(tmp_path / "set.npz"), "per_class": None}
    with pytest.raises(UsageError, match=r"--classic select: class 'fine' .* leave --classic sel"):
        augment.run(**settings)


def test_dry_run_counts_the_folds():
    recipe = make_recipe(arm="real,real+classic", preset="smoke", classic="select", seeds=2)
    given = recipe.model_copy(update={"classic": "document"})
    found = [plan(r, data_dir=None, device="cpu", jobs=1) for r in (given, recipe)]
    assert found[1]["stages"] == found[0]["stages"] + 2 * recipe.folds * len(CLASSIC)


def test_guess_that_own_pictures_may_be_mirrored_is_told_with_the_flag(tmp_path):
    colour = str(write_folder(tmp_path / "colour", halves()))
    grey = str(write_folder(tmp_path / "grey", bars(12)))
    said = ("the default transforms (natural) mirror", "--classic select")
    assert noted(inspect(colour)["warnings"], *said)
    assert not noted(inspect(grey)["warnings"], "default transforms")
    assert not noted(inspect("digits")["warnings"], "default transforms")
    for classic, told in (("auto", True), ("select", False), ("document", False)):
        recipe = make_recipe(dataset=colour, classic=classic, arm="real", seeds=1)
        notes = plan(recipe, data_dir=None, device="cpu", jobs=1)["notes"]
        assert noted(notes, *said) == told
