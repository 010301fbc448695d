"""`augment compare`: two runs paired over the trials that both have."""

import pandas as pd
import pytest
from test_table import CLASSIC, REAL, results, rows

from augment.errors import UsageError
from augment.metrics.paired import paired_contrast
from augment.report.comparison import (
    IMAGES_HEAD,
    compare_images,
    compare_tables,
    comparison_lines,
    image_lines,
)


def table(scores, generator="ddpm", sha="x", **others):
    found = results(
        rows("real", REAL), rows("real+classic+synth", scores, generator=generator, **others)
    )
    return found.assign(data_sha=sha)


def test_arms_are_compared_over_the_seeds_both_have():
    a, b = table([0.6, 0.7, 0.8]), table([0.62, 0.75, None, 0.9], generator="cgan")
    found = compare_tables(a, b).set_index("arm")
    line = found.loc["real+classic+synth"]
    expected = paired_contrast([0.62, 0.75], [0.6, 0.7])  # seed 2 failed in B, seed 3 is not in A
    assert (line["pairs"], line["difference"]) == (2, pytest.approx(expected.mean))
    assert (line["low"], line["high"]) == pytest.approx((expected.low, expected.high))
    assert line["verdict"] == "too few trials"
    assert (line["generator_a"], line["generator_b"]) == ("ddpm", "cgan")
    assert found.loc["real", "difference"] == 0
    assert found.loc["real", "verdict"] == "equal"


def test_verdict_names_the_better_run_and_the_lines_show_it():
    better = [score + 0.05 + 0.001 * k for k, score in enumerate(CLASSIC)]
    forth = compare_tables(table(CLASSIC), table(better))
    back = compare_tables(table(better), table(CLASSIC))
    assert forth["verdict"].tolist() == ["equal", "B is better"]
    assert back["verdict"].tolist() == ["equal", "A is better"]
    shown = comparison_lines(forth)[1]
    assert shown[:5] == [
        "digits, 10 a class",
        "real+classic+synth",
        "61.00 ddpm",
        "66.25 ddpm",
        "+5.25",
    ]
    assert shown[6] == "6"


def test_p_is_corrected_over_the_whole_table():
    better = [score + 0.05 + 0.001 * k for k, score in enumerate(CLASSIC)]
    found = compare_tables(table(CLASSIC), table(better))
    # equal scores on unknown test images have no p, and are no comparison
    assert found["p"].isna().tolist() == [True, False]
    assert found["p_holm"].tolist()[1] == found["p"].tolist()[1]
    assert found["p_sign_flip"].tolist() == [1.0, 2**-5]


def test_of_several_generators_namesakes_are_compared():
    def both(first, second):
        return pd.concat([table([0.6] * 3, first), table([0.7] * 3, second).query("arm != 'real'")])

    found = compare_tables(both("ddpm", "cgan"), both("cvae", "ddpm"))
    assert found["generator_a"].tolist() == ["", "ddpm"]
    assert found["difference"].tolist() == pytest.approx([0, 0.1])


@pytest.mark.parametrize(
    ("b", "says"),
    [
        (table([0.6], sha="y"), "different images under the name digits"),
        (table([0.6], dataset="mnist").query("arm != 'real'"), "share no finished trial"),
        (table([None]).query("arm != 'real'"), "share no finished trial"),
    ],
)
def test_runs_that_cannot_be_paired_are_refused(b, says):
    with pytest.raises(UsageError, match=says):
        compare_tables(table([0.6]), b)


def test_images_of_two_runs_stand_in_one_table(tmp_path):
    for name, agreement in (("a", (0.2, 0.4)), ("b", (0.5, 0.7))):
        (tmp_path / name).mkdir()
        pd.DataFrame(
            {
                "dataset": "digits",
                "asked": "3 a class",
                "seed": [0, 1],
                "generator": name,
                "features": "x",
                "agreement": agreement,
                "diversity": 0.5,
                "twins": 0.25,
                "kid": 0.1,
                "copy_rate": 0.0,
                "warning": None,
            }
        ).to_csv(tmp_path / name / "quality.csv", index=False)
    found = compare_images(tmp_path / "a", tmp_path / "b")
    assert found["measure"].tolist() == ["agreement", "copy_rate", "diversity", "twins", "kid"]
    assert found.loc[0, ["a", "b", "n_a", "n_b"]].tolist() == pytest.approx([0.3, 0.6, 2, 2])
    lines = image_lines(found)
    assert len(lines[0]) == len(IMAGES_HEAD)
    assert lines[0] == ["digits, 3 a class", "x", "right class %", "30.00 a", "60.00 b", "2"]
    assert [line[3] for line in lines[1:]] == ["0.00 a", "0.50 a", "25.00 a", "0.1 a"]
    assert compare_images(tmp_path / "a", tmp_path / "nowhere").empty


def test_more_looks_of_either_run_count():
    better = [score + 0.05 + 0.001 * k for k, score in enumerate(CLASSIC)]
    once = compare_tables(table(CLASSIC), table(better)).iloc[1]
    twice = compare_tables(table(CLASSIC).assign(looks=2), table(better)).iloc[1]
    assert twice["low"] < once["low"]
    assert (once["level"], twice["level"]) == (0.95, 0.9875)


@pytest.mark.parametrize(("n", "is_shown"), [(29, False), (30, True)])
def test_rates_of_balls_of_few_images_are_not_compared(tmp_path, n, is_shown):
    for name in "ab":
        (tmp_path / name).mkdir()
        line = dict(dataset="x", asked="all", generator="cvae", features="x", warning=None)
        table = pd.DataFrame([{**line, "seed": 0, "n": n, "precision": 1.0, "kid": 0.1}])
        table.to_csv(tmp_path / name / "quality.csv", index=False)
    found = compare_images(tmp_path / "a", tmp_path / "b")["measure"].tolist()
    assert found == ["kid", "precision"][: 1 + is_shown]
