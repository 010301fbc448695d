"""Floors come from real images that the judge has not learnt."""

import dataclasses
import json

import pytest
import torch
from conftest import bars

from augment.data.datasets import load_dataset
from augment.data.images import LabelledImages
from augment.data.split import Dataset
from augment.data.subset import labelled_subset
from augment.experiment.cells import expand
from augment.experiment.context import RunContext, Trial
from augment.experiment.quality import assess
from augment.experiment.real_images import reference, unlabelled_images
from augment.experiment.records import QualityResult
from augment.experiment.sampling import synthesise
from augment.experiment.stages import fit_generator
from augment.experiment.unseen import copied_by_chance, judges
from augment.experiment.validation import make_recipe
from augment.generators import GENERATORS
from augment.generators.controls import Duplicate
from augment.runtime.steps import run_to_end
from augment.storage.artifacts import Store

CLASSIFIER = {"steps": 160, "batch": 32, "width": 8, "epochs": 0}


class Unseen(Duplicate):
    """Returns real images that nobody labelled."""

    source: LabelledImages

    def prepare(self, data, **settings):
        super().prepare(self.source, **settings)


def digits(n, groups=False):
    """All of n digits a class labelled, and the others of the pool, which are none of its pool."""
    data = load_dataset("digits")
    first = labelled_subset(data.pool, per_class=n, seed=0)
    rest = torch.ones(len(data.pool), dtype=torch.bool)
    rest[first] = False
    names = [f"patient {i // 2}" for i in range(len(first))] if groups else []
    own = dataclasses.replace(data, pool=data.pool.select(first), pool_files=[], pool_groups=names)
    return own, data.pool.select(rest)


def trial_of(data, folder, cpu, generator="duplicate", **settings):
    recipe = make_recipe(
        **{
            **dict(dataset="digits", generator=generator, arm="synth", preset="smoke", seeds=1),
            **dict(frac=1.0, ratio=5, set={"classifier": CLASSIFIER}),
            **settings,
        }
    )
    (cell,) = expand(recipe.resolved("cpu"))
    return Trial.prepare(cell, data, RunContext(Store(folder), cpu, "fp32", -1))


def assessed(trial):
    synthetic = run_to_end(synthesise(trial, run_to_end(fit_generator(trial))))
    return QualityResult.read(run_to_end(assess(trial, synthetic)))


@pytest.mark.parametrize("n", [3, 12])
def test_real_unseen_images_have_no_warning_where_all_are_labelled(n, cpu, tmp_path, monkeypatch):
    data, rest = digits(n)  # drawn at random: in their order the digits go from writer to writer
    monkeypatch.setattr(Unseen, "source", rest, raising=False)
    monkeypatch.setitem(GENERATORS, "unseen", Unseen)
    found = assessed(trial_of(data, tmp_path, cpu, "unseen"))
    assert found.against == "labelled, by halves"
    assert found.warning == ""
    assert found.agreement == pytest.approx(found.agreement_floor, abs=0.25)
    assert found.agreement_floor < 0.99  # the trial's classifier is right on all that it learnt
    assert found.copy_rate == pytest.approx(found.copy_rate_floor, abs=0.2)


def test_exact_copies_are_warned_of_as_copies(cpu, tmp_path):
    found = assessed(trial_of(digits(12)[0], tmp_path, cpu))
    assert found.warning.startswith("100.0 % of its images repeat a labelled one")
    assert "--filter new" in found.warning
    assert "class wanted" not in found.warning
    assert "more steps" not in found.warning  # would copy all the more
    assert found.copy_rate == found.copy_rate_features == 1
    assert found.copy_rate_floor < 0.1
    assert found.copy_rate_features_floor < 0.2


def test_noise_is_warned_of_where_all_are_labelled(cpu, tmp_path):
    found = assessed(trial_of(digits(12)[0], tmp_path, cpu, "noise"))
    assert "of its images are taken for the class wanted" in found.warning
    assert "repeat" not in found.warning


def test_two_judges_cost_one_and_share_no_unit_with_what_they_judge(cpu, tmp_path):
    data, _ = digits(6, groups=True)
    trial = trial_of(data, tmp_path, cpu)
    others = unlabelled_images(trial)
    assert len(others.images) == 0
    found = run_to_end(judges(trial, None, reference(trial, others)))
    assert [judge.classifier.steps for judge in found] == [80, 80]
    assert sum(len(judge.unseen.images) for judge in found) == len(data.pool)
    first, second = (set(judge.unseen.units.tolist()) for judge in found)
    assert first.isdisjoint(second)
    assert len(first | second) == len(data.pool) / 2  # patients of two images
    for judge, other in zip(found, reversed(found), strict=True):
        assert torch.equal(judge.learnt.images, other.unseen.images.images)
    # a second generator of the trial finds them trained
    again = run_to_end(judges(trial, None, reference(trial, others)))
    assert len(again) == 2
    assert len(list(tmp_path.glob("artefacts/classifier/*"))) == 2


def test_rest_of_the_pool_is_the_reference_without_what_belongs_to_labelled_images(cpu, tmp_path):
    pool = bars(40)
    twin = LabelledImages(pool.images[:1], pool.labels[:1], pool.classes)  # equal to the first
    pool = LabelledImages(
        torch.cat([pool.images, twin.images]), torch.cat([pool.labels, twin.labels]), pool.classes
    )
    groups = ["", "p", "p", *[""] * 78]
    data = Dataset("bars", pool, bars(4, seed=1), "document", False, pool_groups=groups)
    trial = trial_of(data, tmp_path, cpu, frac=None, per_class=2)
    trial = dataclasses.replace(
        trial, indices=torch.tensor([0, 1, 40, 41]), labelled=pool.select([0, 1, 40, 41])
    )
    others = unlabelled_images(trial)
    assert len(others.images) == 81 - 4 - 2  # one of the patient, one equal to a labelled one
    real = reference(trial, others)
    assert not real.labelled
    (judge,) = run_to_end(judges(trial, "the trial's own", real))
    assert judge.classifier == "the trial's own"


def test_few_others_are_no_reference_where_more_are_labelled(cpu, tmp_path):
    data, rest = digits(4)
    more = LabelledImages(
        torch.cat([data.pool.images, rest.images[:30]]),
        torch.cat([data.pool.labels, rest.labels[:30]]),
        rest.classes,
    )
    data = dataclasses.replace(data, pool=more)
    trial = trial_of(data, tmp_path, cpu)
    trial = dataclasses.replace(
        trial, indices=torch.arange(40), labelled=more.select(torch.arange(40))
    )
    others = unlabelled_images(trial)
    assert len(others.images) == 30
    assert reference(trial, others).labelled


def test_without_unseen_images_there_is_no_floor_and_no_warning(cpu, tmp_path):
    data, _ = digits(3)
    data = dataclasses.replace(data, pool_groups=["one patient"] * len(data.pool))
    found = assessed(trial_of(data, tmp_path, cpu, "noise"))
    assert found.against == "none"
    assert found.agreement_floor is found.copy_rate_floor is None
    assert found.spaces == {}
    assert found.warning == ""


def test_equal_labelled_images_do_not_raise_the_floor_of_copies(cpu, tmp_path):
    data, _ = digits(6)
    trial = trial_of(data, tmp_path / "once", cpu)
    mix = data.pool.counts().double()
    twice = data.pool.select(torch.arange(len(data.pool)).repeat(2))
    doubled = trial_of(dataclasses.replace(data, pool=twice), tmp_path / "twice", cpu)
    rates = [
        copied_by_chance(each, reference(each, unlabelled_images(each)), mix)
        for each in (trial, doubled)
    ]
    assert all(rate.value < 0.2 for rate in rates)
    assert assessed(doubled).copy_rate == 1


def test_old_records_are_read_without_the_new_floors(tmp_path):
    old = dict(against="labelled", agreement=0.5, agreement_by_class=[0.5], agreement_floor=1.0)
    old |= dict(copy_rate=0.1, copy_rate_features=0.1, closer_to_train=None, spaces={}, warning="")
    (tmp_path / "about.json").write_text(json.dumps(old))
    assert QualityResult.read(tmp_path).copy_rate_floor is None
