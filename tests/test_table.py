"""The table that people read, from made-up results."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from augment.experiment.arms import ARMS
from augment.experiment.results_table import RESULTS_COLUMNS, TEXT_COLUMNS
from augment.metrics.intervals import UnitVariance
from augment.metrics.paired import paired_contrast
from augment.metrics.planning import detectable_gain, sd_range, trials_needed
from augment.report.format import percent, probability
from augment.report.legend import legend
from augment.report.table import TABLE_HEAD, markdown, summarise, table_blocks, variant_names
from augment.report.verdicts import plan_sentence, verdict_sentences, verdict_words
from augment.storage.tables import read_csv, write_csv

REAL = [0.50, 0.52, 0.54, 0.50, 0.52, 0.54]
CLASSIC = [0.60, 0.61, 0.62, 0.60, 0.61, 0.62]
BOTH = [0.63, 0.65, 0.67, 0.64, 0.64, 0.67]  # 3 4 5 4 3 5 points more


def rows(arm, scores, **others):
    """A finished row a seed; None is a cell that failed."""
    generated = "synth" in arm
    shared = {
        "dataset": "digits",
        "asked": "10 a class",
        "n_labelled": 100,
        "preset": "quick",
        "generator": "ddpm" if generated else None,
        "ratio": 5.0 if generated else None,
        "share": 0.5 if generated else None,
        "guidance": 1.0 if generated else None,
    }
    return [
        {**shared, "arm": arm, "seed": seed, "accuracy": score, "status": "ok", **others}
        if score is not None
        else {
            **shared,
            "arm": arm,
            "seed": seed,
            "status": "failed",
            "error": "boom",
            **others,
            "n_labelled": None,
        }
        for seed, score in enumerate(scores)
    ]


def results(*parts):
    return pd.DataFrame([row for part in parts for row in part], columns=RESULTS_COLUMNS)


@pytest.fixture
def usual():
    return results(
        rows("real", REAL), rows("real+classic", CLASSIC), rows("real+classic+synth", BOTH)
    )


def line(summary, arm, generator=None):
    chosen = summary[summary["arm"] == arm]
    if generator is not None:
        chosen = chosen[chosen["generator"] == generator]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_differences_are_paired_over_seeds_and_by_hand(usual):
    found = line(summarise(usual.sample(frac=1, random_state=0)), "real+classic+synth")
    # differences 3 4 5 4 3 5 points: mean 4, sd √0.8, t(0.975; 5) = 2.570582
    half = 2.570582 * math.sqrt(0.8 / 6)
    assert found["against"] == "real+classic"
    assert (found["n"], found["of"], found["pairs"]) == (6, 6, 6)
    assert found["difference"] == pytest.approx(0.04)
    assert (found["low"], found["high"]) == pytest.approx((0.04 - half / 100, 0.04 + half / 100))
    assert found["p"] == pytest.approx(2 * stats.t.sf(0.04 / (math.sqrt(0.8 / 6) / 100), 5))
    classic = line(summarise(usual), "real+classic")
    assert found["p_holm"] == max(found["p"], 2 * classic["p"])  # the larger p of two
    assert found["p_sign_flip"] == 2 / 64
    assert found["verdict"] == "helps"
    assert found["mean"] == pytest.approx(0.65)
    assert found["sd"] == pytest.approx(math.sqrt(14 / 5) / 100)


def test_each_arm_stands_against_its_own_baseline(usual):
    more = results(rows("real+synth", REAL), rows("synth", SPOILT))
    found = summarise(pd.concat([usual, more]))
    against = dict(zip(found["arm"], found["against"], strict=True))
    assert against == {
        "real": "",
        "real+classic": "real",
        "real+synth": "real",
        "real+classic+synth": "real+classic",
        "synth": "real",
    }
    assert list(found["arm"]) == list(against)
    real = line(found, "real")
    assert real[["pairs", "difference", "low", "high", "p", "p_holm"]].isna().all()
    assert real["verdict"] == ""
    assert line(found, "synth")["verdict"] == "hurts"
    assert line(found, "real+synth")["verdict"] == "can't tell"
    # equal to its baseline in all trials, on test images of which nothing is known: no interval
    assert line(found, "real+synth")[["low", "high", "p"]].isna().all()


def test_failed_cell_is_shown_and_not_averaged():
    found = summarise(
        results(
            rows("real", REAL),
            rows("real+classic", CLASSIC),
            rows("real+classic+synth", [None, *BOTH[1:]]),
        )
    )
    cell = line(found, "real+classic+synth")
    assert (cell["n"], cell["of"], cell["pairs"]) == (5, 6, 5)
    assert cell["mean"] == pytest.approx(sum(BOTH[1:]) / 5)
    assert cell["difference"] == pytest.approx(0.042)
    shown = dict(zip(TABLE_HEAD, table_blocks(found)[0][1][-1], strict=True))
    assert shown["n"] == "5/6"
    assert shown["gain"] == "+4.20 (5 trials)"


def test_failed_baseline_takes_its_pair_away_and_the_line_says_so():
    found = summarise(
        results(
            rows("real+classic", [*CLASSIC[:4], None, CLASSIC[5]]), rows("real+classic+synth", BOTH)
        )
    )
    cell = line(found, "real+classic+synth")
    assert (cell["n"], cell["of"], cell["pairs"]) == (6, 6, 5)
    assert cell["difference"] == pytest.approx(0.042)
    assert "+4.20 (5 trials)" in markdown(found)
    assert "n = 5 trials" in verdict_sentences(found)[0]


@pytest.mark.parametrize("status", ["failed", "diverged", "interrupted"])
def test_score_of_an_unfinished_cell_counts_for_nothing(status, usual):
    usual.loc[usual["arm"] == "real+classic+synth", "accuracy"] = BOTH
    usual.loc[usual.index[-1], ["status", "accuracy"]] = [status, 0.0]
    cell = line(summarise(usual), "real+classic+synth")
    assert (cell["n"], cell["of"]) == (5, 6)
    assert cell["mean"] == pytest.approx(sum(BOTH[:-1]) / 5)


def test_arm_of_which_every_cell_failed_is_still_a_line():
    found = summarise(
        results(rows("real+classic", CLASSIC), rows("real+classic+synth", [None] * 6))
    )
    assert line(found, "real+classic+synth")["verdict"] == "no pair"
    shown = table_blocks(found)[0][1][-1]
    assert shown[2:] == ["", "(0 trials)", "", "no pair", "0/6", "real+classic", ""]
    assert verdict_sentences(found) == [
        "ddpm on digits (100 labelled images): no trial finished both real+classic+synth and "
        "real+classic, so there is nothing to compare."
    ]
    markdown(found)


def test_data_sets_and_amounts_have_a_block_each():
    def part(**where):
        return rows("real", REAL, **where) + rows("real+classic", CLASSIC, **where)

    found = summarise(
        results(
            part(),
            part(asked="20 a class", n_labelled=200),
            part(dataset="mnist"),
            part(dataset="mnist", asked="0.1 of the pool"),  # as many images, asked otherwise
        )
    )
    assert [title for title, _ in table_blocks(found)] == [
        "digits, 100 labelled images (10 a class)",
        "digits, 200 labelled images (20 a class)",
        "mnist, 100 labelled images (10 a class)",
        "mnist, 100 labelled images (0.1 of the pool)",
    ]
    assert all(len(lines) == 2 for _, lines in table_blocks(found))
    assert set(found["pairs"].dropna()) == {6}
    # four contrasts of one p in one table
    p = found["p"].dropna().iloc[0]
    assert found["p_holm"].dropna().tolist() == pytest.approx([4 * p] * 4)


def test_pairs_never_cross_amounts():
    found = summarise(
        results(
            rows("real", REAL), rows("real+classic", CLASSIC, asked="20 a class", n_labelled=200)
        )
    )
    assert line(found, "real+classic")["against"] == ""
    assert found["difference"].isna().all()


def test_variants_are_named_by_the_settings_that_differ():
    frame = results(
        rows("real", REAL[:2]),
        *(
            rows("real+synth", REAL[:2], ratio=r, guidance=g)
            for r in (1.0, 5.0)
            for g in (1.0, 3.0)
        ),
        *(rows("synth", REAL[:2], ratio=r, share=None, guidance=1.0) for r in (1.0, 5.0)),
        *(
            rows("real+synth", REAL[:2], ratio=r, generator="noise", guidance=None)
            for r in (1.0, 5.0)
        ),
    )
    assert sorted(set(variant_names(frame))) == [
        "",
        "ddpm guidance=1 ratio=1",
        "ddpm guidance=1 ratio=5",
        "ddpm guidance=3 ratio=1",
        "ddpm guidance=3 ratio=5",
        "noise ratio=1",
        "noise ratio=5",
    ]
    found = summarise(frame)
    assert found["generator"].iloc[0] == ""
    assert (found["of"] == 2).all()
    assert len(found) == 1 + 4 + 2 + 2


def test_variants_whose_settings_are_all_alike_have_the_bare_name(usual):
    assert set(variant_names(usual)) == {"", "ddpm"}


def test_ratios_that_differ_in_the_seventh_digit_are_two_variants():
    frame = results(*(rows("synth", REAL[:2], ratio=r) for r in (0.1234567, 0.1234568)))
    assert len(set(variant_names(frame))) == 2


def test_one_trial_has_no_interval_no_p_and_says_so():
    found = summarise(results(rows("real+classic", [0.6]), rows("real+classic+synth", [0.63])))
    cell = line(found, "real+classic+synth")
    assert cell[["low", "high", "p", "p_holm"]].isna().all()
    assert cell["verdict"] == "one trial"
    assert table_blocks(found)[0][1][-1] == [
        "ddpm",
        "real+classic+synth",
        "63.00",
        "+3.00",
        "",
        "one trial",
        "1",
        "real+classic",
        "",
    ]
    assert verdict_sentences(found) == [
        "ddpm on digits (100 labelled images): +3.00 points against classic transforms alone in "
        "one trial; a verdict takes three at least (--seeds 3)."
    ]


@pytest.mark.parametrize(
    ("points", "verdict"), [((3, 4, 5), "helps"), ((-3, -4, -5), "hurts"), ((-3, 4, 1), "can't")]
)
def test_sentence_gives_verdict_points_interval_and_trials(points, verdict):
    base = [0.60, 0.61, 0.62]
    arm = [b + p / 100 for b, p in zip(base, points, strict=True)]
    found = summarise(results(rows("real+classic", base), rows("real+classic+synth", arm)))
    (sentence,) = verdict_sentences(found)
    c = paired_contrast(arm, base)
    assert f": {verdict}" in sentence
    assert f"{sum(points) / 3:+.2f} points against classic transforms alone" in sentence
    assert f"95 % interval {100 * c.low:+.2f} to {100 * c.high:+.2f}, n = 3 trials" in sentence


def test_ways_without_a_generator_are_answered_beside_it():
    base, policy = [0.60, 0.61, 0.62], [0.63, 0.65, 0.64]
    both = [p + d for p, d in zip(policy, (0.001, -0.002, 0.0), strict=True)]
    found = summarise(
        results(
            rows("real+classic", base),
            rows(
                "real+classic+synth",
                [b + d for b, d in zip(base, (0.02, 0.021, 0.019), strict=True)],
            ),
            rows("real+randaugment", policy),
            rows("real+randaugment+synth", both),
            rows("real+mixup", base),
        )
    )
    first, free, pair = verdict_sentences(found)  # mixup was not tried with synthetic images
    assert first.startswith("ddpm on digits (100 labelled images): helps")
    assert "+2.00 points against classic transforms alone" in first
    assert free.startswith("real+randaugment, which needs no generator, on digits (100 labelled")
    assert ": helps, but not if all 3 comparisons" in free
    assert ": +3.00 points against classic transforms alone" in free
    assert pair.startswith("ddpm on top of real+randaugment on digits (100 labelled images): can't")
    assert "-0.03 points against real+randaugment alone" in pair
    assert ["detect" in each or "said from" in each for each in (first, free, pair)] == [
        True,
        False,
        False,
    ]


def test_sentence_says_which_gain_so_many_trials_detect(usual):
    (sentence,) = verdict_sentences(summarise(usual))
    sd = float(np.std([3, 4, 5, 4, 3, 5], ddof=1)) / 100  # the differences, in points
    low, high = sd_range(6, sd)
    gains = [percent(detectable_gain(6, each)) for each in (low, high)]
    needed = [trials_needed(0.005, each, 0.9875) for each in (low, high)]  # at the next look
    assert sentence.endswith(
        f"Power 80 %: 6 trials detect a gain of {gains[0]} to {gains[1]} points; "
        f"0.5 points would need {needed[0]} to {needed[1]} trials."
    )


MORE_IMAGES = "more test images, however many trials there are"


@pytest.mark.parametrize(
    ("n", "sd", "se_test", "said"),
    [
        (2, 0.5, 0.0, "A verdict takes 3 trials at least (--seeds 3)."),
        (5, 0.5, 0.0, "How many trials it would take can be said from 6 on (--seeds 6)."),
        (6, 0.0, 0.01, "All trials differ by the same, so it cannot be said how many would be"),
        (6, 5.0, 0.0, "6 trials detect no possible gain; 0.5 points would need more than 1000"),
        (6, 0.05, math.nan, "to more than 1000 trials."),
        (6, 0.01, 0.02, f"0.5 points would need {MORE_IMAGES}."),
        (6, 0.0003, 0.0, "0.5 points would need 3 trials."),
    ],
)
def test_plan_says_what_is_known(n, sd, se_test, said):
    line = {
        "pairs": float(n),
        "sd_difference": sd,
        "se_test_images": se_test,
        "looks": 1.0,
        "until": math.nan,
    }
    assert said in plan_sentence({**line, "sd_interaction": math.nan, "test_units": math.nan})


def test_verdict_that_does_not_survive_the_correction_says_so():
    # the decisive p is 0.03, twice that above 0.05
    gains = [0.01, 0.03, -0.005, 0.02, 0.025, 0.005]
    more = [score + gain for score, gain in zip(CLASSIC, gains, strict=True)]
    less = [score - gain for score, gain in zip(CLASSIC, gains, strict=True)]
    table = results(
        rows("real", less), rows("real+classic", CLASSIC), rows("real+classic+synth", more)
    )
    found = summarise(table)
    assert 0.025 < line(found, "real+classic+synth")["p"] < 0.05
    assert verdict_words(dict(line(found, "real+classic+synth")), found) == "helps?"
    p = probability(line(found, "real+classic+synth")["p_holm"])
    assert (
        f": helps, but not if all 2 comparisons of this table are counted (p = {p}): "
        in verdict_sentences(found)[0]
    )
    assert "this table makes 2 comparisons" in legend(found)[0]
    alone = summarise(table[table["arm"] != "real"])
    assert ": helps: " in verdict_sentences(alone)[0]
    assert verdict_words(dict(line(alone, "real+classic+synth")), alone) == "helps"
    assert legend(alone) == []


def with_units(table, **columns):
    """The table with columns of the test units in the rows of the decisive arm."""
    known = pd.DataFrame(columns, index=table.index).where(table["arm"] == "real+classic+synth")
    return table.assign(**known)


def test_interval_covers_the_test_units_that_the_table_tells_of(usual):
    known = dict(se_test_images=0.005, sd_interaction=0.004, test_units=12)
    found = line(summarise(with_units(usual, **known)), "real+classic+synth")
    wanted = paired_contrast(BOTH, CLASSIC, units=UnitVariance(12, 0.005, 0.004))
    assert (found["low"], found["high"], found["p"]) == pytest.approx(
        (wanted.low, wanted.high, wanted.p)
    )
    assert found[list(known)].to_dict() == pytest.approx(known)
    # tables of 0.3.0 tell the standard error alone
    old = line(summarise(with_units(usual, se_test_images=0.005)), "real+classic+synth")
    wanted = paired_contrast(BOTH, CLASSIC, units=UnitVariance(se=0.005))
    assert (old["low"], old["high"]) == pytest.approx((wanted.low, wanted.high))


def test_a_single_test_group_carries_no_general_verdict(usual):
    found = summarise(with_units(usual, test_units=1))
    assert line(found, "real+classic+synth")["verdict"] == "helps on one group"
    assert ": helps on one group: +4.00 points" in verdict_sentences(found)[0]
    assert any("All test images are of one group" in note for note in legend(found))
    assert "helps on one group |" in markdown(found)
    assert not any("All test images" in note for note in legend(summarise(usual)))


def test_looks_are_printed_and_paid_for(usual):
    first, third = summarise(usual), summarise(usual.assign(looks=3))
    assert line(third, "real+classic+synth")["low"] < line(first, "real+classic+synth")["low"]
    assert line(third, "real+classic+synth")["p"] == pytest.approx(
        8 * line(first, "real+classic+synth")["p"]
    )
    assert any(note.startswith("This is look 3 at") and "99.38 %" in note for note in legend(third))
    assert "look" not in "".join(legend(first))


def test_equal_scores_are_never_certain(usual):
    same = results(rows("real+classic", CLASSIC), rows("real+classic+synth", CLASSIC))
    floor = 3 / 1.96 / 60
    known = with_units(same, test_units=60.0, se_test_images=floor, sd_interaction=0.0)
    for table in (same, known):
        found = line(summarise(table), "real+classic+synth")
        assert found["verdict"] == "can't tell"
        assert not found["high"] - found["low"] < 0.1  # of 60 images three may differ
        assert "detect" not in verdict_sentences(summarise(table))[0]
    assert (
        "+0.00 points against classic transforms alone, the same in all trials, n = 6"
        in (verdict_sentences(summarise(same))[0])
    )


def test_no_sentence_without_the_decisive_arm():
    assert verdict_sentences(summarise(results(rows("real", REAL), rows("synth", REAL)))) == []


def test_decisive_arm_without_its_baseline_makes_no_claim():
    found = summarise(results(rows("real", REAL), rows("real+classic+synth", BOTH)))
    said = "real+classic is not among --arm: add it to see a gain."
    assert verdict_sentences(found) == [f"ddpm on digits (100 labelled images): {said}"]
    assert "not among" not in " ".join(legend(found))  # once is enough


def test_other_arms_without_their_baseline_are_named():
    found = summarise(results(rows("real+classic", CLASSIC), rows("synth", REAL)))
    against = ARMS["synth"].against
    assert against not in set(found["arm"])
    assert f"synth: {against} is not among --arm: add it to see a gain." in markdown(found)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_table_of_baselines_alone_or_of_nothing_is_a_table(metric):
    alone = summarise(results(rows("real", REAL, macro_f1=0.5)), metric)
    assert list(alone["verdict"]) == [""]
    assert "real" in markdown(alone)
    nothing = summarise(results(), metric)
    assert list(nothing.columns) == list(alone.columns)
    assert table_blocks(nothing) == verdict_sentences(nothing) == []
    assert markdown(nothing)


def test_other_metric_is_tabled_on_request(usual):
    usual["macro_f1"] = usual["accuracy"] / 2
    assert line(summarise(usual, "macro_f1"), "real")["mean"] == pytest.approx(0.26)


def test_markdown_shows_the_figures(usual):
    text = markdown(summarise(usual))
    assert "**digits, 100 labelled images (10 a class)**" in text
    assert (
        "| ddpm | real+classic+synth | 65.00 ± 1.67 | +4.00 | +3.06 … +4.94 "
        "| helps | 6 | real+classic | <0.001 |".replace("<", "&lt;")
        in text
    )
    assert "|  | real | 52.00 ± 1.79 |  |  |  | 6 |  |  |" in text
    assert "- ddpm on digits (100 labelled images): helps: +4.00 points" in text
    assert "with Holm's correction for all comparisons of this table (2)." in text


@pytest.mark.parametrize(
    "name", ["a|b", "two\nlines", "a\rb", "<script>alert(1)</script>", "a\\|b"]
)
def test_markdown_cells_hold_whatever_a_name_holds(name):
    found = summarise(
        results(
            rows("real+classic", CLASSIC, dataset=name),
            rows("real+classic+synth", BOTH, dataset=name, generator=name),
        )
    )
    text = markdown(found)
    assert "<" not in text.replace("<0.001", "")
    assert "\r" not in text
    table = [part for part in text.split("\n") if part.startswith("|")]
    assert len(table) == 4
    for part in table:
        bars = part.replace("\\\\", "").replace("\\|", "").count("|")
        assert bars == len(TABLE_HEAD) + 1
    assert sum(part.startswith("**") for part in text.split("\n")) == 1


def test_table_from_the_csv_is_the_table_of_the_run(usual, tmp_path):
    usual["accuracy"] += 1 / 3
    usual = pd.concat([usual, results(rows("synth", [None] * 6, dataset="=NA|"))])
    write_csv(tmp_path / "results.csv", usual)
    again = read_csv(tmp_path / "results.csv", TEXT_COLUMNS)
    assert markdown(summarise(again)) == markdown(summarise(usual))
    pd.testing.assert_frame_equal(summarise(again), summarise(usual), check_dtype=False)


def test_sentence_and_table_cut_an_interval_at_the_possible():
    far = results(
        rows("real+classic", [0.0, 0.9, 0.1]), rows("real+classic+synth", [0.9, 0.0, 0.9])
    )
    found = summarise(far)
    ((_, lines),) = table_blocks(found)
    assert "-100.00 … +100.00" in lines[-1]
    assert "95 % interval -100.00 to +100.00" in verdict_sentences(found)[0]


@pytest.mark.parametrize(
    ("value", "sign", "wanted"),
    [
        (0.12345, False, "12.35"),
        (0.01, True, "+1.00"),
        (-0.0002, True, "-0.02"),
        (math.nan, True, ""),
        (None, False, ""),
    ],
)
def test_percent(value, sign, wanted):
    assert percent(value, sign) == wanted


@pytest.mark.parametrize(
    ("p", "wanted"),
    [(0.25, "0.250"), (0.00099, "<0.001"), (0.0, "<0.001"), (None, ""), (math.nan, "")],
)
def test_p_is_never_shown_as_zero(p, wanted):
    assert probability(p) == wanted


def test_uneven_classes_are_scored_by_balanced_accuracy(usual):
    balanced = usual["accuracy"] - 0.1
    uneven = usual.assign(measure="balanced accuracy", balanced_accuracy=balanced)
    assert line(summarise(uneven), "real")["mean"] == pytest.approx(
        line(summarise(usual), "real")["mean"] - 0.1
    )
    assert "; balanced accuracy**" in markdown(summarise(uneven))
    assert "; balanced accuracy**" not in markdown(summarise(usual))


SPOILT = [
    score - 0.3 + 0.001 * k for k, score in enumerate(REAL)
]  # by transforms that mirror what tells left from right


def test_decisive_arm_is_measured_against_real_where_classic_surely_hurts():
    both = [score + 0.01 for score in SPOILT]
    table = results(
        rows("real", REAL), rows("real+classic", SPOILT), rows("real+classic+synth", both)
    )
    found = summarise(table)
    assert line(found, "real+classic")["verdict"] == "hurts"
    decisive = line(found, "real+classic+synth")
    assert decisive["against"] == "real"
    assert decisive["difference"] == pytest.approx(-0.2875)
    assert decisive["verdict"] == "hurts"
    (sentence,) = verdict_sentences(found)
    assert (
        "-28.75 points against real (real+classic is surely worse than that here), 95 %" in sentence
    )
    assert "classic transforms alone" not in sentence


@pytest.mark.parametrize("scores", [CLASSIC, [0.5, 0.52, 0.54, 0.5, 0.52, 0.53], [0.4]])
def test_decisive_arm_stays_against_classic_unless_that_is_surely_worse(scores):
    parts = [rows("real", REAL), rows("real+classic", scores), rows("real+classic+synth", BOTH)]
    found = line(summarise(results(*parts)), "real+classic+synth")
    assert found["against"] == "real+classic"
    without = summarise(results(rows("real+classic", SPOILT), rows("real+classic+synth", BOTH)))
    assert line(without, "real+classic+synth")["against"] == "real+classic"
