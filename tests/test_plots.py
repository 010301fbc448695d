"""Plots hold the figures that the table holds."""

import pytest
from test_table import CLASSIC, results, rows

from augment.metrics.paired import mean_interval
from augment.report.plots import accuracy_by_arm, gain_curves


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


def test_gain_shows_the_interval_of_the_pairs():
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
