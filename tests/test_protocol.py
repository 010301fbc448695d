"""The comparison is true: what must never matter does not, what must show does."""

import json

import pandas as pd
import pytest
import torch
from conftest import SMOKE

import augment
from augment.data.datasets import embedded_digits
from augment.data.images import LabelledImages, pixel_hashes
from augment.data.split import Dataset, split
from augment.generators import GENERATORS
from augment.generators.controls import Duplicate
from augment.metrics.paired import paired_contrast

SET = {"classifier": {"steps": 250, "width": 12, "batch": 32}}


@pytest.fixture
def digits():
    return split("digits", embedded_digits(), "document", 0.5)


def run_on(data: Dataset, monkeypatch, out, **changed):
    """A run on this data set under the name of digits."""
    monkeypatch.setattr("augment.experiment.dataset_cache.load_dataset", lambda name, **_: data)
    settings = dict(dataset="digits", per_class=5, preset="smoke", seeds=1, jobs=1, set=SMOKE)
    return augment.run(**{**settings, **changed, "out": out})


def training_side(folder):
    """Every byte that training made: weights, synthetic images, logs."""
    kept = {}
    for file in sorted(folder.glob("artefacts/*/*/*")):
        if file.name in ("weights.safetensors", "synthetic.safetensors", "history.csv"):
            kind, sig = file.parts[-3:-1]
            key = sig if kind != "score" else json.dumps(arm_of(file.parent))
            kept[kind, key, file.name] = file.read_bytes()
    return kept


def arm_of(score):
    cell = json.loads((score / "about.json").read_text())["cell"]
    return [cell["arm"], cell["seed"]]


def with_test(data, images, labels):
    test = LabelledImages(images, labels, data.test.classes)
    return Dataset(data.name, data.pool, test, data.classic, True, data.pool_files, data.test_files)


def test_test_images_replaced_by_noise_change_nothing_that_is_learnt(digits, monkeypatch, tmp_path):
    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, digits.test.images.shape, generator=rng).to(torch.uint8)
    shuffled = digits.test.labels[torch.randperm(len(digits.test), generator=rng)]
    first = run_on(digits, monkeypatch, tmp_path / "a", generator="cvae")
    noisy = with_test(digits, noise, digits.test.labels)
    second = run_on(noisy, monkeypatch, tmp_path / "b", generator="cvae")
    third = run_on(
        with_test(digits, digits.test.images, shuffled),
        monkeypatch,
        tmp_path / "c",
        generator="cvae",
    )
    sides = [training_side(r.path) for r in (first, second, third)]
    assert len(sides[0]) == 2 + 1 + 5 * 2
    assert sides[0] == sides[1] == sides[2]
    assert not first.table["accuracy"].equals(second.table["accuracy"])
    assert not first.table["accuracy"].equals(third.table["accuracy"])


def test_random_images_give_a_classifier_of_chance(digits, monkeypatch, tmp_path):
    result = run_on(
        digits, monkeypatch, tmp_path / "run", generator="noise", arm="real,synth", seeds=3, set=SET
    )
    by_arm = result.table.groupby("arm")["accuracy"].mean()
    assert by_arm["synth"] < 0.25  # ten classes
    assert by_arm["real"] > 0.7


class RealAgain(Duplicate):
    """Hands out the labelled images in turn: the real set as the synthetic set."""

    def sample(self, labels, *, seeds):
        memory = self.modules["memory"]
        assert torch.equal(labels.sort().values, memory.labels.sort().values)
        return torch.cat([memory.images[memory.labels == k] for k in labels.unique()])


def test_real_set_as_synthetic_set_scores_like_real(digits, monkeypatch, tmp_path):
    monkeypatch.setitem(GENERATORS, "again", RealAgain)
    result = run_on(
        digits,
        monkeypatch,
        tmp_path / "run",
        generator="again",
        ratio=1,
        arm="real,synth",
        seeds=4,
        per_class=10,
        set=SET,
    )
    line = result.summary.set_index("arm").loc["synth"]
    assert line["low"] <= 0 <= line["high"]
    assert line["mean"] > 0.7


def test_generator_that_copies_is_flagged_and_no_better_than_duplicate(
    digits, monkeypatch, tmp_path
):
    class Copier(Duplicate):
        """Returns a labelled image of the class, a few grey levels off."""

        def sample(self, labels, *, seeds):
            images = super().sample(labels, seeds=seeds + 1)
            return (images.float() + 2).clamp(0, 255).to(torch.uint8)

    monkeypatch.setitem(GENERATORS, "copier", Copier)
    result = run_on(
        digits,
        monkeypatch,
        tmp_path / "run",
        generator="copier,duplicate,noise",
        seeds=4,
        arm="real+classic,real+classic+synth",
        set={"classifier": {**SET["classifier"], "steps": 100}},  # how good they are is no matter
    )
    rates = result.table.dropna(subset=["generator"]).groupby("generator")["copy_rate"].mean()
    assert rates["copier"] == 1.0
    assert rates["duplicate"] == 1.0
    assert rates["noise"] == 0.0
    scores = result.table.pivot_table(index="seed", columns="generator", values="accuracy")
    assert (
        paired_contrast(scores["copier"].tolist(), scores["duplicate"].tolist()).verdict != "helps"
    )


def test_held_out_sample_is_not_taken_for_copies(digits):
    from augment.metrics.copies import copy_finder

    labelled, seeded_init = digits.pool.images[:200], digits.pool.images[200:700]
    copied, _, _ = copy_finder(labelled, mirrored=False)(seeded_init)
    assert copied.float().mean() < 0.01


def test_arms_of_a_trial_share_subset_steps_and_start(digits, monkeypatch, tmp_path):
    result = run_on(digits, monkeypatch, tmp_path / "run", generator="cvae,noise", seeds=2)
    table = result.table
    assert table["steps"].nunique() == 1
    assert table.groupby("seed")["data_sha"].nunique().eq(1).all()
    keys = ["dataset", "asked", "seed", "generator", "guidance", "ratio", "share", "arm"]
    assert not table.duplicated(keys).any()
    assert len(table) == 2 * (2 + 2 * 3)
    log = pd.read_csv(result.path / "history.csv")
    starts = (
        log[(log["stage"] == "score") & (log["arm"] == "real")].groupby("seed")["value"].first()
    )
    assert starts.nunique() == 2  # trials differ


def test_classifier_starts_from_the_same_weights_in_every_arm(digits, monkeypatch, tmp_path):
    started = []
    original = augment.classifiers.Airbench.prepare

    def spy(self, data, **settings):
        original(self, data, **settings)
        started.append((settings["seed"], self.modules["net"][-1].weight.detach().clone()))

    monkeypatch.setattr(augment.classifiers.Airbench, "prepare", spy)
    run_on(digits, monkeypatch, tmp_path / "run", generator="noise", seeds=2)
    started = [(s, w) for s, w in started if s]  # 0: the judge, built to be filled from its file
    assert len(started) == 10
    for seed in {s for s, _ in started}:
        own = [w for s, w in started if s == seed]
        assert len(own) == 5
        assert all(torch.equal(own[0], w) for w in own)


def test_duplicates_never_stand_on_both_sides(digits):
    pool = set(pixel_hashes(digits.pool.images))
    assert pool.isdisjoint(pixel_hashes(digits.test.images))
