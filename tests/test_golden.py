"""Signatures are those of 0.3.0, so that a run folder of before goes on and shares its artefacts.

Only those that hang on settings and data alone: others follow from the bits of a processor. Those
of `ddpm` are newer: with its setting `whitening` it draws other images, and trains again.
"""

from pathlib import Path

import pytest

from augment.data.datasets import load_dataset
from augment.experiment.cells import expand
from augment.experiment.context import RunContext, Trial
from augment.experiment.records import QualityRecord
from augment.experiment.sampling import synthetic_record
from augment.experiment.stages import classifier_record, classifier_set, generator_record
from augment.experiment.validation import make_recipe, read_recipe
from augment.storage.artifacts import Store

SMOKE = Path(__file__).resolve().parents[1] / "pipelines/smoke.toml"
KNOWN = {  # (seed, generator): signatures of the generator, its synthetic set, its quality
    (0, "cvae"): ("c635e57fd5fa7818", "e7c24e436590b0dd", "596574a4443d7b98"),
    (0, "ddpm"): ("d19296b8f5461b34", "288119c5c04e3679", "0ab66d9ef0aee828"),
    (1, "cvae"): ("30c557a0a84b8ad0", "025d1270794b905b", "61dba367f6c04044"),
    (1, "ddpm"): ("6d6980f53ae94a0f", "c5b836d4182e09d1", "f7883dfbf98fe97f"),
}
SCORES = {
    ("real", 0): "40c57bf7945f8be6",
    ("real+classic", 0): "9085075736b0100b",
    ("real", 1): "f1ae58eb8741eed8",
    ("real+classic", 1): "da6b59fe73b5bb64",
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


def test_scores_of_labelled_images_keep_their_signatures(trials):
    plain = [trial for trial in trials if not trial.cell.generator]
    found = {(t.cell.arm, t.cell.seed): score_signature(t) for t in plain}
    assert found == SCORES


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
