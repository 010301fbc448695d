"""Faults beyond the 35: found by trying to break the command, each with what must happen."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
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
    pictures,
    rows,
    start,
    surroundings,
    until,
    workers,
)

from augment.storage.tables import read_csv, write_csv


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run of two trials."""
    out = tmp_path_factory.mktemp("beyond") / "run"
    fine(augment("run", "--per-class", "3", "--seeds", "2", *SMOKE, "--out", out))
    return out


@pytest.fixture
def run(whole, tmp_path):
    """A copy of it to be hurt."""
    return shutil.copytree(whole, tmp_path / "run")


def turn_a_bit(folder, pattern):
    """Change one bit at the end of each such file."""
    files = list(folder.glob(pattern))
    for file in files:
        raw = bytearray(file.read_bytes())
        raw[-1] ^= 1
        file.write_bytes(raw)
    return files[0]


def test_run_folder_inside_the_data_is_refused(tmp_path):
    data = pictures(tmp_path / "data")
    before = fingerprint(data)
    for words in (["--dataset", ".", "--out", "x"], ["--dataset", "."]):
        clean(augment("run", *words, *ONE_ARM, cwd=data), 2, "--out", "outside")
    assert fingerprint(data) == before


def test_run_folder_among_the_classes_is_no_class(tmp_path, whole):
    data = pictures(tmp_path / "data")
    shutil.copytree(whole, data / "old-run")
    done = fine(augment("run", "--dataset", data, *ONE_ARM, "--out", tmp_path / "run"))
    assert "left out run folders (1): old-run" in done.stderr
    listed = read_csv(tmp_path / "run/manifest.csv", ("label",))
    assert set(listed["label"].dropna()) == {"across", "down"}


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("artefacts/synthetic/*/synthetic.safetensors", ["export", "RUN", "OUT"]),
        ("artefacts/generator/*/weights.safetensors", ["sample", "RUN", "--label", "7"]),
        ("artefacts/score/*/predictions.safetensors", ["report", "RUN"]),
    ],
)
def test_damaged_artefact_is_not_handed_on(run, tmp_path, pattern, words):
    file = turn_a_bit(run, pattern)
    places = {"RUN": run, "OUT": tmp_path / "out"}
    said = clean(augment(*[places.get(w, w) for w in words]), 6, file.name, "augment resume")
    assert "checksum" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("settings.json", "", ["resume", "RUN"]),
        ("status.json", "[]", ["status", "RUN"]),
        ("results.csv", "", ["report", "RUN"]),
        ("results.csv", None, ["sample", "RUN", "--random"]),
        ("recipe.toml", None, ["report", "RUN"]),
        ("settings.json", "[]", ["export", "RUN", "OUT"]),
    ],
)
def test_damaged_run_folder_is_one_sentence(run, tmp_path, name, text, words):
    (run / name).unlink()
    if text is not None:
        (run / name).write_text(text)
    places = {"RUN": run, "OUT": tmp_path / "out"}
    clean(augment(*[places.get(w, w) for w in words]), 6, run)


def test_table_that_no_run_writes_is_refused(whole, tmp_path):
    table = read_csv(whole / "results.csv")
    for name, changed in (
        ("twice", pd.concat([table, table])),
        ("high", table.assign(accuracy=99.0)),
        ("arm", table.assign(arm="mine")),
    ):
        write_csv(tmp_path / f"{name}.csv", changed)
        clean(augment("report", tmp_path / f"{name}.csv"), 2, f"{name}.csv line")


def test_groups_and_splits_are_heard_however_their_columns_are_written(tmp_path):
    data = pictures(tmp_path / "data", n=12)
    files = sorted(p.relative_to(data).as_posix() for p in data.rglob("*.png"))
    lines = [
        {"file_name": f, "label": f.split("/")[0], "Group ": f"p{i // 2}" + " " * (i % 2)}
        for i, f in enumerate(files[:-1])
    ]
    pd.DataFrame(lines).to_csv(data / "metadata.csv", index=False)
    done = fine(augment("run", "--dataset", data, *ONE_ARM, "--out", tmp_path / "run"))
    assert "images that metadata.csv does not name (1)" in done.stderr
    listed = read_csv(tmp_path / "run/manifest.csv", ("group", "split"))
    sides = listed.groupby("group")["split"].nunique()
    assert len(sides) == 12
    assert (sides == 1).all()


def test_column_twice_is_refused(tmp_path):
    data = pictures(tmp_path / "data")
    (data / "metadata.csv").write_text("file_name,label,Label\nacross/000.png,a,b\n")
    clean(augment("run", "--dataset", data, *ONE_ARM, "--out", tmp_path / "run"), 3, "twice")


@pytest.mark.parametrize("other", ["across/000.png,down", "./across/000.png,across"])
def test_file_on_two_lines_of_the_metadata_is_refused(tmp_path, other):
    data = pictures(tmp_path / "data")
    lines = [f"{p.relative_to(data)},{p.parent.name}" for p in sorted(data.rglob("*.png"))]
    (data / "metadata.csv").write_text("\n".join(["file_name,label", *lines, other, ""]))
    words = ["run", "--dataset", data, *ONE_ARM, "--out", tmp_path / "run"]
    clean(augment(*words), 3, "metadata.csv", "across/000.png twice")


def test_npz_with_a_misspelt_part_is_refused(tmp_path):
    images, labels = np.zeros((8, 8, 8), np.uint8), np.arange(8) % 2
    images[:, 0, 0] = np.arange(8)
    np.savez(tmp_path / "d.npz", train_images=images, train_labels=labels, Test_images=images)
    words = ["run", "--dataset", tmp_path / "d.npz", *ONE_ARM, "--out", tmp_path / "run"]
    clean(augment(*words), 3, "Test_images")


def test_one_picture_under_two_labels_is_told(tmp_path):
    data = pictures(tmp_path / "data")
    shutil.copy(data / "across/000.png", data / "down/x.png")
    done = fine(augment("run", "--dataset", data, *ONE_ARM, "--out", tmp_path / "run"))
    assert "one picture is labelled across (across/000.png) and down (down/x.png)" in done.stderr


def test_hidden_files_of_the_users_stay(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / ".movie.partial").write_text("half a download")
    clean(augment("run", *DIGITS, "--out", mine), 6, mine, "holds other files")
    assert (mine / ".movie.partial").read_text() == "half a download"


def test_sample_does_not_write_over_what_is_there(whole, tmp_path):
    (tmp_path / "sheet.png").write_text("mine")
    clean(augment("sample", whole, "--label", "7", "--out", tmp_path), 2, "--out", "empty folder")
    assert (tmp_path / "sheet.png").read_text() == "mine"


def test_arm_without_unlabelled_images_is_refused_before_anything_is_trained(tmp_path):
    data = pictures(tmp_path / "data")
    words = ["run", "--dataset", data, "--seeds", "1", *SMOKE, "--arm", "real,real+classic,ssl"]
    clean(augment(*words, "--out", tmp_path / "run"), 3, "'ssl'", "--frac")
    assert not (tmp_path / "run").exists()


def test_unlabelled_images_are_looked_for_in_each_amount(tmp_path):
    data = pictures(tmp_path / "data", n=20)
    words = ["run", "--dataset", data, "--seeds", "1", *SMOKE, "--arm", "real,ssl"]
    clean(augment(*words, "--frac", "1,0.5", "--out", tmp_path / "run"), 3, "'ssl'")
    assert not (tmp_path / "run").exists()
    fine(augment(*words, "--frac", "0.5", "--out", tmp_path / "run"))


@pytest.mark.parametrize(
    "asked",
    [["1e-9"], ["0.9999999"], ["0.03", "--mixing", "constant"]],  # of a batch of 16
)
def test_share_that_leaves_one_kind_out_is_refused(tmp_path, asked):
    words = ["run", *DIGITS, "--share", *asked, "--out", tmp_path / "run"]
    clean(augment(*words), 2, "--share", "image in a batch of 16")
    assert not (tmp_path / "run").exists()


def test_pictures_of_a_few_pixels_are_enlarged(tmp_path):
    data = pictures(tmp_path / "data", shape=(1, 4, 4))
    done = fine(augment("run", "--dataset", data, *ONE_ARM, "--out", tmp_path / "run"))
    assert "pictures of 4×4, all resized to 8×8" in done.stderr
    assert rows(tmp_path / "run")["status"].eq("ok").all()


def test_diverging_mix_is_marked_and_crashes_nothing(tmp_path):
    words = [
        "run",
        *DIGITS,
        "--generator",
        "mix",
        "--set",
        "mix.lr=1e6",
        "--arm",
        "real,real+synth",
    ]
    done = augment(*words, "--out", tmp_path / "run")
    assert done.returncode in (0, 4), done.stderr  # it may be mended by a lower rate
    assert rows(tmp_path / "run")["status"].isin(["ok", "diverged"]).all()


def test_long_path_does_not_cost_the_report(tmp_path):
    data = pictures(tmp_path / ("a" * 120) / ("b" * 120))
    words = ["run", "--dataset", data, "--seeds", "1", *SMOKE, "--out", tmp_path / "run"]
    fine(augment(*words))
    assert (tmp_path / "run/report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.02, 0.05])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_second_signal_neither_hangs_nor_breaks_the_end(tmp_path, gap, jobs):
    words = ["run", "--per-class", "3", "--seeds", "2", "--generator", "cvae", "--preset", "quick"]
    process = start(*words, "--jobs", jobs, "--out", tmp_path / "run")
    until(process, lambda: (tmp_path / "run/artefacts/generator").exists())
    time.sleep(2)
    theirs = workers(process)
    process.send_signal(signal.SIGINT)
    time.sleep(gap)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    patience = time.monotonic() + 60  # they see by themselves that the parent has gone
    while any(map(alive, theirs)):
        assert time.monotonic() < patience, theirs
        time.sleep(0.05)
    assert json.loads((tmp_path / "run/settings.json").read_text())["seeds"] == [0, 1]


def alive(number):
    """Whether there is still such a process, not one that only waits to be counted."""
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_closed_output_does_not_stop_a_run(tmp_path):
    line = (
        f"{sys.executable} -m augment run {' '.join(DIGITS)} --arm real "
        f"--out {tmp_path / 'run'} 2>&- >&-"
    )
    done = subprocess.run(["sh", "-c", line], check=False, env=surroundings(), timeout=120)
    assert done.returncode == 0
    assert (tmp_path / "run/table.md").exists()
