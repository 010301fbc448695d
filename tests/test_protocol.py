"""The comparison is true: what must never matter does not, what must show does."""

import dataclasses
import json
from collections import Counter

import pandas as pd
import pytest
import torch
from conftest import FIVE_ARMS, SMOKE, Recorder

import augment
from augment.classifiers.models import Airbench
from augment.data.datasets import embedded_digits
from augment.data.images import LabelledImages, pixel_hashes, to_uint8
from augment.data.split import Dataset, split
from augment.data.subset import labelled_subset
from augment.experiment.arms import ARMS, training_set
from augment.experiment.cells import expand
from augment.experiment.filters import Evidence
from augment.experiment.mixing import MIXINGS
from augment.experiment.sampling import labels_and_seeds
from augment.experiment.synthetic_use import SyntheticUse
from augment.experiment.validation import make_recipe
from augment.generators import GENERATORS
from augment.generators.controls import Duplicate
from augment.metrics.paired import paired_contrast
from augment.training.loop import train

SET = {"classifier": {"steps": 250, "width": 12, "batch": 32}}


@pytest.fixture
def digits():
    return split("digits", embedded_digits(), "document", 0.5)


def run_on(data: Dataset, monkeypatch, out, **changed):
    """A run on this data set under the name of digits."""
    monkeypatch.setattr("augment.experiment.dataset_cache.load_dataset", lambda name, **_: data)
    settings = dict(dataset="digits", per_class=5, preset="smoke", seeds=1, jobs=1, set=SMOKE)
    settings |= {"arm": FIVE_ARMS}
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
    # a generator, five arms, and two judges that learn one half of the labelled images each
    assert len(sides[0]) == 2 + 1 + 7 * 2
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
    assert result.table["trust"].max() < 0.1


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
    assert result.table["trust"].min() == 1.0


@pytest.mark.parametrize(("ratio", "times"), [(5, [5]), (2.5, [2, 3]), (0.2, [0, 1])])
def test_duplicate_holds_each_labelled_image_equally_often(ratio, times, digits):
    labelled = digits.pool.select(range(60))
    use = SyntheticUse(ratio=ratio)
    cell = expand(make_recipe(generator="duplicate", arm="synth", seeds=1).resolved("cpu"))[0]
    labels, seeds = labels_and_seeds(dataclasses.replace(cell, use=use), labelled)
    control = Duplicate()
    control.prepare(labelled, seed=0, device=torch.device("cpu"))
    images = control.sample(labels, seeds=seeds)
    hashes = pixel_hashes(labelled.images)
    counts = Counter(pixel_hashes(images))
    assert len({*hashes}) == 60
    assert {counts[key] for key in hashes} == {*times}
    assert counts.total() == len(labels)
    own = dict(zip(hashes, labelled.labels.tolist(), strict=True))
    assert [own[key] for key in pixel_hashes(images)] == labels.tolist()


@pytest.mark.parametrize("mixing", ["constant", "falling", "early", "confirmed", "pretrain"])
@pytest.mark.parametrize("arm", ["real+synth", "real+classic+synth", "synth"])
def test_classifier_of_duplicates_is_that_of_its_baseline_to_the_bit(arm, mixing, digits, cpu):
    labelled = digits.pool.select(labelled_subset(digits.pool, per_class=3, seed=1))
    cell = expand(make_recipe(generator="duplicate", arm=arm, seeds=1).resolved("cpu"))[0]
    labels, seeds = labels_and_seeds(cell, labelled)
    control = Duplicate()
    control.prepare(labelled, seed=0, device=cpu)
    again = LabelledImages(control.sample(labels, seeds=seeds), labels, labelled.classes)
    assert len(again) == 5 * len(labelled)
    data = training_set(arm, labelled, again, "document", 0.25)
    if ARMS[arm].real:
        n = torch.zeros(len(again))
        data = MIXINGS[mixing](data, Evidence(labels, n, n, n > 0, trust=0.5))
    weights = []
    for learnt in (data, training_set(str(ARMS[arm].against), labelled, None, "document", 0.0)):
        learner = Airbench(steps=6, batch=16, width=4)
        learner.prepare(labelled, seed=1, device=cpu)
        for _ in train(learner, learnt, seed=1, device=cpu):
            pass
        weights.append(learner.modules["ema"].state_dict())
    assert all(torch.equal(weights[0][key], value) for key, value in weights[1].items())


@pytest.mark.parametrize(
    ("arm", "share"), [("real+synth", 0.25), ("real+synth", 0.9), ("synth", 1)]
)
def test_batches_with_duplicates_are_distributed_like_those_of_real(arm, share, cpu):
    """Equal chances of each pair of images at two places of a batch, of one part or of two."""
    n, steps, batch = 6, 3000, 8
    pixels = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 1, 4, 4)
    real = LabelledImages(pixels, torch.arange(n) % 2, ("a", "b"))
    again = real.select(torch.arange(5 * n) % n)
    tables = []
    for name in ("real", arm):
        recorder = Recorder(steps, batch)
        data = training_set(name, real, again, "none", share)
        for _ in train(recorder, data, seed=3, device=cpu):
            pass
        seen = torch.stack([to_uint8(images)[:, 0, 0, 0] for images, _ in recorder.seen]).long()
        pairs = n * seen[:, :-1] + seen[:, 1:]  # [steps, batch - 1] of neighbours in a batch
        first_last = n * seen[:, 0] + seen[:, -1]  # of different parts in `arm`
        tables.append(torch.cat([pairs.flatten(), first_last]).bincount(minlength=n * n) / steps)
    chance = batch / n**2  # of each pair of images, summed over eight pairs of places
    for table in tables:
        torch.testing.assert_close(
            table, torch.full((n * n,), chance), atol=4 * (chance / steps) ** 0.5, rtol=0
        )


def test_resumed_run_of_the_old_draws_makes_its_classifiers_anew_and_nothing_else(
    small_run, monkeypatch
):
    def once_an_epoch(*args):
        return dataclasses.replace(training_set(*args), with_replacement=False)

    settings = {**small_run, "arm": "real,real+classic+synth", "seeds": 1}
    with monkeypatch.context() as patch:
        patch.setattr("augment.experiment.classification.training_set", once_an_epoch)
        before = augment.run(**settings)
    old = {kind: artefacts(before.path, kind) for kind in ("generator", "synthetic", "classifier")}
    after = augment.run(**settings)
    new = {kind: artefacts(after.path, kind) for kind in old}
    assert before.failed == after.failed == 0
    assert (new["generator"], new["synthetic"]) == (old["generator"], old["synthetic"])
    assert new["classifier"] > old["classifier"]
    assert len(new["classifier"]) == 2 * len(old["classifier"])
    assert not {*before.table["signature"]} & {*after.table["signature"]}


def artefacts(run, kind):
    return {path.name for path in (run / "artefacts" / kind).iterdir()}


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
    assert len(started) == 14  # of five arms and two judges in two trials
    for seed in {s for s, _ in started}:
        own = [w for s, w in started if s == seed]
        assert len(own) == 7
        assert all(torch.equal(own[0], w) for w in own)


def test_duplicates_never_stand_on_both_sides(digits):
    pool = set(pixel_hashes(digits.pool.images))
    assert pool.isdisjoint(pixel_hashes(digits.test.images))
