"""What a person sees of a run that goes: one bar for all cells, one for each that is running."""

import io
import re
import time

import pytest
from rich.console import Console

from augment.cli import progress
from augment.cli.progress import iter_with_bars, iter_with_lines
from augment.engine.status import CELL
from augment.experiment.progress import Progress

NAME = "digits, 10 a class, seed {}: real+classic+synth (ddpm)"


def steps(pause=0.0):
    """Two cells at once, of four; the first one ends with a warning."""
    yield Progress(CELL, "", 0, 4)
    for step in range(3):
        for number in (0, 1):
            yield Progress("generator", NAME.format(number), step, 40, {"loss": 0.4}, number=number)
        time.sleep(pause)
    yield Progress("quality", NAME.format(0), 1, 1, warning="[odd] pictures", number=0)
    yield Progress(CELL, NAME.format(0), 1, 4, {"failed": 0.0}, number=0)
    yield Progress("generator", NAME.format(0), 9, 40, number=0)  # late news of a cell that ended
    yield Progress("score", NAME.format(1), 5, 30, {"loss": 0.2}, number=1)
    return "result"


@pytest.mark.parametrize("width", [40, 80, 160])
def test_bars_fit_the_terminal_and_the_cells_come_first(width, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    screen = Console(file=io.StringIO(), force_terminal=True, width=width)
    assert iter_with_bars(steps(0.3), screen) == "result"
    text = re.sub(r"\x1b\[\??[\d;]*[A-Zhl]", "", screen.file.getvalue())  # cursor moves
    assert "\x1b" not in text  # no colour
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    assert max(map(len, lines)) <= width
    cells, *running = lines[-2:]
    assert re.match(r"cells +(\S+ +)?1/4 .*\d/(s|min) \d+ s left$", cells)
    assert re.match(r"score · dig.*5/30", running[0])  # the late news opened no bar
    assert ("loss 0.2" in running[0]) == (width == 160)
    assert "warning" in text
    assert "[odd] pictures" in " ".join(lines)


def test_lines_say_the_same(capsys):
    assert iter_with_lines(steps(0.3), every=0.0) == "result"
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "0/4 cells"
    assert lines[1] == f"0/4 cells · {NAME.format(0)}: generator 0/40  loss 0.4"
    assert re.fullmatch(
        r"0/4 cells · .* seed 1: .*: generator 2/40 [\d.]+/s \d+ s left loss 0.4", lines[6]
    )
    assert re.fullmatch(
        r"1/4 cells [\d.]+/(s|min) \d+ s left · .*: score 5/30  loss 0.2", lines[-1]
    )
    assert "warning: digits, 10 a class, seed 0" in lines[7]


def test_lines_are_few(capsys):
    iter_with_lines(steps(), every=60.0)
    assert len(capsys.readouterr().err.splitlines()) == 1  # the warning


def test_rate_and_time_left_are_those_of_late(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])

    def slower():
        for step in range(160):  # 10 a second, then one, as where other work begins
            yield Progress("generator", "cell", step, 200, number=0)
            clock[0] += 0.1 if step < 100 else 1.0
        yield Progress("score", "cell", 0, 10, number=0)
        clock[0] += 1.0
        yield Progress("score", "cell", 5, 10, number=0)
        yield Progress("score", "cell", 0, 10, number=0)  # of the next fold
        clock[0] += 1.0
        yield Progress("score", "cell", 1, 10, number=0)
        return "result"

    assert iter_with_lines(slower(), every=0.0) == "result"
    lines = capsys.readouterr().err.splitlines()
    assert "generator 99/200 10.0/s 10 s left" in lines[99]
    assert "generator 159/200 1.0/s 41 s left" in lines[159]
    ends = [line.rstrip().partition("score ")[2] for line in lines[-4:]]
    assert ends == ["0/10", "5/10 5.0/s 1 s left", "0/10", "1/10 1.0/s 9 s left"]
