"""Signatures of generators and synthetic sets are those of 0.3.0: a run folder of before goes on.

Those of classifiers, scores and measures are not: 0.3.0 drew the batches of classifiers otherwise,
and measured against images that the judge had learnt. Those of `ddpm` are newer too: with its
setting `whitening` it draws other images, and trains again.
Only those that hang on settings and data alone: others follow from the bits of a processor.
"""

import dataclasses
from pathlib import Path

import pytest

from augment.data.datasets import load_dataset
from augment.experiment.cells import expand
from augment.experiment.context import RunContext, Trial
from augment.experiment.records import GeneratorRecord, QualityRecord
from augment.experiment.sampling import synthetic_record
from augment.experiment.stages import classifier_record, classifier_set, generator_record
from augment.experiment.validation import make_recipe, read_recipe
from augment.generators.blocks import generator_edition
from augment.storage.artifacts import Store

SMOKE = Path(__file__).resolve().parents[1] / "pipelines/smoke.toml"
OF_0_3_0 = {  # (arm, seed): signatures of scores
    ("real", 0): "40c57bf7945f8be6",
    ("real+classic", 0): "9085075736b0100b",
    ("real", 1): "f1ae58eb8741eed8",
    ("real+classic", 1): "da6b59fe73b5bb64",
}
KNOWN = {  # (seed, generator): signatures of the generator, its synthetic set, its quality
    (0, "cvae"): ("c635e57fd5fa7818", "e7c24e436590b0dd", "7cb47b2c61507da7"),
    (0, "ddpm"): ("d19296b8f5461b34", "288119c5c04e3679", "71a055d5722a8e06"),
    (1, "cvae"): ("30c557a0a84b8ad0", "025d1270794b905b", "1ac021079aba0303"),
    (1, "ddpm"): ("6d6980f53ae94a0f", "c5b836d4182e09d1", "bc50df786f276267"),
}
SCORES = {
    ("real", 0): "ea10e9759dd46d76",
    ("real+classic", 0): "f09076e058c1b12c",
    ("real", 1): "ce71c63619b97f3b",
    ("real+classic", 1): "194441d377681c36",
}


@pytest.fixture(scope="module")
def trials():
    recipe = make_recipe(**read_recipe(SMOKE)).resolved("cpu")
    data = load_dataset("digits")
    context = RunContext(Store(Path()), None, "fp32", 0)  # nothing is run
    return [Trial.prepare(cell, data, context) for cell in expand(recipe)]


def score_signature(trial):
    record = classifier_record(trial, classifier_set(trial, None), None, "fp32")
    return record.scored_on(trial.data.test.sha).signature


def test_scores_of_labelled_images_have_signatures_of_their_own_since_batches_repeat(trials):
    plain = [trial for trial in trials if not trial.cell.generator]
    found = {(t.cell.arm, t.cell.seed): score_signature(t) for t in plain}
    assert found == SCORES
    assert not {*found.values()} & {*OF_0_3_0.values()}  # never mixed in one table


def test_generators_synthetic_sets_and_measures_keep_their_signatures(trials):
    found = {}
    for trial in (trial for trial in trials if trial.cell.arm == "synth"):
        model = generator_record(trial, "fp32").signature
        synthetic = synthetic_record(trial.cell, model).signature
        quality = QualityRecord(
            synthetic=synthetic, judge=score_signature(trial.baseline), data=trial.data.sha
        )
        found[trial.cell.seed, trial.cell.generator] = model, synthetic, quality.signature
    assert found == KNOWN


@pytest.mark.parametrize(("side", "edition"), [(32, None), (33, 2), (128, 2)])
def test_generators_of_larger_images_are_trained_again(side, edition):
    assert generator_edition((1, side, 20)) == edition
    record = GeneratorRecord(
        labelled="a", seed=0, generator="ddpm", settings={}, classic="none", precision="fp32"
    )
    newer = dataclasses.replace(record, edition=edition)
    assert (newer.signature == record.signature) == (edition is None)
