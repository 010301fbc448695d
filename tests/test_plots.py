"""Plots hold the figures that the table holds."""

import numpy as np
import pandas as pd
import pytest
from test_table import BOTH, CLASSIC, REAL, results, rows

from augment.metrics.intervals import mean_interval
from augment.report.figures import save_figure
from augment.report.gain_plot import gain_intervals
from augment.report.plots import accuracy_by_arm, gain_curves
from augment.report.table import summarise


def at_amounts(*amounts):
    return results(
        *(
            part
            for k, n in enumerate(amounts)
            for part in (
                rows("real+classic", CLASSIC, n_labelled=n, asked=f"{n} in all"),
                rows(
                    "real+classic+synth",
                    [c + 0.01 * k for c in CLASSIC],
                    n_labelled=n,
                    asked=f"{n} in all",
                ),
            )
        )
    )


def test_gain_is_drawn_along_what_varies():
    figure = gain_curves(at_amounts(30, 50, 100))
    (axis,) = figure.axes
    line = axis.containers[0].lines[0]
    assert line.get_xdata().tolist() == [30, 50, 100]
    assert line.get_ydata() == pytest.approx([0, 1, 2])
    assert axis.get_xlabel() == "labelled images"


def test_gain_shows_the_interval_over_the_trials():
    gains = [1, 2, 3, 4, 5, 6]
    table = at_amounts(30, 50, 100)
    chosen = (table["arm"] == "real+classic+synth") & (table["n_labelled"] == 50)
    table.loc[chosen, "accuracy"] = [c + g / 100 for c, g in zip(CLASSIC, gains, strict=True)]
    (bars,) = gain_curves(table).axes[0].containers[0].lines[2]
    ends = bars.get_segments()[1][:, 1]
    assert ends.tolist() == pytest.approx(mean_interval(gains)[1:])


def test_control_without_the_setting_is_left_out_of_its_curve():
    table = results(
        rows("real+classic", CLASSIC),
        rows("real+classic+synth", CLASSIC, generator="duplicate", guidance=None),
        *(rows("real+classic+synth", CLASSIC, guidance=g) for g in (1.0, 2.0, 3.0)),
    )
    (axis,) = gain_curves(table).axes
    assert [c.get_label() for c in axis.containers] == ["ddpm"]
    assert axis.containers[0].lines[0].get_xdata().tolist() == [1, 2, 3]


def test_no_gain_curve_for_fewer_than_three_values():
    assert gain_curves(at_amounts(30, 50)) is None


def test_accuracy_panels_wrap_into_rows():
    figure = accuracy_by_arm(at_amounts(1, 2, 3, 4))
    assert [a.get_title() for a in figure.axes if a.get_title()] == [
        f"digits, {n} in all" for n in (1, 2, 3, 4)
    ]
    assert figure.axes[3].get_subplotspec().rowspan.start == 1


def texts(figure):
    return [t.get_text() for axis in figure.axes for t in axis.texts if t.get_text()]


def intervals(axis):
    """(low, high) of each interval that is drawn, from top to bottom."""
    lines = [line for line in axis.lines if len(line.get_xdata()) == 2]
    return [tuple(line.get_xdata()) for line in lines if len(set(line.get_ydata())) == 1]


def test_gains_are_those_of_the_table_the_decisive_one_first():
    summary = summarise(
        results(rows("real", REAL), rows("real+classic", CLASSIC), rows("real+classic+synth", BOTH))
    )
    (axis,) = gain_intervals(summary).axes
    by_arm = summary.set_index("arm")
    for drawn, arm in zip(intervals(axis), ("real+classic+synth", "real+classic"), strict=True):
        assert drawn == pytest.approx(tuple(100 * by_arm.loc[arm, ["low", "high"]]))
    assert texts(axis.figure) == [
        "real+classic+synth, gain over real+classic",
        "ddpm  (n = 6)",
        "+4.00",
        "helps",
        "gain over real",
        "real+classic  (n = 6)",
        "+9.00",
        "helps",
    ]
    assert axis.get_xlim()[0] < 0 < axis.get_xlim()[1]
    assert "gain in accuracy, percentage points" in axis.get_xlabel()


def test_verdicts_differ_in_marker_and_colour():
    noise = [0.001, -0.001, 0.002, -0.002, 0.001, -0.001, 0.002]
    base = [*CLASSIC, 0.6]
    gains = {"better": 0.03, "worse": -0.03, "equal": 0.0}
    summary = summarise(
        results(
            rows("real+classic", base),
            *(
                rows(
                    "real+classic+synth",
                    [b + gain + e for b, e in zip(base, noise, strict=True)],
                    generator=name,
                )
                for name, gain in gains.items()
            ),
        )
    )
    (axis,) = gain_intervals(summary).axes
    points = [line for line in axis.lines if len(line.get_xdata()) == 1]
    assert [line.get_marker() for line in points] == [">", "<", "o"]
    assert len({line.get_color() for line in points}) == 3
    assert all(line.get_markerfacecolor() == line.get_color() for line in points)  # corrected
    words = [text for text in texts(axis.figure) if text in ("helps", "hurts", "can't tell")]
    assert words == ["helps", "hurts", "can't tell"]


def test_a_loss_of_many_points_does_not_flatten_the_decisive_gain():
    poor = [score - 0.4 + 0.01 * k for k, score in enumerate(REAL)]
    summary = summarise(
        results(
            rows("real", REAL),
            rows("real+classic", CLASSIC),
            rows("real+classic+synth", BOTH),
            rows("synth", poor),
        )
    )
    (axis,) = gain_intervals(summary).axes
    high = 100 * summary.set_index("arm").loc["real+classic+synth", "high"]
    left, right = axis.get_xlim()
    assert left == pytest.approx(-3 * high, rel=0.2)
    assert right > 100 * summary.set_index("arm").loc["real+classic", "high"]
    arrows = [t for t in axis.texts if getattr(t, "arrow_patch", None)]
    assert [t.xy[0] for t in arrows] == [left]  # synth, 37.5 points below real
    assert "−37.50" in texts(axis.figure)
    assert axis.get_xlabel().endswith("(arrows lead beyond the axis)")


def test_single_trials_are_points_without_an_interval():
    summary = summarise(results(rows("real+classic", [0.6]), rows("real+classic+synth", [0.63])))
    (axis,) = gain_intervals(summary).axes
    assert intervals(axis) == []
    assert "one trial" in texts(axis.figure)


def test_equal_scores_are_drawn_at_zero():
    summary = summarise(results(rows("real+classic", CLASSIC), rows("real+classic+synth", CLASSIC)))
    (axis,) = gain_intervals(summary).axes
    assert intervals(axis) == []  # on unknown test images nothing tells how wide
    assert axis.get_xlim()[0] < 0 < axis.get_xlim()[1]


def test_no_plot_of_gains_without_a_contrast():
    assert gain_intervals(summarise(results(rows("real", REAL)))) is None
    failed = results(rows("real+classic", CLASSIC), rows("real+classic+synth", [None] * 6))
    assert gain_intervals(summarise(failed)) is None


def test_amounts_have_a_panel_each_on_one_axis(tmp_path):
    names = ["$a_$ setting=" + "x" * 80, "b"]  # no formula, and longer than a line
    more = results(
        *(
            rows("real+classic+synth", BOTH, generator=name, n_labelled=30, asked="30 in all")
            for name in names
        )
    )
    figure = gain_intervals(summarise(pd.concat([at_amounts(30, 50), more])))
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "digits, 30 labelled images (30 in all)",
        "digits, 50 labelled images (50 in all)",
    ]
    assert len({axis.get_xlim() for axis in figure.axes}) == 1
    label = next(text for text in texts(figure) if "x" * 20 in text)
    assert "\n" in label
    assert label.replace("\n", "").count("x") == 80
    rows_shown = np.array([axis.get_ylim()[0] for axis in figure.axes])
    heights = np.array([axis.get_position().height for axis in figure.axes])
    assert rows_shown / rows_shown[0] == pytest.approx(heights / heights[0])  # one height of rows
    save_figure(figure, tmp_path / "gain.png")
    assert (tmp_path / "gain.png").stat().st_size > 1000
