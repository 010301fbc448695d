"""Detection end to end: one command on pictures with boxes, with the engine of classification."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from boxed_digits import boxes_of, digits_on_canvas
from PIL import Image
from typer.testing import CliRunner

import augment
from augment.cli.app import app
from augment.engine.estimate import plan
from augment.errors import UsageError
from augment.experiment.cells import expand
from augment.experiment.composing import GENERATED, PASTED
from augment.experiment.context import RunContext, SyntheticSet, Trial
from augment.experiment.dataset_cache import DatasetCache
from augment.experiment.detection import compose, crop_trial, load_pictures
from augment.experiment.filters import Evidence
from augment.experiment.recipe import DETECTION_ARMS
from augment.experiment.records import ScoreResult
from augment.experiment.results_table import BOX_SCORES, SCORES, read_results
from augment.experiment.task_choice import with_task
from augment.experiment.validation import make_recipe
from augment.metrics.matching import Matches
from augment.report.export import ExportRequest, export_images
from augment.runtime.device import pick_device
from augment.runtime.steps import run_to_end
from augment.storage.artifacts import Store


@pytest.fixture(scope="module")
def finished(boxed_settings, tmp_path_factory):
    """A run of the usual arms in two trials."""
    out = tmp_path_factory.mktemp("run") / "run"
    return augment.run(**boxed_settings, seeds=2, out=out, jobs=1, device="cpu")


def test_a_folder_with_boxes_is_run_in_the_arms_of_detection(finished):
    table = finished.table
    assert finished.failed == 0
    assert table["arm"].tolist() == 2 * list(DETECTION_ARMS)
    assert table["measure"].eq("mAP").all()
    assert table[list(SCORES)].isna().all().all()
    assert table[list(BOX_SCORES)].notna().all().all()
    assert table["map"].between(0, 1).all()
    assert table["steps"].nunique() == 1  # equal budget
    pd.testing.assert_frame_equal(
        read_results(finished.path / "results.csv")[["arm", "map"]], table[["arm", "map"]]
    )


def test_arms_are_paired_with_what_costs_nothing(finished):
    summary = finished.summary.set_index("arm")
    assert summary["against"].to_dict() == {
        "real": "",
        "real+classic": "real",
        "real+copypaste": "real+classic",
        "real+classic+synth": "real+classic",
        "real+copypaste+synth": "real+copypaste",
    }
    assert summary["se_test_images"].notna().sum() == 4


def test_scores_follow_from_the_stored_detections(finished):
    row = finished.table.iloc[0]
    score = Store(finished.path).path("score", row["signature"])
    matches = Matches.load(score / "predictions.safetensors")
    assert matches.n_true.sum() == sum(
        int(n.split()[0])
        for label in pd.read_csv(finished.path / "manifest.csv").query("split == 'test'")["label"]
        for n in label.split(", ")
    )
    assert ScoreResult.read(score).map == row["map"]


def test_a_run_leaves_table_report_and_sheets_in_words_of_detection(finished):
    text = (finished.path / "table.md").read_text()
    assert "mAP %" in text
    assert "accuracy %" not in text
    page = (finished.path / "report.html").read_text()
    assert "with their boxes as COCO and YOLO in one folder" in page
    assert "The same detector was trained" in page
    assert "The pictures with their boxes" in page
    assert "Confusion" not in page
    names = [file.name for file in (finished.path / "samples").iterdir()]
    for sheet in ("boxes-", "composed-", "worst-", "real-"):
        assert any(name.startswith(sheet) for name in names), sheet
    classes = pd.read_csv(finished.path / "per_class.csv")
    assert {"ap", "ap50", "precision", "recall"} <= set(classes.columns)
    assert set(pd.read_csv(finished.path / "class_changes.csv")["class"].astype(str)) == {"0", "1"}


def test_arms_of_a_trial_add_equally_many_pictures_of_the_labelled_ones(finished):
    store = Store(finished.path)
    made = {
        row["arm"]: load_pictures(store.path("pictures", result.pictures))
        for row in finished.table.query("seed == 0").to_dict("records")
        if (result := ScoreResult.read(store.path("score", row["signature"]))).pictures
    }
    assert sorted(made) == ["real+classic+synth", "real+copypaste", "real+copypaste+synth"]
    n = int(finished.table["n_labelled"].iloc[0])
    assert len(made["real+classic+synth"].images) == 2 * n
    origins = {arm: set(m.origins.unique().tolist()) for arm, m in made.items()}
    assert origins["real+copypaste"] <= {0, 1}
    assert origins["real+classic+synth"] <= {0, 2}


def test_generated_objects_are_pasted_as_far_as_they_are_trusted(boxed_settings, tmp_path):
    settings = boxed_settings | {"generator": "noise", "share": 0.5}
    data, context = DatasetCache(None), RunContext(Store(tmp_path), pick_device("cpu"), "fp32", 0)
    recipe = with_task(make_recipe(**settings, seeds=1).resolved("cpu"), data)
    cells = {cell.arm: cell for cell in expand(recipe)}
    trial = Trial.prepare(cells["real+copypaste+synth"], data.of(cells["real"]), context)
    objects = crop_trial(trial)
    rng = torch.Generator().manual_seed(0)
    images = objects.labelled.select(torch.arange(len(objects.labelled)))
    images.images.random_(generator=rng)
    nothing, plain = torch.zeros(len(images)), trial.of(cells["real+copypaste"])
    baseline = load_pictures(run_to_end(compose(plain, None)).path)
    shares = {}
    for trust in (0.0, 0.5, 1.0):
        evidence = Evidence(images.labels, torch.ones(len(images), 2), nothing, nothing > 0, trust)
        synthetic = SyntheticSet(tmp_path, tmp_path, images, evidence, len(images))
        made = load_pictures(run_to_end(compose(trial, synthetic)).path)
        counts = made.origins.flatten().long().bincount(minlength=3)
        shares[trust] = float(counts[GENERATED] / counts[PASTED:].sum())
        if not trust:  # the baseline, to the bit
            assert torch.equal(made.images.images, baseline.images.images)
            assert torch.equal(made.images.labels, baseline.images.labels)
    assert shares[0.0] == 0
    assert shares[0.5] == pytest.approx(0.25, abs=0.1)
    assert shares[1.0] == pytest.approx(0.5, abs=0.1)


def test_a_finished_run_is_resumed_without_work_and_exported_with_boxes(finished, tmp_path):
    before = {f: f.stat().st_mtime_ns for f in (finished.path / "artefacts").rglob("about.json")}
    done = CliRunner().invoke(app, ["resume", str(finished.path), "--jobs", "1"])
    assert done.exit_code == 0, done.output
    assert {f: f.stat().st_mtime_ns for f in before} == before
    found = export_images(finished.path, tmp_path / "out", ExportRequest(), None)
    coco = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    assert len(coco["images"]) == found["real"] + found["synthetic"]
    synthetic = [box["synthetic"] for box in coco["annotations"]]
    assert any(synthetic)
    assert not all(synthetic)
    card = (tmp_path / "out/README.md").read_text()
    assert "Two layouts in one folder" in card
    assert "their boxes are where\n  they were placed; nobody looked at them" in card
    with pytest.raises(UsageError, match="--format is for images with classes"):
        export_images(finished.path, tmp_path / "npz", ExportRequest(format="npz"), None)


def test_labelled_pictures_are_exported_at_their_own_size_with_their_own_boxes(finished, tmp_path):
    export_images(finished.path, tmp_path / "out", ExportRequest(original_size=True), None)
    coco = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    names = {each["id"]: each["name"] for each in coco["categories"]}
    drawn = digits_on_canvas(40, side=64, seed=3, classes=2)
    for image in coco["images"]:
        size = image["width"], image["height"]
        boxes = [each for each in coco["annotations"] if each["image_id"] == image["id"]]
        if image["source"] == "synthetic":
            assert size == (128, 128)
            continue
        k = int(image["original"][-7:-4])
        assert size == (64, 64)
        with Image.open(tmp_path / "out/images/train" / image["file_name"]) as picture:
            assert picture.size == size
        found = [(names[each["category_id"]], *each["bbox"]) for each in boxes]
        assert sorted(found) == sorted(
            (drawn.classes[int(label)], x0, y0, x1 - x0, y1 - y0)
            for label, x0, y0, x1, y1 in boxes_of(drawn, k)
        )
    assert "synthetic ones are all 128×128 pixels" in (tmp_path / "out/README.md").read_text()


def test_no_test_picture_reaches_the_generators_trial(boxed_settings, tmp_path):
    data = DatasetCache(None)
    recipe = with_task(make_recipe(**boxed_settings, seeds=1).resolved("cpu"), data)
    cell = next(c for c in expand(recipe) if c.generator)
    context = RunContext(Store(tmp_path), pick_device("cpu"), "fp32", 0)
    trial = Trial.prepare(cell, data.of(cell), context)
    objects = crop_trial(trial)
    assert len(objects.data.test) == 0
    assert len(objects.labelled) == int(trial.labelled.counts().sum())
    groups = np.array(objects.data.pool_groups)
    labelled = set(groups[objects.indices.numpy()])
    rest = np.delete(groups, objects.indices.numpy())
    assert not labelled & set(rest)  # crops of one picture stay on one side


@pytest.mark.parametrize("placing", ["paste", "vary"])
def test_placing_is_a_dimension_of_the_matrix(boxed_settings, placing):
    recipe = with_task(
        make_recipe(**boxed_settings, placing=placing).resolved("cpu"), DatasetCache(None)
    )
    placed = {cell.use.placing for cell in expand(recipe) if cell.generator}
    assert placed == {placing}


def test_dry_run_estimates_a_detection_without_writing(boxed_settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = plan(make_recipe(**boxed_settings, seeds=1), data_dir=None, device="cpu", jobs=1)
    assert len(found["cells"]) == len(DETECTION_ARMS)
    assert found["estimated_seconds"] >= 0
    # five detectors, the pictures of three, and what makes and judges the crops
    assert found["stages"] == 5 + 3 + 4
    assert not list(tmp_path.iterdir())


def test_dry_run_counts_the_composed_pictures(boxed_settings):
    few, many = (
        plan(
            make_recipe(**boxed_settings | {"ratio": ratio, "arm": "real+classic+synth"}, seeds=1),
            data_dir=None,
            device="cpu",
            jobs=1,
        )
        for ratio in (2, 200)
    )
    megabytes = 12 * 198 * 128 * 128 / 1e6
    assert many["disk_mb"] - few["disk_mb"] >= megabytes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (dict(arm="real+mixup"), "unknown arm for a data set with boxes"),
        (dict(mixing="soft"), "unknown --mixing for a data set with boxes"),
        (
            dict(task="detect", arm="real+mix"),
            "valid are real, real.classic, real.copypaste, real.classic.synth, "
            "real.copypaste.synth, real.synth, synth$",
        ),
        (dict(detector="yolo"), "unknown detector"),
        (dict(placing="glue"), "unknown placing"),
        (dict(task="segment"), "unknown --task"),
    ],
)
def test_settings_that_do_not_suit_boxes_are_refused(boxed_settings, given, words):
    with pytest.raises(UsageError, match=words):
        with_task(make_recipe(**{**boxed_settings, **given}).resolved("cpu"), DatasetCache(None))


@pytest.mark.parametrize(
    "given", [dict(arm="real+copypaste"), dict(placing="vary"), dict(detector="centernet")]
)
def test_settings_of_detection_are_refused_where_classes_are_learnt(given):
    with pytest.raises(UsageError, match="is for data sets with boxes"):
        with_task(make_recipe(**given).resolved("cpu"), DatasetCache(None))


def test_boxes_and_classes_are_not_compared_in_one_run(boxed_folder):
    recipe = make_recipe(dataset=["digits", str(boxed_folder)])
    with pytest.raises(UsageError, match="compare them in two runs"):
        with_task(recipe.resolved("cpu"), DatasetCache(None))


def test_advise_and_check_tell_of_boxes(boxed_folder, tmp_path):
    refused = CliRunner().invoke(
        app, ["advise", str(boxed_folder), "--budget", "1m", "--out", str(tmp_path / "run")]
    )
    assert isinstance(refused.exception, UsageError)
    assert "--select --share 0.25,0.5 --placing paste,vary finds out" in str(refused.exception)
    checked = CliRunner().invoke(app, ["check", str(boxed_folder), "--task", "detect", "--json"])
    assert json.loads(checked.output)["pool_boxes_by_class"]
