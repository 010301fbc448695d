"""Cases 16, 18-21 and 29-31 of the faults: signals, disks, files that others made, no network."""

import os
import pickle
import shutil
import signal
import subprocess
import time
import zipfile

import numpy as np
import pytest
import torch
from blackbox import (
    DIGITS,
    ONE_ARM,
    augment,
    clean,
    fine,
    fingerprint,
    finished,
    rows,
    start,
    surroundings,
    until,
    workers,
)
from forkserver import Forked

from augment.training.checkpoints import save_checkpoint

LONGER = [*DIGITS, "--set", "generator.steps=60", "--set", "classifier.steps=60"]
OFFLINE = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https")}  # nobody listens
EACH_STEP = "from augment.training import checkpoints; checkpoints.CHECKPOINT_SECONDS = 0.0"


def made(folder):
    """What a run computed, without times: rows, and the contents of all tensors by name."""
    table = rows(folder).drop(columns=["run", "peak_memory_mb"])
    times = [name for name in table if name.endswith("_seconds")]
    tensors = {
        name: about[2]
        for name, about in fingerprint(folder / "artefacts").items()
        if name.endswith(".safetensors")
    }
    return table.drop(columns=times).to_csv(), tensors


def stopped(out, words, kind, number):
    """Start a run and send it a signal as soon as it makes the next artefact of a kind."""
    before = set(out.glob(f"artefacts/{kind}/*"))
    process = Forked(words, env=surroundings())
    while not set(out.glob(f"artefacts/{kind}/*")) - before:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(number)
    said = process.communicate(timeout=five_seconds())[1]
    return process.returncode, said


def five_seconds():
    """As many as five are where other processes want the cores too."""
    return 5 * max(1, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


STUCK = """
import hashlib, pathlib
from augment.classifiers.models import Airbench
from augment.experiment import quality
from augment.generators import CVAE

def stuck(*_, **__):
    pathlib.Path("stuck").touch()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # one call into C, of half an hour

"""


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("quality.closer_to_train", signal.SIGTERM),
        *(
            pytest.param(place, number, marks=pytest.mark.slow)
            for place, number in (
                ("CVAE.update", signal.SIGINT),
                ("CVAE.sample", signal.SIGTERM),
                ("Airbench.predict", signal.SIGINT),
            )
        ),
    ],
)
def test_16_call_into_c_that_does_not_end_is_ended_and_made_again(tmp_path, place, number):
    words = ["run", *DIGITS, "--arm", "real+classic,real+classic+synth", "--out", "run"]
    process = Forked(words, cwd=tmp_path, env=surroundings(), code=f"{STUCK}{place} = stuck")
    until(process, (tmp_path / "stuck").exists)
    process.send_signal(number)
    said = process.communicate(timeout=five_seconds())[1]
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    assert "augment resume RUN" in said
    fine(augment("resume", "run", cwd=tmp_path))
    assert finished(tmp_path / "run") == 2


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.0, 0.5, 1.0, 2.0, 4.0])
def test_16_worker_processes_end_while_they_are_being_started(tmp_path, wait):
    words = ["run", *DIGITS, "--set", "classifier.steps=3000", "--jobs", "2"]
    process = start(
        *words,
        "--out",
        tmp_path / "run",
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until(process, lambda: workers(process))
    time.sleep(wait)
    begun = workers(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    said = process.communicate(timeout=five_seconds())[1]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not [number for number in begun if os.path.isdir(f"/proc/{number}")]


@pytest.mark.slow
def test_16_run_stopped_in_every_stage_ends_as_if_it_had_not(tmp_path):
    fine(augment("run", *LONGER, "--out", tmp_path / "whole"))
    out = tmp_path / "run"
    words = ["run", *LONGER, "--out", out]
    for kind, number in (
        ("generator", signal.SIGINT),
        ("synthetic", signal.SIGTERM),
        ("quality", signal.SIGINT),
        ("score", signal.SIGTERM),
    ):
        code, said = stopped(out, words, kind, number)
        assert code == 128 + number, said
        assert "Traceback" not in said
        assert "augment resume RUN" in said
        words = ["resume", out, "--jobs", "1"]
    fine(augment(*words))
    assert made(out) == made(tmp_path / "whole")


@pytest.mark.slow
def test_18_damaged_checkpoint_is_named_and_never_taken(tmp_path):
    out = tmp_path / "run"
    words = ["run", *ONE_ARM, "--per-class", "3", "--set", "classifier.steps=2000", "--out", out]
    stopped(out, words, "classifier", signal.SIGKILL)
    (partial,) = out.glob("artefacts/classifier/*.partial")
    save_checkpoint(partial, {"module.net.0.weight": torch.ones(9)}, {"step": 3})
    file = partial / "checkpoint.safetensors"
    whole = file.read_bytes()
    for damaged in (whole[:-7], whole[:50] + bytes([whole[50] ^ 1]) + whole[51:]):
        file.write_bytes(damaged)
        clean(augment("resume", out), 1, file, "delete it to train this stage from its start")
        assert file.read_bytes() == damaged
        assert finished(out) == 0


class Touch:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


@pytest.mark.slow
def test_19_pickle_as_weights_is_refused_and_not_run(tmp_path):
    weights, ran = tmp_path / "model.pt", tmp_path / "ran"
    weights.write_bytes(pickle.dumps(Touch(ran)))
    words = ["run", *ONE_ARM, "--per-class", "3", "--out", tmp_path / "run"]
    words[words.index("real")] = "transfer"
    clean(augment(*words, "--weights", weights), 2, weights)
    assert list(tmp_path.iterdir()) == [weights]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB of its own, and what fills all of it but some kilobytes."""
    disk, ballast = tmp_path / "disk", tmp_path / "disk/ballast"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small disk")

    def leave(kilobytes):
        ballast.unlink(missing_ok=True)
        if kilobytes is not None:
            free = shutil.disk_usage(disk).free
            ballast.write_bytes(bytes(free - 1024 * kilobytes))

    yield disk, leave
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    ("free", "code", "file"),
    [
        (480, EACH_STEP, "checkpoint.safetensors"),
        pytest.param(480, "", "artefacts/generator/", marks=pytest.mark.slow),
        pytest.param(24, "", "manifest.csv", marks=pytest.mark.slow),
    ],
    ids=["checkpoint", "weights", "csv"],
)
def test_20_full_disk_costs_nothing_that_was_there(small_disk, free, code, file):
    disk, leave = small_disk
    out = disk / "run"
    words = ["run", *DIGITS, "--arm", "real,real+synth", "--out", out]
    leave(free)
    clean(augment(*words, code=code), 5, "no space left for", file, "make room and run again")
    assert finished(out) < 2
    assert not list(out.rglob(".*.partial"))
    leave(None)
    fine(augment(*words))
    assert finished(out) == 2


@pytest.mark.slow
def test_20_full_disk_at_a_table_or_plot_leaves_the_older_one(small_disk):
    disk, leave = small_disk
    out = disk / "run"
    fine(augment("run", *DIGITS, "--arm", "real,real+classic", "--out", out))
    before = fingerprint(out)
    for free, kind in ((0, ".csv"), (8, ".png")):
        leave(free)
        clean(augment("report", out), 5, "no space left for", kind)
        assert {k: v[2] for k, v in fingerprint(out).items()} == {
            k: v[2] for k, v in before.items()
        }


@pytest.mark.slow
def test_21_out_that_cannot_be_written_is_told_before_any_training(tmp_path, small_disk):
    disk, _ = small_disk
    file = tmp_path / "file"
    file.write_text("mine")
    clean(augment("run", *DIGITS, "--out", file), 5, f"--out {file} is a file")
    assert file.read_text() == "mine"
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    done = augment("run", *DIGITS, "--out", disk / "run")
    clean(done, 5, disk / "run", "Read-only file system", "--out")
    assert "cells into" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["outside", "bomb"])
def test_29_archive_that_leads_out_or_unpacks_to_too_much_is_refused(tmp_path, kind):
    file = tmp_path / "below/set.npz"
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        if kind == "outside":
            archive.writestr("../evil.npy", b"evil")
        else:
            archive.writestr("train_images.npy", bytes(2**26))
            (member,) = archive.filelist
            archive.filelist += [member] * 2**9  # each entry points to the same 64 MB
    done = augment("run", "--dataset", file, *ONE_ARM, "--out", tmp_path / "run")
    clean(done, 3, file, "train_images" if kind == "outside" else "unpacks to")
    assert list(tmp_path.iterdir()) == [file.parent]
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.slow
def test_30_offline_is_told_with_files_checksums_and_where_they_go(tmp_path):
    words = ["run", "--dataset", "mnist", *ONE_ARM, "--per-class", "3", "--data-dir", tmp_path]
    done = augment(*words, cwd=tmp_path, **OFFLINE)
    clean(
        done,
        5,
        f"mnist is not in {tmp_path}",
        "put mnist.npz there",
        tmp_path / "raw",
        "train-images-idx3-ubyte.gz (md5 f68b3c2dcbeaaa9fbdd348bbdeb94873)",
    )
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_31_download_of_another_checksum_is_not_taken(tmp_path):
    raw = tmp_path / "raw/MNIST/raw"
    raw.mkdir(parents=True)
    wrong = raw / "train-images-idx3-ubyte.gz"
    wrong.write_bytes(b"\x1f\x8b not what it was")
    words = ["run", "--dataset", "mnist", *ONE_ARM, "--per-class", "3", "--data-dir", tmp_path]
    clean(augment(*words, cwd=tmp_path, **OFFLINE), 5, "mnist", "md5")
    assert not (tmp_path / "mnist.npz").exists()


@pytest.mark.slow
def test_31_npz_with_objects_is_refused_and_not_run(tmp_path):
    file, ran = tmp_path / "set.npz", tmp_path / "ran"
    np.savez(file, train_images=np.array([Touch(ran)], object), train_labels=np.zeros(1, int))
    done = augment("run", "--dataset", file, *ONE_ARM, "--out", tmp_path / "run")
    clean(done, 3, file, "plain arrays")
    assert list(tmp_path.iterdir()) == [file]
