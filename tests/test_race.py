"""The race of an advice, with heats made up: what goes on, what is dropped, and in what time."""

import math

import pytest
import torch

from augment.errors import DataError, UsageError
from augment.experiment.arms import ARMS
from augment.experiment.race import Heat, Race, run_race
from augment.experiment.ways import (
    CONTROLS,
    GENERATED_WAYS,
    RACED_WAYS,
    REFERENCE,
    advice_recipe,
    free_ways,
    generated_ways,
)
from augment.generators import GENERATORS
from augment.runtime.steps import run_to_end

N, FOLDS = 90, 3  # images of a fold
SECONDS = {"": 1.0, "ddpm": 20.0, "mix": 10.0, "cvae": 5.0, "cgan": 5.0}  # of a training


class Track:
    """Heats of planted quality, and a clock that they push on."""

    def __init__(self, quality, budget=1e6, jobs=1):
        self.quality, self.budget, self.played, self.spent = quality, budget, [], 0.0
        self.trained = set()
        self.race = Race(FOLDS, self.play, lambda: self.budget - self.spent, jobs)

    def play(self, ways, fold):
        yield from ()
        heats = {}
        for way in ways:
            self.played.append((way.name, fold))
            training = 0.0 if (way.generator, fold) in self.trained else self.cost(way.generator)
            self.trained.add((way.generator, fold))
            seconds = SECONDS[""] + training
            self.spent += seconds
            heats[way.name] = self.heat(way, fold, seconds)
        return heats

    @staticmethod
    def cost(generator):
        return SECONDS.get(generator, 0.0) if generator else 0.0

    def heat(self, way, fold, seconds):
        rng = torch.Generator().manual_seed(fold)  # the images of a fold, the same for all ways
        labels = torch.randint(0, 2, (N,), generator=rng)
        right = self.quality.get(way.name, 0.6) + 0.3 * torch.rand(N, generator=rng) - 0.15
        p = torch.where(labels == 1, right, 1 - right)
        return Heat(torch.stack([1 - p, p], 1), labels, seconds)

    def run(self, recipe=None, unlabelled=False):
        recipe = recipe or recipe_of()
        costs = {name: self.cost(name) for name in recipe.generator}
        return run_to_end(run_race(self.race, recipe, lambda: costs, unlabelled))


def recipe_of(**settings):
    return advice_recipe(dataset="digits", per_class=10, preset="smoke", **settings)


def test_ways_are_the_arms_and_generators_that_there_are():
    assert all(not ARMS[name].synthetic for name in RACED_WAYS)
    assert set(GENERATED_WAYS) <= set(GENERATORS)
    assert set(CONTROLS) < set(GENERATED_WAYS)
    closed = [way.name for way in free_ways(recipe_of(), unlabelled=False)]
    assert "real+autoaugment" not in closed  # learnt on other images
    assert not {"ssl", "pseudo-label", "transfer"} & set(closed)
    assert "ssl" in [way.name for way in free_ways(recipe_of(), unlabelled=True)]


def test_weights_bring_transfer_into_the_race():
    recipe = recipe_of(weights="somewhere.safetensors")
    assert "transfer" in [way.name for way in free_ways(recipe, unlabelled=False)]


def test_generated_images_are_added_to_the_arms_that_take_them():
    ways = generated_ways(recipe_of(), "ddpm", ["real+mixup", "pseudo-label", "real"])
    assert [way.name for way in ways] == [
        "real+mixup+synth: ddpm, 0.25",
        "real+mixup+synth: ddpm, 0.5",
        "real+synth: ddpm, 0.25",
        "real+synth: ddpm, 0.5",
    ]
    assert ways[0].in_fold(2, 3).fold == (2, 3)
    assert ways[0].in_trial(7).seed == 7


def test_planted_way_wins_and_noise_is_dropped():
    planted = "real+mixup+synth: mix, 0.5"
    track = Track({"real+mixup": 0.75, planted: 0.8, "real+mixup+synth: noise, 0.25": 0.4})
    outcome = track.run()
    assert outcome.best_free.name == "real+mixup"
    assert outcome.winner.name == planted
    assert outcome.runner_up
    assert outcome.runner_up.name == "real+mixup"
    assert outcome.left_out == {}
    folds = {each.way.name: each.folds for each in outcome.standings}
    assert folds["real+mixup+synth: noise, 0.25"] == 1
    assert folds[planted] == folds["real+mixup"] == folds[REFERENCE] == FOLDS
    assert sum(gained.gain > 0 for gained in outcome.standings) == 1  # against the best free way


def test_way_without_a_generator_stays_unless_one_is_surely_better():
    unsure = Track({"real+mixup": 0.75, "real+mixup+synth: ddpm, 0.25": 0.7501})
    ddpm = unsure.heat

    def wavering(way, fold, seconds):
        heat = ddpm(way, fold, seconds)
        if not way.generator:
            return heat
        noise = torch.randn(N, generator=torch.Generator().manual_seed(fold + 9)) * 0.1
        p = (heat.probabilities[:, 1] + noise).clamp(0.05, 0.95)
        return Heat(torch.stack([1 - p, p], 1), heat.labels, seconds)

    unsure.heat = wavering
    outcome = unsure.run()
    assert outcome.winner.name == outcome.best_free.name == "real+mixup"
    assert outcome.runner_up
    assert outcome.runner_up.name != "real+mixup"
    assert not outcome.runner_up.control


def test_half_of_the_ways_goes_on_and_each_is_trained_once_a_fold():
    track = Track({})
    track.run(recipe_of(generator=["mix", "noise"]))
    assert len(track.played) == len(set(track.played)) + 1  # the first shows the costs
    free = [sum(":" not in name and at == fold for name, at in track.played) for fold in (1, 2, 3)]
    n = len(free_ways(recipe_of(), unlabelled=False))
    assert free == [n + 1, math.ceil(n / 2), math.ceil(math.ceil(n / 2) / 2)]


@pytest.mark.parametrize("budget", [40, 80, 150, 300])
def test_race_leaves_time_for_the_measurement(budget):
    track = Track({"real+mixup": 0.75, "real+mixup+synth: ddpm, 0.25": 0.8}, budget)
    outcome = track.run(recipe_of(generator=["ddpm", "noise"]))
    ways = [way for way in (outcome.winner, outcome.runner_up) if way]
    trial = 6 + sum(track.cost(way.generator) for way in ways)
    assert track.spent + 3 * trial <= budget
    if budget == 40:
        assert outcome.left_out["ddpm"] == "no time"
    if budget == 300:
        assert outcome.winner.name == "real+mixup+synth: ddpm, 0.25"


def test_race_without_any_time_still_has_an_answer():
    outcome = Track({}, budget=0).run()
    assert outcome.winner.name == REFERENCE
    assert set(outcome.left_out) >= {"real", "real+mixup", "ddpm", "noise"}
    assert REFERENCE not in outcome.left_out


def test_more_processes_have_more_time():
    spent = [len(Track({}, budget=100, jobs=jobs).run().left_out) for jobs in (1, 4)]
    assert spent[0] > spent[1]


def test_usual_way_is_the_advice_if_the_one_before_it_falls_behind():
    track = Track({REFERENCE: 0.7})
    steady = track.heat

    def falling(way, fold, seconds):
        if way.name == "real+mixup":
            track.quality[way.name] = 0.85 if fold == 1 else 0.4
        return steady(way, fold, seconds)

    track.heat = falling
    first_round = 1 + len(free_ways(recipe_of(), unlabelled=False))
    track.race.seconds_left = lambda: 1e6 if len(track.played) < first_round else 0.0
    outcome = track.run()
    assert outcome.best_free.name == outcome.winner.name == REFERENCE
    assert outcome.runner_up
    assert outcome.runner_up.name == "real+mixup"
    assert outcome.left_out["real"] == "no time after 1 of 3 folds"


def test_failed_way_is_left_out_and_a_failed_usual_one_is_told():
    track = Track({})
    made = track.heat
    track.heat = lambda way, *rest: "no memory" if "mixup" in way.name else made(way, *rest)
    assert track.run().left_out["real+mixup"] == "no memory"
    track = Track({})
    track.heat = lambda way, *rest: "no memory"
    with pytest.raises(DataError, match=r"real\+classic could not be trained: no memory"):
        track.run()


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        (dict(per_class=[5, 10]), "--per-class"),
        (dict(dataset="digits,mnist"), "--dataset"),
        (dict(ratio=[1, 5]), "--ratio"),
        (dict(seeds=2), "--seeds"),
        (dict(generator="nothing"), "nothing"),
    ],
)
def test_settings_with_several_values_are_refused(settings, flag):
    with pytest.raises(UsageError, match=flag):
        advice_recipe(**{"dataset": "digits", **settings})


def test_advice_takes_one_kind_of_classic_transforms():
    with pytest.raises(
        UsageError, match=r"--classic select: an advice takes one kind; augment run"
    ):
        advice_recipe(classic="select")
