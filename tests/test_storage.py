"""Artefacts are whole or not at all; folders belong to one run; text and numbers survive a CSV."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from augment.errors import AugmentError, MachineError, RunFolderError
from augment.storage import run_folder
from augment.storage.artifacts import Store, find_damage, signature
from augment.storage.atomic import write_atomic
from augment.storage.run_folder import differences, fresh_folder, open_run
from augment.storage.tables import read_csv, write_csv
from augment.storage.tensor_file import TensorFile
from augment.training.checkpoints import load_checkpoint, save_checkpoint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
NASTY = [
    "=HYPERLINK(1)",
    "@SUM(1)",
    "+1",
    "-5",
    "-0.02",
    "\tx",
    "\rx",
    "'=1",
    "''=1",
    "'quoted'",
    "'",
    'a"b',
    "a,b",
    "two\nlines",
    "a\rb",
    "a\r\nb",
    "<script>",
    "ä ☃ 猫",
    "NA",
    "nan",
    "None",
    "null",
    " ",
    "007",
    "1e5",
    "True",
    "\\",
    "#",
]
TEXTS = st.sampled_from(NASTY) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=6
)


def backwards(value):
    """The same record with its keys in the opposite order."""
    if isinstance(value, dict):
        return {k: backwards(v) for k, v in reversed(value.items())}
    return value


def broken(code):
    """A function that fails as the system would."""

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    return fail


def filled(store, sig="abc"):
    with store.making("score", sig) as folder:
        (folder / "a.txt").write_text("hello")
        (folder / "deep").mkdir()
        (folder / "deep" / "b.bin").write_bytes(bytes(range(256)))
    return store.path("score", sig)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5))
@settings(max_examples=50, deadline=None)
def test_signature_is_the_same_in_any_key_order(record):
    assert (
        signature(record)
        == signature(backwards(record))
        == signature(json.loads(json.dumps(record)))
    )


def test_signature_is_what_it_was_and_hangs_on_every_value():
    record = {"seed": 1, "settings": {"lr": 0.001, "widths": [8, 16]}}
    assert signature(record) == "667a375fcf66f789"
    changed = [{"a": 1, "b": 2}, {"a": 2, "b": 2}, {"a": 1, "c": 2}, {"a": 1, "b": [2]}, {"a": "1"}]
    assert len({signature(r) for r in changed}) == len(changed)


def test_artefact_is_there_only_when_it_is_whole(tmp_path):
    store = Store(tmp_path)
    with store.making("score", "abc") as folder:
        (folder / "a.txt").write_text("hello")
        assert not store.has("score", "abc")
        assert not store.path("score", "abc").exists()
    assert store.has("score", "abc")
    assert not folder.exists()
    assert (store.path("score", "abc") / "a.txt").read_text() == "hello"
    assert not store.has("score", "abd")
    assert not store.has("generator", "abc")


def test_stage_that_stops_leaves_no_artefact_and_goes_on_in_the_same_place(tmp_path):
    store = Store(tmp_path)

    def stop_half_way():
        with store.making("score", "abc") as folder:
            (folder / "checkpoint.safetensors").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    assert not store.has("score", "abc")
    with store.making("score", "abc") as folder:
        assert (folder / "checkpoint.safetensors").read_text() == "half"
        (folder / "result.txt").write_text("done")
        (folder / ".checkpoint.safetensors.77.partial").write_text("left by a kill")
    assert store.has("score", "abc")
    left = sorted(p.name for p in store.path("score", "abc").iterdir())
    assert left == ["result.txt", "seal.json"]


def test_artefact_that_another_is_making_is_waited_for_and_kept(tmp_path):
    store, begun, said = Store(tmp_path), threading.Event(), []

    def second():
        begun.set()
        with store.making("score", "abc") as folder:
            said.append(folder)

    with store.making("score", "abc") as folder:
        late = threading.Thread(target=second)
        late.start()
        begun.wait()
        (folder / "a.txt").write_text("first")
        late.join(0.2)
        assert said == []
    late.join()
    assert said == [None]
    assert (store.path("score", "abc") / "a.txt").read_text() == "first"
    assert store.has("score", "abc")
    assert [p.name for p in (tmp_path / "artefacts" / "score").iterdir()] == ["abc"]


def flip_a_bit(folder):
    raw = bytearray((folder / "deep" / "b.bin").read_bytes())
    raw[100] ^= 1
    (folder / "deep" / "b.bin").write_bytes(raw)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (flip_a_bit, "deep/b.bin does not match its checksum"),
        (lambda f: (f / "a.txt").unlink(), "a.txt is missing"),
        (lambda f: (f / "a.txt").write_text("hell"), "a.txt does not match"),
        (lambda f: (f / "seal.json").unlink(), "no readable seal"),
        (lambda f: (f / "seal.json").write_text("{"), "no readable seal"),
        (lambda f: (f / "seal.json").write_bytes(b"\xff"), "no readable seal"),
    ],
)
def test_damaged_artefact_is_put_aside_and_can_be_made_again(harm, says, tmp_path):
    store = Store(tmp_path)
    folder = filled(store)
    assert find_damage(folder) is None
    harm(folder)
    assert says in find_damage(folder)
    assert not store.has("score", "abc")
    (aside,) = folder.parent.glob("abc.damaged-*")
    assert (aside / "deep" / "b.bin").exists()  # nothing is thrown away
    log = (tmp_path / "warnings.log").read_text()
    assert says in log
    assert aside.name in log
    filled(store)
    assert store.has("score", "abc")


def test_checkpoint_comes_back_as_it_was(tmp_path):
    assert load_checkpoint(tmp_path) is None
    tensors = {"w": torch.randn(3, 4), "n": torch.tensor([2**60]), "h": torch.ones(2).bfloat16()}
    save_checkpoint(tmp_path, {"w": torch.zeros(1)}, {"step": 1})
    save_checkpoint(tmp_path, tensors, {"step": 7, "log": [[1, "ä", 0.5]]})
    found, about = load_checkpoint(tmp_path)
    assert about == {"step": 7, "log": [[1, "ä", 0.5]]}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in tensors.items())
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.safetensors"]


@pytest.mark.parametrize("cut", [0, 10, 32, 40, 100, -1])
def test_checkpoint_cut_short_is_an_error_that_names_the_file(cut, tmp_path):
    save_checkpoint(tmp_path, {"w": torch.randn(20)}, {"step": 1})
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(AugmentError, match="is damaged: delete it") as caught:
        load_checkpoint(tmp_path)
    assert str(file) in str(caught.value)
    assert file.exists()


@pytest.mark.parametrize("place", [0, 31, 33, 60, -1])
def test_checkpoint_with_a_flipped_bit_is_an_error(place, tmp_path):
    save_checkpoint(tmp_path, {"w": torch.randn(20)}, {"step": 1})
    file = tmp_path / "checkpoint.safetensors"
    raw = bytearray(file.read_bytes())
    raw[place] ^= 4
    file.write_bytes(raw)
    with pytest.raises(AugmentError, match="damaged"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, "no space left for"),
        (errno.EDQUOT, "no space"),
        (errno.EROFS, "cannot be written"),
        (errno.EACCES, "choose another --out"),
    ],
)
def test_failed_write_is_one_sentence_and_the_old_file_stays(
    code, says, call, tmp_path, monkeypatch
):
    write_atomic(tmp_path / "a.txt", "old")
    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[call], broken(code))
    with pytest.raises(MachineError, match=says) as caught:
        write_atomic(tmp_path / "a.txt", "new")
    assert str(tmp_path / "a.txt") in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_full_disk_in_a_stage_keeps_what_there_is(tmp_path, monkeypatch):
    store = Store(tmp_path)
    filled(store, "earlier")

    def train(patch):
        with store.making("score", "abc") as folder:
            save_checkpoint(folder, {"w": torch.ones(3)}, {"step": 5})
            patch.setattr(os, "fsync", broken(errno.ENOSPC))
            save_checkpoint(folder, {"w": torch.zeros(3)}, {"step": 6})

    with monkeypatch.context() as patch, pytest.raises(MachineError, match="no space"):
        train(patch)
    assert store.has("score", "earlier")
    assert not store.has("score", "abc")
    with store.making("score", "abc") as folder:  # room again
        assert load_checkpoint(folder)[1] == {"step": 5}


@pytest.mark.parametrize(
    "error", [RuntimeError("write: No space left on device"), ValueError("I/O error: os error 28")]
)
def test_full_disk_in_another_library_s_words_is_the_same_sentence(error, tmp_path):
    with pytest.raises(MachineError, match="no space"), Store(tmp_path).making("score", "abc"):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), OSError(errno.EIO, "bad disk")])
def test_other_faults_of_a_stage_stay_what_they_are(error, tmp_path):
    with pytest.raises(type(error)) as caught, Store(tmp_path).making("score", "abc"):
        raise error
    assert caught.value is error


def test_run_folder_is_made_and_opened_again_by_the_same_settings(tmp_path):
    folder = tmp_path / "deep" / "run ü"
    open_run(folder, {"seeds": [1, 2]}).release()
    (folder / "results.csv").write_text("kept")
    open_run(folder, {"seeds": [1, 2]}).release()
    assert (folder / "results.csv").read_text() == "kept"


def test_other_settings_are_refused_with_the_difference(tmp_path):
    open_run(tmp_path / "run", {"seeds": [1, 2], "preset": "quick", "frac": 0.1}).release()
    with pytest.raises(RunFolderError) as caught:
        open_run(tmp_path / "run", {"seeds": [1], "preset": "quick", "ratio": 5})
    said = str(caught.value)
    assert "frac: 0.1 → not given; ratio: not given → 5; seeds: 1, 2 → 1" in said
    assert "preset" not in said
    assert "choose another --out" in said
    # refused is not locked
    open_run(tmp_path / "run", {"seeds": [1, 2], "preset": "quick", "frac": 0.1}).release()


def test_more_trials_are_no_other_settings(tmp_path):
    folder, made_by = tmp_path / "run", tmp_path / "run/settings.json"
    open_run(folder, {"seeds": [1, 2], "frac": 0.1}).release()
    (folder / "table.md").write_text("of two trials")
    open_run(folder, {"seeds": [1, 2], "frac": 0.1}).release()
    assert (folder / "table.md").exists()
    open_run(folder, {"seeds": [1, 2, 3], "frac": 0.1}).release()
    assert json.loads(made_by.read_text()) == {"seeds": [1, 2, 3], "frac": 0.1}
    assert not (folder / "table.md").exists()
    for other in ([1, 2], [1, 3, 4], [3, 2, 1]):  # fewer, others, another order
        with pytest.raises(RunFolderError, match="seeds"):
            open_run(folder, {"seeds": other, "frac": 0.1})
    with pytest.raises(RunFolderError, match="frac"):
        open_run(folder, {"seeds": [1, 2, 3, 4], "frac": 0.2})
    open_run(tmp_path / "part", {"seeds": [1], "shard": [1, 2]}).release()
    with pytest.raises(RunFolderError, match="seeds"):
        open_run(tmp_path / "part", {"seeds": [1, 2], "shard": [1, 2]})


def test_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunFolderError, match="holds other files"):
        open_run(tmp_path, {})
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    assert not (tmp_path / "settings.json").exists()


def test_folder_killed_at_its_first_write_can_be_used(tmp_path):
    (tmp_path / ".settings.json.77.partial").write_text("{")
    open_run(tmp_path, {"a": 1}).release()
    assert json.loads((tmp_path / "settings.json").read_text()) == {"a": 1}


def test_what_a_kill_left_half_written_is_cleared(tmp_path):
    open_run(tmp_path, {}).release()
    (tmp_path / "samples").mkdir()
    for place in ("results.csv", "samples/grid.png"):
        (tmp_path / place).write_text("whole")
        half = (tmp_path / place).with_name(f".{Path(place).name}.77.partial")
        half.write_text("ha")
    open_run(tmp_path, {}).release()
    left = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {".lock", "settings.json", "results.csv", "grid.png"}


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_damaged_settings_are_refused_by_name(text, tmp_path):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"settings\.json is damaged"):
        open_run(tmp_path, {})


def test_folder_in_use_is_refused(tmp_path):
    lock = open_run(tmp_path / "run", {})
    with pytest.raises(RunFolderError, match="in use by another run"):
        open_run(tmp_path / "run", {})
    lock.release()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(RunFolderError, match="in use"):
        open_run(tmp_path / "run", {})
    open_run(tmp_path / "run", {}).release()


def test_folder_in_use_by_another_process_is_refused_until_it_ends(tmp_path):
    holder = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("mine", flush=True)
    sys.stdin.read()
"""
    open_run(tmp_path, {}).release()
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(RunFolderError, match="in use"):
            open_run(tmp_path, {})
        other.stdin.close()
    open_run(tmp_path, {}).release()


@pytest.mark.parametrize("below", ["", "run", "run/deep"])
def test_out_that_is_or_lies_under_a_file_is_refused(below, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    with pytest.raises(MachineError, match=r"notes\.txt"):
        open_run(file / below, {})
    with pytest.raises(MachineError, match=r"notes\.txt"):
        fresh_folder(file / below, "x", lambda _: False)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("call", ["mkdir", "exists"])
@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENAMETOOLONG])
def test_folder_that_cannot_be_written_is_refused(code, call, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, call, broken(code))
    with pytest.raises(MachineError, match=r"cannot be written.*choose another --out"):
        open_run(tmp_path / "run", {})


def test_failure_to_write_the_settings_gives_the_lock_back(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "write_atomic", broken(errno.EIO))
        with pytest.raises(OSError, match="Input/output"):
            open_run(tmp_path, {})
    open_run(tmp_path, {}).release()


def test_fresh_folders_are_numbered_and_one_that_can_go_on_is_taken(tmp_path):
    made = [fresh_folder(tmp_path / "runs", "my data/x", lambda _: False) for _ in range(3)]
    assert [p.name for p in made] == ["my_data_x", "my_data_x-2", "my_data_x-3"]
    taken = fresh_folder(tmp_path / "runs", "my data/x", lambda p: p.name.endswith("-2"))
    assert taken == made[1]


@pytest.mark.parametrize("name", ["../../etc", "a\nb<script>", "ä ☃", "x" * 300, "", "."])
def test_fresh_folder_stays_in_its_parent_whatever_the_name(name, tmp_path):
    folder = fresh_folder(tmp_path / "runs", name, lambda _: False)
    assert folder.is_dir()
    assert folder.resolve().parent == (tmp_path / "runs").resolve()


def test_fresh_folders_asked_for_at_one_moment_all_differ(tmp_path):
    gate, made = threading.Barrier(8), []

    def ask():
        gate.wait()
        made.extend(fresh_folder(tmp_path, "run", lambda _: False) for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(p.name for p in made) == sorted(["run", *(f"run-{k}" for k in range(2, 41))])


@given(st.lists(st.tuples(TEXTS, TEXTS, st.floats()), min_size=1, max_size=4))
@settings(max_examples=80, deadline=None)
def test_nasty_text_and_all_numbers_survive_a_csv(rows):
    table = pd.DataFrame(rows, columns=["class", "file", "value"])
    path = Path(os.environ["AUGMENT_DATA"]).with_name("t.csv")
    write_csv(path, table)
    found = read_csv(path, ["class", "file", "absent"])
    assert found["class"].tolist() == table["class"].tolist()
    assert found["file"].tolist() == table["file"].tolist()
    assert np.array_equal(found["value"], table["value"], equal_nan=True)


def test_risky_text_is_guarded_and_numbers_are_not(tmp_path):
    table = pd.DataFrame(
        {
            "class": ["=1+1", "@SUM(1)", "-x", "+x", "\tx", "fine", None],
            "value": [-0.02, 1.0, 2.0, 0.1 + 0.2, 1e-300, -5, None],
            "mixed": ["=2", -0.02, None, 3, True, "x", -7],
            "count": range(-3, 4),
        }
    )
    kept = table.copy()
    write_csv(tmp_path / "t.csv", table)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[:3] == ["class,value,mixed,count", "'=1+1,-0.02,'=2,-3", "'@SUM(1),1.0,-0.02,-2"]
    assert [line[:2] for line in lines[3:6]] == ["'-", "'+", "'\t"]
    found = read_csv(tmp_path / "t.csv", ["class"])
    assert found["class"].tolist()[:6] == table["class"].tolist()[:6]
    assert pd.isna(found["class"][6])
    assert found["value"].tolist()[:6] == table["value"].tolist()[:6]
    assert found["count"].tolist() == list(range(-3, 4))
    pd.testing.assert_frame_equal(table, kept)


def test_text_that_is_a_plain_number_gets_no_apostrophe(tmp_path):
    plain, risky = (
        ["-2", "-1", "0", "+1", "-0.5", "-1e-3"],
        ["-", "+", "-1-1", "-2+3", "--1", "-1 "],
    )
    write_csv(tmp_path / "t.csv", pd.DataFrame({"class": [*plain, *risky]}))
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[1:] == [*plain, *(f"'{text}" for text in risky)]
    assert read_csv(tmp_path / "t.csv", ["class"])["class"].tolist() == [*plain, *risky]
    (tmp_path / "t.csv").write_text("class\n'-2\n")  # as 0.3.0 wrote it
    assert read_csv(tmp_path / "t.csv", ["class"])["class"].tolist() == ["-2"]


def test_text_columns_stay_text_and_only_an_empty_cell_is_missing(tmp_path):
    table = pd.DataFrame({"class": ["7", "NA", "None", None], "n": [1.0, np.nan, np.inf, 2.0]})
    write_csv(tmp_path / "t.csv", table)
    found = read_csv(tmp_path / "t.csv", ["class"])
    assert found["class"].tolist()[:3] == ["7", "NA", "None"]
    assert found["class"].isna().tolist() == [False, False, False, True]
    assert np.array_equal(found["n"], table["n"], equal_nan=True)


def test_file_name_that_is_no_utf8_does_not_stop_a_write(tmp_path):
    names = [os.fsdecode(b"\xff.png"), "b.png"]
    write_csv(tmp_path / "t.csv", pd.DataFrame({"file": names}, dtype=object))
    assert read_csv(tmp_path / "t.csv", ["file"])["file"].tolist() == [r"\udcff.png", "b.png"]


def test_tensor_file_filled_in_pieces_reads_as_one(tmp_path):
    rng = torch.Generator().manual_seed(0)
    whole = {
        "labels": torch.arange(7),
        "ratio": torch.rand(7, generator=rng),
        "images": torch.randint(256, (7, 3, 5, 5), generator=rng, dtype=torch.uint8),
        "copied": torch.arange(7) % 2 == 0,
    }
    dtypes = dict(zip(whole, ("I64", "F32", "U8", "BOOL"), strict=True))
    file = TensorFile(
        tmp_path / "a", {key: (dtypes[key], tuple(value.shape)) for key, value in whole.items()}
    )
    for start in (0, 3, 6):
        for key, value in whole.items():
            file.append(key, value[start : start + 3])
    file.close()
    read = load_file(tmp_path / "a")
    assert read.keys() == whole.keys()
    assert all(torch.equal(read[key], whole[key]) for key in whole)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ({"size": 96}, {"size": None, "affords": 64}, "size: 96 → auto (64)"),
        ({"affords": 96}, {"affords": 64}, "size: auto (96) → auto (64)"),
        ({"size": 96}, {"size": 96, "data": {"x": "c"}}, "other images in x"),
        ({"arm": ["real"]}, {"arm": ["real", "synth"]}, "arm: real → real, synth"),
        ({}, {"fit": "crop", "data": {"x": "c"}}, "fit: not given → crop"),
        ({"seeds": [0]}, {"data": {"x": "c"}}, "seeds: 0 → not given; other images in x"),
        ({"data": {"x": "a"}}, {}, ""),
    ],
)
def test_other_settings_are_told_in_the_words_of_the_flags(old, new, says):
    data = {"data": {"x": "a"}}
    assert differences(data | old, data | new) == says
