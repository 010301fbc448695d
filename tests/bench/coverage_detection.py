"""How often the interval of a difference in mAP misses the truth: simulated detectors.

    python tests/bench/coverage_detection.py [--experiments 400]
                                             [--out results/bench/coverage-detection.md]

Two arms detect in the same pictures of three classes. Whether a box is found, and how well it is
placed, depends on the detector's skill, the difficulty of picture and box, which both arms share,
how the picture suits the arm, in all trials alike, and chance.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from augment import __version__
from augment.metrics.detection import contributions, mean_ap
from augment.metrics.intervals import LEAST_TRIALS, t_interval, unit_variance
from augment.metrics.matching import IOUS, Matches
from augment.storage.atomic import write_atomic

TRIALS = (LEAST_TRIALS, 6)
PICTURES = (60, 200)
TRIAL_SDS = (0.05, 0.2)  # of a detector's skill, between trials
SHARES = (0.6, 0.3, 0.1)  # of the classes among the boxes
MOST_BOXES = 8  # of a picture; 1 to 8
SUIT_SD = 0.4  # of what a picture adds to the skill of one arm
GAINS = {"no difference": 0.0, "a difference": 0.25}  # in skill
Rng = np.random.Generator


class Pictures:
    """Test pictures with boxes, some of which suit one arm and some the other."""

    def __init__(self, rng: Rng, n: int) -> None:
        counts = rng.integers(1, MOST_BOXES + 1, n)
        self.picture = np.repeat(np.arange(n), counts)  # [boxes]
        self.label = rng.choice(len(SHARES), len(self.picture), p=SHARES)
        self.difficulty = (
            rng.normal(0, 0.6, n)[self.picture]
            + rng.normal(0, 0.6, len(self.picture))
            + 0.4 * self.label
        )
        self.suits = rng.normal(0, SUIT_SD, (2, n))[:, self.picture]  # [arms, boxes]
        self.n_true = np.zeros((n, len(SHARES)), np.int64)
        np.add.at(self.n_true, (self.picture, self.label), 1)

    def detected(self, rng: Rng, arm: int, skill: float) -> Matches:
        """Detect: right ones up to some threshold of IoU, and wrong ones with lower scores."""
        quality = skill + self.suits[arm] - self.difficulty + rng.normal(0, 0.6, len(self.picture))
        # IoU rises from 0.5 at quality 0 to 0.95 at quality 3.2
        matched = quality[:, None] > np.linspace(0, 3.2, len(IOUS))
        n_wrong = rng.poisson(1.5, len(self.n_true))
        wrong = np.repeat(np.arange(len(self.n_true)), n_wrong)
        picture = np.concatenate([self.picture, wrong])
        order = np.argsort(picture, kind="stable")
        score = np.concatenate([quality, rng.normal(-0.3, 1, len(wrong))])
        score = score + rng.normal(0, 0.5, len(score))
        label = np.concatenate([self.label, rng.choice(len(SHARES), len(wrong), p=SHARES)])
        matched = np.concatenate([matched, np.zeros((len(wrong), len(IOUS)), bool)])
        return Matches(
            picture=picture[order],
            label=label[order],
            score=(1 / (1 + np.exp(-score[order]))).astype(np.float32),
            corners=np.zeros((len(order), 4), np.float32),
            matched=matched[order],
            n_true=self.n_true,
        )


def skills(rng: Rng, gain: float, trial_sd: float, n: int) -> np.ndarray:
    """Draw the skills of the two detectors in n trials: [2, n]; in part they vary together."""
    noise = rng.normal(0, trial_sd, (3, n))
    return 1.5 + np.array([[0.0], [gain]]) + noise[0] + noise[1:]


def true_gain(rng: Rng, gain: float, trial_sd: float) -> float:
    """Compute the mean difference in mAP over very many pictures and trials."""
    if not gain:
        return 0.0
    grid = np.linspace(0, 3.5, 36)  # of skills; the mAP of the others is interpolated
    scores = [mean_ap(Pictures(rng, 6000).detected(rng, 0, skill)) for skill in grid]
    a, b = np.interp(skills(rng, gain, trial_sd, 200_000), grid, scores)
    return float((b - a).mean())


def experiment(
    rng: Rng, n_trials: int, n_pictures: int, gain: float, trial_sd: float
) -> np.ndarray:
    """Simulate what each picture adds to the difference of each trial: [trials, pictures]."""
    pictures, drawn = Pictures(rng, n_pictures), skills(rng, gain, trial_sd, n_trials)
    scores = [
        [contributions(pictures.detected(rng, arm, skill)) for skill in drawn[arm]]
        for arm in range(2)
    ]
    return np.array(scores[1]) - np.array(scores[0])


def coverage(rng: Rng, experiments: int) -> Iterator[dict[str, object]]:
    """Yield a row for each number of trials and pictures: how often intervals hold the truth."""
    truths = {(gain, sd): true_gain(rng, gain, sd) for gain in GAINS.values() for sd in TRIAL_SDS}
    for n_trials in TRIALS:
        for n_pictures in PICTURES:
            row: dict[str, object] = {"trials": n_trials, "test pictures": n_pictures}
            for name, gain in GAINS.items():
                for sd in TRIAL_SDS:
                    truth, covered, widths = truths[gain, sd], [], []
                    for _ in range(experiments):
                        d = experiment(rng, n_trials, n_pictures, gain, sd)
                        bounds = [
                            t_interval(d.mean(1), units=units) for units in (unit_variance(d), None)
                        ]
                        covered.append([b is not None and b[0] <= truth <= b[1] for b in bounds])
                        widths.append((bounds[0][1] - bounds[0][0]) / 2 if bounds[0] else np.nan)
                    both, alone = 100 * np.mean(covered, axis=0)
                    row[f"{name} ({100 * truth:.1f} points), trials' sd {sd}"] = (
                        f"{both:.1f} ({alone:.1f}), ±{100 * np.median(widths):.1f}"
                    )
            print(row, flush=True)
            yield row


def main() -> None:
    """Simulate and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/bench/coverage-detection.md"))
    given = parser.parse_args()
    rng, count = np.random.default_rng(given.seed), given.experiments
    table = pd.DataFrame(coverage(rng, count)).to_markdown(index=False, disable_numparse=True)
    text = f"""# How often the interval of a difference in mAP holds the truth

Percent of simulated experiments whose 95 % interval holds the true difference in mAP@[.5:.95] of
two arms; more than 95 is wide. In brackets: Student's t over trials alone. Behind it: half the
median interval, in points. augment {__version__}; `python tests/bench/coverage_detection.py`, seed
{given.seed}, {count} experiments each: a standard error of \
{100 * (0.05 * 0.95 / count) ** 0.5:.1f}.

Pictures have 1 to {MOST_BOXES} boxes of three classes ({", ".join(f"{s:.0%}" for s in SHARES)});
both arms meet the same pictures in all trials. The truth of a difference is that of
200,000 trials, their mAP interpolated between those of 36 skills, on 6,000 other pictures each.

{table}
"""
    write_atomic(given.out, text)
    print(text)


if __name__ == "__main__":
    main()
