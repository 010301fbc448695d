"""Cases 13-15, 22-25, 32 and 33 of the faults: settings, names, and what is printed of them."""

import csv
import json
import re

import pandas as pd
import pytest
from blackbox import (
    DIGITS,
    ONE_ARM,
    SMOKE,
    augment,
    clean,
    fine,
    fingerprint,
    finished,
    on_a_terminal,
    pictures,
    rows,
    start,
)

from augment.storage.tables import read_csv

NASTY = ("=HYPERLINK('x')", "@SUM(1)", "<script>alert(1)", "-0.02", " ä ☃,\n\"q\" & 'r' ")


@pytest.mark.slow
@pytest.mark.parametrize("frac", ["0", "-0.1", "nan", "1e-9", "1.5"])
def test_13_fraction_out_of_range_is_refused(tmp_path, frac):
    done = augment("run", "--frac", frac, "--out", tmp_path / "run")
    clean(done, 2, "--frac", "would leave 0 images of class '0'" if frac == "1e-9" else frac)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("datset = 'digits'", "did you mean 'dataset'"),
        ("[set.cvae]\nstep = 3", "did you mean 'steps'"),
        ("seeds = 'three'", "--seeds three"),
        ("[set.cvae]\nlr = 'fast'", "cvae.lr = 'fast'"),
    ],
)
def test_14_recipe_with_a_wrong_key_or_type_is_refused(tmp_path, text, said):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(text)
    clean(augment("sweep", recipe, "--out", tmp_path / "run"), 2, recipe, said)
    assert list(tmp_path.iterdir()) == [recipe]


def test_15_gpu_that_is_not_there_is_never_replaced(tmp_path):
    words = ["run", *DIGITS, "--device", "cuda", "--out", tmp_path / "run"]
    clean(augment(*words, CUDA_VISIBLE_DEVICES=""), 5, "--device cuda", "--device auto")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    """(data set, its run folder) of classes, files and folders with names that nobody means."""
    above = tmp_path_factory.mktemp("nasty") / " ä ☃\n'q'"
    root = pictures(above / "=1+1 pictures", n=5, classes=NASTY)
    first = next((root / NASTY[2]).iterdir())
    first.rename(first.with_name("'\"&<script> ☃\n.png"))
    out = above / "<script> run\n'\"&"
    fine(augment("run", "--dataset", root, *SMOKE, "--seeds", "2", "--out", out))
    return root, out


@pytest.mark.slow
def test_22_strange_names_come_back_as_they_were(nasty, tmp_path):
    root, out = nasty
    assert set(read_csv(out / "per_class.csv", ("class", "dataset"))["class"]) == set(NASTY)
    table = rows(out)
    assert set(table["run"]) == {out.name}
    assert set(table["dataset"]) == {str(root)}
    listed = read_csv(out / "manifest.csv", ("file", "label"))
    files = {str(file.relative_to(root)) for file in root.rglob("*.png")}
    assert set(listed["file"]) <= files
    assert set(listed["label"]) == set(NASTY)
    fine(augment("export", out, tmp_path / "exported"))
    found = json.loads(fine(augment("check", tmp_path / "exported", "--json")).stdout)
    # labels in tables lose blanks around them
    assert set(found["pool_by_class"]) == {name.strip() for name in NASTY}


@pytest.mark.slow
def test_22_strange_names_make_no_tag(nasty):
    page = (nasty[1] / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<script" not in (nasty[1] / "table.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_23_no_text_cell_is_a_formula_and_numbers_are_numbers(nasty):
    cells = []
    for file in nasty[1].glob("*.csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            cells += [cell for line in csv.reader(lines) for cell in line]
    risky = [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))]
    assert risky  # negative differences
    assert all(re.fullmatch(r"-\d[\d.e-]*", cell) for cell in risky)
    assert {"'=HYPERLINK('x')", "'@SUM(1)", "-0.02"} <= set(cells)
    assert pd.read_csv(nasty[1] / "summary.csv")["difference"].dtype == float


@pytest.mark.slow
def test_24_two_runs_at_one_moment_never_mix(tmp_path):
    words = ["run", *ONE_ARM, "--per-class", "3"]
    both = [start(*words, cwd=tmp_path) for _ in range(2)]
    said = [process.communicate(timeout=600)[1] for process in both]
    codes = sorted(process.returncode for process in both)
    folders = list((tmp_path / "results/runs").iterdir())
    assert codes in ([0, 0], [0, 6]), said
    assert len(folders) == codes.count(0)
    assert all(finished(folder) == len(rows(folder)) == 1 for folder in folders)


@pytest.mark.slow
def test_24_a_folder_in_use_is_refused(tmp_path):
    out = tmp_path / "run"
    words = ["run", "--per-class", "3", *ONE_ARM, "--out", out]
    first = start(*words[:-2], "--set", "classifier.steps=100000", "--out", out)
    while not (out / "settings.json").exists():
        assert first.poll() is None, first.stderr.read()
    try:
        clean(augment(*words), 6, out, "in use by another run", "--out")
    finally:
        first.terminate()
        first.communicate(timeout=600)
    assert finished(out) == 0


@pytest.mark.slow
def test_25_changed_settings_or_pictures_are_refused_with_the_difference(tmp_path):
    root, out = pictures(tmp_path / "pictures"), tmp_path / "run"
    words = ["run", "--dataset", root, *ONE_ARM, "--out", out]
    fine(augment(*words))
    before = fingerprint(out)
    clean(augment(*words, "--classifier", "resnet"), 6, "classifier: airbench → resnet", "--out")
    picture = root / "across/000.png"
    picture.write_bytes((root / "down/009.png").read_bytes())
    clean(augment("resume", out), 6, f"other images in {root}")
    now = fingerprint(out)
    assert {k: v[2] for k, v in now.items()} == {k: v[2] for k, v in before.items()}


@pytest.mark.slow
@pytest.mark.parametrize("seeds", ["1", "4,4,4"])
def test_32_one_trial_has_no_p(tmp_path, seeds):
    words = ["run", *DIGITS, "--arm", "real,real+classic", "--seeds", seeds]
    done = fine(augment(*words, "--out", tmp_path / "run"))
    summary = pd.read_csv(tmp_path / "run/summary.csv")
    assert summary["n"].tolist() == [1, 1]
    assert summary[["p", "p_holm", "low", "high"]].isna().all(axis=None)
    assert summary["verdict"].tolist()[1] == "one trial"
    assert "0.000" not in done.stdout


@pytest.mark.slow
def test_33_forty_columns_without_colour_lose_nothing(nasty):
    said = on_a_terminal("report", nasty[1], NO_COLOR="1")
    assert not re.search(r"\x1b\[\d*(;\d+)*3[0-7]", said)  # no colour
    for arm in ("real", "real+classic", "real+synth", "real+classic+synth", "synth"):
        assert re.search(rf"arm: {re.escape(arm)}\r?\naccuracy %: \d", said)
    assert "…\r" not in said


@pytest.mark.slow
@pytest.mark.parametrize(("encoding", "to"), [("", "…"), ("ascii", "?")])
def test_33_no_terminal_and_no_locale_is_readable(nasty, encoding, to):
    said = fine(augment("report", nasty[1], LANG="C", LC_ALL="C", PYTHONIOENCODING=encoding)).stdout
    assert "\x1b" not in said
    lines = [line.split("\t") for line in said.splitlines()]
    assert lines[0][:3] == ["generator", "arm", "accuracy %"]
    intervals = {line[1]: line[4] for line in lines[1:] if len(line) == len(lines[0])}
    assert re.fullmatch(rf"[+-][\d.]+ {re.escape(to)} [+-][\d.]+", intervals["real+classic+synth"])
