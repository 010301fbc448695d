"""The race of `augment advise`: successive halving of the ways, inside the labelled images alone.

Round k trains every way that is left in full on all folds but fold k and scores it on fold k; the
better half by log loss over all folds so far goes on (Jamieson and Talwalkar 2016, with folds in
the place of training steps, so that no way gains by learning fast). Ways without a generator come
first. Images of each generator are then added to the best of them, and to the usual way.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from augment.errors import DataError
from augment.experiment.classification import validated_classes
from augment.experiment.progress import Progress
from augment.experiment.recipe import Recipe
from augment.experiment.selection import rank_candidates
from augment.experiment.ways import (
    GOOD_TRIALS,
    LEAST_TRIALS,
    REFERENCE,
    Way,
    free_ways,
    generated_ways,
)

_MEASURED = 6  # cells of a trial after the race: four ways at most, two of the learning curve
_PARENTS = 2  # the best ways without a generator, to which images are added
NO_TIME = "no time"


@dataclass(frozen=True)
class Heat:
    """A way that was trained without a fold, and what it predicted there."""

    probabilities: Tensor  # [n, K]
    labels: Tensor  # [n]
    seconds: float  # of the whole cell


@dataclass(frozen=True)
class Standing:
    """How a way did in the race; differences are to the best way without a generator."""

    way: Way
    folds: int  # that it was scored on
    loss: float  # mean log loss, at the best temperature
    gain: float  # in log loss, paired over images; above 0 is better
    standard_error: float  # of the gain
    accuracy: float


@dataclass(frozen=True)
class Outcome:
    """What the race found."""

    winner: Way
    runner_up: Way | None
    best_free: Way  # the best way without a generator
    standings: list[Standing]  # of all ways, best first
    left_out: dict[str, str]  # name of a way or generator → why it did not run, or not to the end


Play = Callable[[list[Way], int], Generator[Progress, None, dict[str, Heat | str]]]


@dataclass
class Race:
    """The means of a race, and what it has seen so far."""

    folds: int
    play: Play  # trains ways without a fold; by name a heat, or why it failed
    seconds_left: Callable[[], float]  # of the whole command's budget
    jobs: int  # processes
    costs: dict[str, float] = field(default_factory=dict)  # seconds: "" a classifier, else by name
    heats: dict[str, list[Heat]] = field(default_factory=dict)  # of a way, by fold
    ways: dict[str, Way] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def round(self, ways: list[Way], fold: int) -> Generator[Progress, None, list[Way]]:
        """Run one round; return the ways that did not fail, best first."""
        heats = yield from self.play(ways, fold)
        done = []
        for way in ways:
            heat = heats[way.name]
            if isinstance(heat, str):
                if way.name == REFERENCE:  # which all are compared with
                    raise DataError(f"{way.name} could not be trained: {heat}; see errors.log")
                self.left_out[way.name] = heat
                continue
            self.ways[way.name] = way
            self.heats[way.name] = [*self.heats.get(way.name, [])[: fold - 1], heat]
            done.append(way)
        self._learn_costs()
        return sorted(done, key=self.loss)

    def loss(self, way: Way) -> float:
        """Return the mean log loss of a way over the folds that it was scored on."""
        return self.compare([way])[0].loss

    def compare(self, ways: list[Way]) -> list[Standing]:
        """Compare ways with the first of them on the folds that all were scored on."""
        folds = min(len(self.heats[way.name]) for way in ways)
        heats = [self.heats[way.name][:folds] for way in ways]
        labels = torch.cat([heat.labels for heat in heats[0]])
        found = [
            validated_classes(torch.cat([h.probabilities for h in own]), labels) for own in heats
        ]
        table = rank_candidates(tuple(way.cell for way in ways), found)
        columns = ("loss", "gain", "standard_error", "accuracy")
        return [
            Standing(way, folds, **{name: line[name] for name in columns})
            for way, line in zip(ways, table, strict=True)
        ]

    def _learn_costs(self) -> None:
        """Update the costs from what the heats took."""
        seconds: dict[str, list[float]] = {}
        for name, heats in self.heats.items():
            seconds.setdefault(self.ways[name].generator, []).extend(h.seconds for h in heats)
        if plain := seconds.pop("", []):
            self.costs[""] = statistics.median(plain)  # with unlabelled images a step takes longer
        for generator, own in seconds.items():  # the first of a fold trained the generator
            self.costs[generator] = max(0.0, max(own) - self.costs[""])

    def seconds_of(self, ways: list[Way]) -> float:
        """Estimate the seconds of one round."""
        generators = {way.generator for way in ways} - {""}
        work = sum(self._classifier_seconds(way) for way in ways)
        return (work + sum(self.costs[name] for name in generators)) / self.jobs

    def _classifier_seconds(self, way: Way) -> float:
        """Estimate the seconds of a way's classifier: its own, where no generator is in them."""
        heats = [] if way.generator else self.heats.get(way.name, [])
        return statistics.fmean(heat.seconds for heat in heats) if heats else self.costs[""]

    def seconds_to_end(self, ways: list[Way]) -> float:
        """Estimate the seconds of all rounds, if always the dearest half goes on."""
        dearest = sorted(ways, key=lambda way: -self.costs.get(way.generator, 0.0))
        sizes = [math.ceil(len(ways) / 2**n) for n in range(self.folds)]
        return sum(self.seconds_of(dearest[:size]) for size in sizes)

    def reserve(self, ways: list[Way], trials: int) -> float:
        """Estimate the seconds of a measurement of so many trials, two of these ways in each."""
        dearest = max(self.costs.get(way.generator, 0.0) for way in ways) if ways else 0.0
        return trials * (_MEASURED * self.costs[""] + 2 * dearest) / self.jobs


def run_race(
    race: Race, recipe: Recipe, time_generators: Callable[[], dict[str, float]], unlabelled: bool
) -> Generator[Progress, None, Outcome]:
    """Race the ways of a recipe: those without a generator, then those with one.

    `time_generators` estimates the seconds of each generator of the recipe, `unlabelled` tells
    whether there are images without labels. The best way without a generator wins unless one with
    a generator is better by one standard error of the paired difference in log loss.
    """
    free = yield from _race_free(race, free_ways(recipe, unlabelled=unlabelled))
    best_free = free[0]
    race.costs |= {name: cost for name, cost in time_generators().items() if name not in race.costs}
    parents = [way.cell.arm for way in free[:_PARENTS]]
    arms = list(dict.fromkeys([*parents, REFERENCE]))
    generated = yield from halve(race, _in_time(race, recipe, arms))
    (_, *others) = standings = race.compare([best_free, *generated])
    sure = [each.way for each in others if each.gain > each.standard_error]
    winner = min(sure, key=race.loss) if sure else best_free
    complete = [way for way in (*free, *generated) if way.name != winner.name and not way.control]
    standings += [race.compare([best_free, way])[1] for way in _rest(race, standings)]
    return Outcome(
        winner,
        min(complete, key=race.loss, default=None),
        best_free,
        sorted(standings, key=lambda each: (-each.folds, each.loss)),
        race.left_out,
    )


def _rest(race: Race, standings: list[Standing]) -> list[Way]:
    """List the ways that ran and have no standing yet."""
    named = {each.way.name for each in standings}
    return [way for name, way in race.ways.items() if name not in named]


def _race_free(race: Race, ways: list[Way]) -> Generator[Progress, None, list[Way]]:
    """Race the ways without a generator; the usual one is scored on all folds in any case.

    So it is the advice if those that came before it on the first folds fall behind on the others.
    """
    usual = [way for way in ways if way.name == REFERENCE]
    yield from race.round(usual, 1)  # shows what a classifier takes
    left = race.seconds_left() - race.reserve([], LEAST_TRIALS)
    while len(ways) > 1 and race.seconds_to_end(ways) > left:
        race.left_out[ways.pop().name] = NO_TIME
    finished = yield from halve(race, ways)
    for fold in range(len(race.heats[REFERENCE]) + 1, race.folds + 1):
        yield from race.round(usual, fold)
    race.left_out.pop(REFERENCE, None)
    others = [way for way in finished if way.name != REFERENCE]
    return sorted([*usual, *others], key=race.loss)


def planned_cells(recipe: Recipe, *, unlabelled: bool) -> int:
    """Count the cells of a race that has time for everything, and of a measurement after it."""
    of_one = sum(len(generated_ways(recipe, name, [REFERENCE])) for name in recipe.generator)
    generated = of_one * _PARENTS  # at least: the usual way is often one of the best
    raced = (len(free_ways(recipe, unlabelled=unlabelled)), generated)
    rounds = [math.ceil(n / 2**k) for n in raced for k in range(recipe.folds)]
    return sum(rounds) + LEAST_TRIALS * _MEASURED


def halve(race: Race, ways: list[Way]) -> Generator[Progress, None, list[Way]]:
    """Run the rounds; after each the better half goes on. Return those that finish, best first."""
    for fold in range(1, race.folds + 1):
        if ways:  # the last ones may have failed
            ways = yield from race.round(ways, fold)
        if fold < race.folds:
            ways = ways[: math.ceil(len(ways) / 2)]
            left = race.seconds_left() - race.reserve(ways, LEAST_TRIALS)
            while len(ways) > 1 and race.seconds_of(ways) > left:
                race.left_out[ways.pop().name] = f"{NO_TIME} after {fold} of {race.folds} folds"
    return ways


def _in_time(race: Race, recipe: Recipe, arms: list[str]) -> list[Way]:
    """List the ways with the generators that the time allows, in the order of the recipe.

    Time is kept for a measurement of six trials, or of three where no generator would fit. None
    where only the controls would.
    """
    for trials in (GOOD_TRIALS, LEAST_TRIALS):
        chosen: list[Way] = []
        missing: list[str] = []
        for generator in recipe.generator:
            ways = [*chosen, *generated_ways(recipe, generator, arms)]
            left = race.seconds_left() - race.reserve(ways, trials)
            if race.seconds_to_end(ways) <= left:
                chosen = ways
            else:
                missing.append(generator)
        if not missing or any(not way.control for way in chosen):
            race.left_out |= dict.fromkeys(missing, NO_TIME)
            return chosen
    race.left_out |= dict.fromkeys(recipe.generator, NO_TIME)
    return []
