"""The trial's own classifier looks at a synthetic set before it is learnt from."""

import json

import pandas as pd
import pytest
from conftest import SMALL_RUN, bars, write_folder

import augment
from augment.engine.local import Local
from augment.engine.run import execute
from augment.experiment.validation import make_recipe
from augment.generators.cvae import CVAE
from augment.runtime.units import duration

LONGER = {"classifier": {"steps": 150, "batch": 32, "width": 16, "epochs": 0}}


def run(small_run, **changed):
    return augment.run(**{**small_run, "per_class": 10, "set": LONGER, "seeds": 1, **changed})


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Rows of a run of one arm without and one with synthetic images."""
    return run(SMALL_RUN, arm="real,synth", out=tmp_path_factory.mktemp("judge") / "run").table


def test_duplicates_are_called_copies_that_agree(small_run):
    line = run(small_run, generator="duplicate", arm="synth").table.iloc[0]
    assert line["copy_rate"] == 1
    assert line["closer_to_train"] > 0.99
    assert line["agreement"] > 0.9
    assert line["coverage"] > 0.3


def test_noise_is_warned_of_before_its_classifier_is_trained(small_run):
    out = small_run.pop("out")
    recipe = make_recipe(
        **{
            **{k: v for k, v in small_run.items() if k != "jobs"},
            "per_class": 10,
            "set": LONGER,
            "seeds": 1,
            "generator": "noise",
            "arm": ["real+classic", "synth"],
        }
    )
    seen = list(execute(recipe, out=out, data_dir=None, executor=Local("cpu", 1)))
    warned = next(i for i, progress in enumerate(seen) if progress.warning)
    trained = [i for i, p in enumerate(seen) if p.stage == "score" and "synth" in p.cell]
    assert warned < min(trained)
    assert "are taken for the class wanted" in seen[warned].warning
    quality = pd.read_csv(out / "quality.csv")
    assert quality["warning"].tolist() == [seen[warned].warning] * 2
    # a classifier's features can take noise for real images; those of a random network do not
    fixed = quality.set_index("features").loc["random network"]
    assert fixed["precision"] < 0.5 * fixed["precision_floor"]


def test_weak_generator_is_warned_of_with_what_more_training_would_cost(small_run):
    out = small_run.pop("out")
    recipe = make_recipe(
        **{
            **{k: v for k, v in small_run.items() if k != "jobs"},
            "per_class": 10,
            "seeds": 1,
            "arm": "synth",
            "set": {**LONGER, "generator": {"steps": 4}},
        }
    )
    seen = execute(recipe, out=out, data_dir=None, executor=Local("cpu", 1))
    (said,) = [progress.warning for progress in seen if progress.warning]
    about = json.loads(next(out.glob("artefacts/generator/*/about.json")).read_text())
    assert about["images_seen"] == 4 * CVAE(**CVAE.presets["smoke"]).batch
    assert f"cvae saw {about['images_seen']:,} images in its training, repeats counted" in said
    cost = f"; ten times the steps would take about {duration(10 * about['seconds'])}"
    assert said.endswith(cost)
    # tables of two equal runs are equal, so no time is in them
    assert pd.read_csv(out / "quality.csv")["warning"].tolist() == [said.removesuffix(cost)] * 2


def test_judge_is_the_classifier_of_the_baseline_cell_and_scores_no_test_image(small_run, tmp_path):
    both = run(small_run, arm="real+classic,synth")
    alone = run(small_run, arm="synth", out=tmp_path / "alone")

    def made(folder, kind):
        return {path.name for path in (folder / "artefacts" / kind).iterdir()}

    assert made(both.path, "classifier") == made(alone.path, "classifier")
    # the judge's, those of the halves of the labelled images, and that of the cell
    assert len(made(alone.path, "classifier")) == 4
    assert made(alone.path, "score") == {alone.table.iloc[0]["signature"]}
    assert len(made(both.path, "score")) == 2
    pd.testing.assert_series_equal(
        both.table.iloc[1].drop(
            ["run", "generator_seconds", "sample_seconds", "classifier_seconds", "peak_memory_mb"]
        ),
        alone.table.iloc[0].drop(
            ["run", "generator_seconds", "sample_seconds", "classifier_seconds", "peak_memory_mb"]
        ),
        check_names=False,
    )


def test_measures_of_images_without_a_rest_name_their_reference(small_run, tmp_path):
    pictures = write_folder(tmp_path / "pictures", bars(20))
    found = run(small_run, dataset=str(pictures), per_class=None, arm="synth")
    quality = pd.read_csv(found.path / "quality.csv")
    assert set(quality["against"]) == {"labelled, by halves"}
    assert quality["closer_to_train"].isna().all()
    assert quality["copy_rate_floor"].between(0, 0.2).all()
    (of_halves,) = set(quality["agreement"])
    assert found.table["agreement"].tolist() == [of_halves]


@pytest.mark.parametrize("column", ["agreement", "kid", "fd", "density", "recall"])
def test_arms_without_synthetic_images_have_no_measure(table, column):
    assert table[column].isna().tolist() == [True, False]
