"""Which images were tested: how much of a difference that can be, from stored predictions."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import bars, write_folder
from safetensors.numpy import load_file
from safetensors.torch import save_file

import augment
from augment.engine.finish import finish_run
from augment.errors import RunFolderError
from augment.experiment.results_table import ERROR_COLUMNS, read_results
from augment.metrics.classification import BALANCED
from augment.metrics.intervals import unit_variance
from augment.metrics.paired import paired_contrast
from augment.report.baselines import units_of
from augment.report.comparison import compare_tables
from augment.report.measured import MEASURE_READERS
from augment.report.run_outputs import write_outputs
from augment.report.test_set_error import unit_scores, units_of_test_set, with_test_set_error
from augment.storage.artifacts import Store
from augment.storage.tables import write_csv

FAST = {"generator": {"steps": 4}, "classifier": {"steps": 6, "epochs": 0}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    learnt = {**FAST, "classifier": {"steps": 60, "epochs": 0}}
    return augment.run(
        dataset="digits",
        per_class=5,
        generator="noise",
        seeds=3,
        preset="smoke",
        set=learnt,
        out=tmp_path_factory.mktemp("tested") / "run",
        jobs=1,
    )


def hits(run, arm):
    """Whether each test image was recognised, a row a trial: [trials, images]."""
    cells = run.table[run.table["arm"] == arm].sort_values("seed")
    places = [Store(run.path).path("score", sig) for sig in cells["signature"]]
    tensors = [load_file(place / "predictions.safetensors") for place in places]
    return np.stack([(t["labels"] == t["predicted"]).astype(float) for t in tensors])


def test_error_of_each_arm_is_that_of_its_predictions(run):
    table = read_results(run.path / "results.csv")
    pd.testing.assert_series_equal(table["se_test_images"], run.table["se_test_images"])
    pairs = run.summary.set_index("arm")["against"].loc[
        ["real+classic", "real+synth", "real+classic+synth"]
    ]
    errors = {arm: unit_variance(hits(run, arm) - hits(run, base)) for arm, base in pairs.items()}
    for arm, error in errors.items():
        found = table.loc[table["arm"] == arm, list(ERROR_COLUMNS)]
        wanted = [error.se, error.sd_interaction, error.number, 1, np.nan]
        assert found.to_numpy() == pytest.approx(np.array([wanted] * 3), nan_ok=True)
        assert error.number == hits(run, arm).shape[1]
    assert table.loc[table["arm"] == "real", "se_test_images"].isna().all()


def test_error_of_the_decisive_arm_is_against_the_better_baseline(run):
    table = run.table.copy()
    table.loc[table["arm"] == "real+classic", "accuracy"] = 0.01
    filled = with_test_set_error(run.path, table).set_index("arm")["se_test_images"]
    wanted = unit_variance(hits(run, "real+classic+synth") - hits(run, "real"))
    assert filled["real+classic+synth"].tolist() == pytest.approx([wanted.se] * 3)


def test_report_is_made_without_writing_results(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run.path, folder)
    (folder / "results.csv").unlink()
    (folder / "table.md").unlink()
    write_outputs(folder, run.table)
    assert (folder / "table.md").read_text() == (run.path / "table.md").read_text()
    assert not (folder / "results.csv").exists()


def test_table_has_the_wider_interval_and_says_so(run):
    line = run.summary.set_index("arm").loc["real+classic"]
    scores = [hits(run, arm).mean(1).tolist() for arm in ("real+classic", "real")]
    wanted = paired_contrast(*scores, units=units_of(pd.DataFrame([line])))
    assert (line["low"], line["high"]) == pytest.approx((wanted.low, wanted.high))
    for name in ("table.md", "report.html"):
        assert "for new test images of the same kind" in (run.path / name).read_text()


def test_two_runs_are_compared_with_the_error_of_their_test_set(run):
    alone = compare_tables(run.table, run.table).set_index("arm")
    assert alone["se_test_images"].isna().all()
    flat = compare_tables(run.table, run.table, (run.path, run.path)).set_index("arm")
    n = hits(run, "real").shape[1]
    # a run and itself: of n images none differs, so that three may
    assert flat["se_test_images"].tolist() == pytest.approx([3 / 1.96 / n] * len(flat), rel=1e-4)
    assert set(flat["verdict"]) == {"equal"}
    assert flat["high"].min() >= 3 / n


def test_units_are_groups_and_equal_pictures(tmp_path):
    write_csv(
        tmp_path / "manifest.csv",
        pd.DataFrame(
            [
                {"dataset": "d", "sha256": sha, "group": group, "split": split}
                for sha, group, split in (
                    ("a", "p", "test"),
                    ("x", "p", "labelled"),
                    ("b", "", "test"),
                    ("c", "p", "test"),
                    ("b", "", "test"),
                    ("d", "q", "test"),
                )
            ]
        ),
    )
    assert units_of_test_set(tmp_path)["d"].tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("balanced", [False, True])
def test_what_units_add_has_the_score_as_its_mean(tmp_path, balanced):
    labels, predicted = torch.tensor([0, 0, 0, 0, 2, 2]), torch.tensor([0, 0, 1, 0, 2, 0])
    save_file({"labels": labels, "predicted": predicted}, tmp_path / "predictions.safetensors")
    measure = MEASURE_READERS[BALANCED if balanced else "accuracy"]
    found = unit_scores(tmp_path, np.array([0, 1, 1, 2, 2, 0]), measure)
    assert len(found) == 3
    assert found.mean() == pytest.approx((3 / 4 + 1 / 2) / 2 if balanced else 4 / 6)


def test_images_of_a_patient_stand_in_the_manifest_as_one_group(tmp_path):
    root = write_folder(tmp_path / "pictures", bars(12))
    files = sorted(p.relative_to(root) for p in root.rglob("*.png"))
    lines = [
        {"file_name": str(f), "label": f.parent.name, "group": f"p{i // 3}"}
        for i, f in enumerate(files)
    ]
    pd.DataFrame(lines).to_csv(root / "metadata.csv", index=False)
    out = tmp_path / "run"
    augment.run(dataset=str(root), arm="real", seeds=1, preset="smoke", set=FAST, out=out, jobs=1)
    (units,) = units_of_test_set(out).values()
    listed = pd.read_csv(out / "manifest.csv")
    tested = listed[listed["split"] == "test"]
    assert 1 < len(set(units)) == tested["group"].nunique() < len(tested)


def test_one_patient_in_the_test_set_is_unknown(tmp_path):
    root = write_folder(tmp_path / "pictures", bars(12))
    files = sorted(p.relative_to(root) for p in root.rglob("*.png"))
    lines = [
        {"file_name": str(f), "label": f.parent.name, "split": split, "group": split[:2] + str(i)}
        for i, f in enumerate(files)
        for split in ["train" if i % 3 else "test"]
    ]
    for line in lines:
        line["group"] = "p" if line["split"] == "test" else line["group"]
    pd.DataFrame(lines).to_csv(root / "metadata.csv", index=False)
    out = tmp_path / "run"
    arms = ["real", "real+classic"]
    run = augment.run(
        dataset=str(root), arm=arms, seeds=3, preset="smoke", set=FAST, out=out, jobs=1
    )
    classic = run.table[run.table["arm"] == "real+classic"]
    assert classic["test_units"].tolist() == [1, 1, 1]
    assert classic["se_test_images"].isna().all()
    assert "All test images are of one group" in (out / "table.md").read_text()


def test_each_number_of_trials_is_one_look(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run.path, folder)
    table = read_results(folder / "results.csv")
    assert finish_run(folder, table)["looks"].tolist() == [1] * len(table)  # the same three again
    fewer = table[table["seed"] < 2]
    assert set(finish_run(folder, fewer)["looks"]) == {1}  # two have no verdict to look at
    more = pd.concat([table, table[table["seed"] == 2].assign(seed=3)], ignore_index=True)
    assert set(finish_run(folder, more)["looks"]) == {2}
    assert set(finish_run(folder, more)["looks"]) == {2}
    assert "This is look 2 at a growing number of trials" in (folder / "table.md").read_text()
    assert set(read_results(folder / "results.csv")["looks"]) == {2}
    (folder / "looks.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"looks.json is damaged: delete it"):
        finish_run(folder, more)
