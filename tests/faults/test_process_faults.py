"""Cases 26, 27 and 35 of the faults: training that diverges, no memory, a killed process."""

import json
import os
import signal

import pytest
from blackbox import SMOKE, augment, fine, finished, rows, surroundings, until, workers
from forkserver import Forked

SLOWER = [
    "--per-class",
    "3",
    "--preset",
    "smoke",
    "--arm",
    "real,real+classic",
    "--set",
    "classifier.steps=400",
    "--set",
    "classifier.width=8",
    "--set",
    "classifier.batch=16",
]


NAN = """
from augment.generators import CVAE
from augment.runtime.seeds import seed_for
prepare, update = CVAE.prepare, CVAE.update

def hurt_prepare(self, data, *, seed, **how):
    self.hurts = {seed_for(k, "generator", "cvae"): n for k, n in enumerate((0, 1, 9))}.get(seed, 0)
    prepare(self, data, seed=seed, **how)

def hurt_update(self, images, labels, *, step, rng):
    if step == 25 and self.hurts:
        self.hurts -= 1
        images = images * float("nan")
    return update(self, images, labels, step=step, rng=rng)

CVAE.prepare, CVAE.update = hurt_prepare, hurt_update
"""  # at step 25: never in trial 0, once in trial 1, again and again in trial 2


def test_26_nan_is_tried_once_more_then_costs_its_own_cells(tmp_path):
    out = tmp_path / "run"
    words = [
        "run",
        "--per-class",
        "3",
        *SMOKE,
        "--set",
        "generator.steps=40",
        "--seeds",
        "3",
        "--arm",
        "real,synth",
        "--out",
        out,
    ]
    done = augment(*words, code=NAN)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert "1 of 6 cells failed; the rest is valid" in done.stderr
    assert "half the learning rate, from step 25 on" in done.stderr
    status = rows(out).set_index(["arm", "seed"])["status"]
    assert status["synth"].tolist() == ["ok", "ok", "diverged"]
    assert "2/3" in done.stdout
    assert "2/3" in (out / "table.md").read_text()
    found = [json.loads(f.read_text()) for f in out.glob("artefacts/generator/*/about.json")]
    assert {about["seed"]: about["retried"] for about in found} == {0: None, 1: 25}


LITTLE = """
import resource
from augment.classifiers.classifier import Classifier
prepare, predict = Classifier.prepare, Classifier.predict

def limited_prepare(self, data, **how):
    prepare(self, data, **how)
    held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + 300 * 2**20, resource.RLIM_INFINITY))

def unlimited_predict(self, images, chunk=512):
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    return predict(self, images, chunk)

Classifier.prepare, Classifier.predict = limited_prepare, unlimited_predict
"""  # 300 MB for a training
NONE = """
import torch
from augment.generators import CVAE

def update(self, images, labels, *, step, rng):
    raise torch.OutOfMemoryError(f"{len(images)} images")

CVAE.update = update
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads its size in /proc")
def test_27_batch_that_memory_does_not_hold_is_learnt_from_in_parts(tmp_path):
    out = tmp_path / "run"
    words = ["run", "--per-class", "3", *SMOKE, "--seeds", "1", "--arm", "real", "--out", out]
    batch = [
        "--set",
        "classifier.batch=16384",
        "--set",
        "classifier.steps=1",
        "--set",
        "classifier.width=32",
    ]
    done = fine(augment(*words, *batch, code=LITTLE))
    assert "out of memory: " in done.stderr
    (about,) = [json.loads(f.read_text()) for f in out.glob("artefacts/score/*/about.json")]
    assert (about["batch"], about["steps"]) == (16384, 1)
    assert 64 <= about["micro_batch"] < 16384
    assert f"{about['micro_batch']} images at once, gradients gathered to one batch" in done.stderr


def test_27_without_room_for_one_image_the_cell_fails_and_the_rest_goes_on(tmp_path):
    out = tmp_path / "run"
    words = ["run", "--per-class", "3", *SMOKE, "--seeds", "1", "--arm", "real,synth"]
    done = augment(*words, "--set", "cvae.batch=16", "--out", out, code=NONE)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert [f"{n} images at once" in done.stderr for n in (8, 4, 2, 1)] == [True] * 4
    assert "error: out of memory: give --jobs 1, a smaller --size" in done.stderr
    assert rows(out)["status"].tolist() == ["ok", "failed"]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds the workers in /proc")
def test_35_a_killed_worker_fails_its_own_cell_and_the_rest_go_on(tmp_path):
    out = tmp_path / "run"
    words = ["run", *SLOWER, "--seeds", "2", "--jobs", "2", "--out", out]
    process = Forked(words, env=surroundings())
    until(process, lambda: list(out.glob("artefacts/score/*.partial")))
    os.kill(workers(process)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 4, said
    assert "Traceback" not in said
    assert "its process was killed (out of memory?): run again to go on, with --jobs 1" in said
    assert rows(out)["status"].tolist().count("failed") == 1
    assert finished(out) == 3
    assert "1/2" in (out / "table.md").read_text()
    fine(augment(*words, "--jobs", "1", "-q"))
    assert finished(out) == 4
