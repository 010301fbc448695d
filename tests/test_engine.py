"""Runs: resumed, repeated, in several processes, with cells that fail."""

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from conftest import FIVE_ARMS, SMOKE, bars, write_folder
from forkserver import Forked, run_forked
from safetensors.torch import load_file

import augment
from augment.data.datasets import load_dataset
from augment.data.subset import labelled_subset
from augment.engine.local import Local, choose_jobs, threads_for
from augment.engine.processes import Worker, gpu_slot
from augment.engine.run import execute
from augment.engine.scheduling import Schedule, generator_keys, stage_keys
from augment.errors import DataError, MachineError, RunFolderError, UsageError
from augment.experiment import stages
from augment.experiment.arms import ARMS, generator_set
from augment.experiment.cells import expand
from augment.experiment.context import RunContext
from augment.experiment.validation import make_recipe
from augment.generators import GENERATORS
from augment.runtime.fork_server import signals_held, start_server
from augment.runtime.seeds import seed_for
from augment.storage.tables import read_csv
from augment.training import checkpoints
from augment.training.loop import train
from augment.training.serialization import kept_state, weights_name

TIMES = ["generator_seconds", "sample_seconds", "classifier_seconds", "peak_memory_mb", "run"]


def values(folder):
    """results.csv without the columns that no two runs share."""
    return pd.read_csv(folder / "results.csv").drop(columns=TIMES)


def weights(folder):
    """Every safetensors file of a run, by name."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.glob("artefacts/*/*/*.safetensors"))
    }


def test_run_fills_its_folder(finished):
    result = finished
    names = {p.name for p in result.path.iterdir()}
    assert names >= {
        "recipe.toml",
        "environment.json",
        "manifest.csv",
        "notes.csv",
        "results.csv",
        "per_class.csv",
        "history.csv",
        "summary.csv",
        "table.md",
        "plots",
        "samples",
        "artefacts",
    }
    assert len(result.table) == 2 * len(FIVE_ARMS)  # two trials
    assert result.failed == 0
    assert result.table["signature"].is_unique
    assert result.table["accuracy"].between(0, 1).all()
    assert len(result.synthetic) == 60
    assert {p.name for p in (result.path / "plots").iterdir()} == {
        "gain.png",
        "accuracy.png",
        "loss-cvae.png",
        "confusion-digits_3_a_class.png",
    }


def test_arms_of_a_trial_take_the_same_steps(finished):
    table = finished.table
    assert table["steps"].nunique() == 1
    assert table.groupby("seed")["n_labelled"].nunique().eq(1).all()


def test_same_settings_give_the_same_bits(finished, small_run):
    second = augment.run(**small_run)
    pd.testing.assert_frame_equal(values(finished.path), values(second.path))
    assert weights(finished.path) == weights(second.path)


def test_processes_give_what_one_process_gives(small_run, tmp_path, threads):
    several = augment.run(**{**small_run, "out": tmp_path / "two", "jobs": 2})
    threads(threads_for(2))
    alone = augment.run(**small_run)
    assert several.failed == 0
    pd.testing.assert_frame_equal(values(alone.path), values(several.path))
    assert weights(alone.path) == weights(several.path)


def test_finished_run_is_not_done_again(copied, small_run, monkeypatch):
    before = (copied / "results.csv").read_text()
    monkeypatch.setattr(stages, "train_with_checkpoints", None)  # nothing may be trained
    assert augment.run(**small_run).path == copied
    assert (copied / "results.csv").read_text() == before


def test_trials_added_later_give_the_run_of_all(finished, small_run):
    whole = finished
    fewer = augment.run(**{**small_run, "seeds": 1})
    kept = {p: p.stat().st_mtime_ns for p in fewer.path.glob("artefacts/*/*/about.json")}
    more = augment.run(**small_run)
    assert kept
    assert kept == {p: p.stat().st_mtime_ns for p in kept}  # none was made again
    pd.testing.assert_frame_equal(values(whole.path), values(more.path))
    assert weights(whole.path) == weights(more.path)
    assert (more.path / "table.md").read_text() == (whole.path / "table.md").read_text()


def hurt_at_full_rate(self, images, labels, *, step, rng):
    """CVAE's update; at step 2 it diverges, but for half the learning rate."""
    full = self.optimisers["net"].param_groups[0].get("scale", 1.0) == 1.0
    hurt = images * math.nan if step == 2 and full else images
    return UPDATE(self, hurt, labels, step=step, rng=rng)


UPDATE = GENERATORS["cvae"].update


@pytest.mark.parametrize(
    ("stage", "diverges"), [("generator", False), ("score", False), ("generator", True)]
)
def test_run_stopped_in_a_stage_ends_as_if_it_had_not(
    finished, small_run, tmp_path, stage, diverges, monkeypatch
):
    whole = finished
    if diverges:
        monkeypatch.setattr(GENERATORS["cvae"], "update", hurt_at_full_rate)
        whole = augment.run(**small_run)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)  # a checkpoint a step
    out, stopped, finished = tmp_path / "stopped", set(), False
    while not finished:
        steps = execute(
            make_recipe(**settings(small_run)), out=out, data_dir=None, executor=Local("auto", 1)
        )
        finished = True
        for progress in steps:
            if progress.stage == stage and progress.step == 3 and progress.cell not in stopped:
                stopped.add(progress.cell)
                steps.close()
                finished = False
                break
    assert len(stopped) >= 2
    pd.testing.assert_frame_equal(values(whole.path), values(out))
    assert weights(whole.path) == weights(out)
    assert not list(out.glob("artefacts/*/*.partial"))


def settings(small_run):
    return {k: v for k, v in small_run.items() if k not in ("out", "jobs")}


@pytest.mark.parametrize("jobs", [2])  # one process is killed sixty times in test_kills.py
def test_killed_run_goes_on_without_loss_or_double_rows(small_run, tmp_path, jobs, threads):
    threads(threads_for(jobs))
    whole = augment.run(**small_run)
    out = tmp_path / "killed"
    flags = [
        "--per-class",
        "3",
        "--generator",
        "cvae",
        "--preset",
        "smoke",
        "--seeds",
        "2",
        "--jobs",
        str(jobs),
        "--ratio",
        "2",
        "--arm",
        ",".join(FIVE_ARMS),
        "--out",
        str(out),
        "-q",
    ]
    flags += [f"--set={s}.{k}={v}" for s, line in SMOKE.items() for k, v in line.items()]
    command = ["run", *flags]
    for kind in ("generator", "synthetic", "quality", "classifier", "score"):
        before = set(out.glob(f"artefacts/{kind}/*"))
        process = Forked(command)
        while process.poll() is None and set(out.glob(f"artefacts/{kind}/*")) <= before:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL  # it had not ended before
    assert run_forked(command).returncode == 0
    pd.testing.assert_frame_equal(values(whole.path), values(out))


def test_ways_of_drawing_share_one_training_and_a_snapshot_is_what_it_was_on_the_way(tmp_path):
    names = ["ddpm snapshot=0.25", "ddpm guidance=2", "ddpm"]
    settings = dict(
        dataset="digits", per_class=3, generator=names, arm="synth", seeds=1, preset="smoke"
    )
    result = augment.run(**settings, jobs=1, out=tmp_path / "run")
    assert result.table["generator"].tolist() == names
    artefacts = result.path / "artefacts"
    (model,) = [path.parent for path in artefacts.glob("generator/*/about.json")]
    told = [json.loads(path.read_text()) for path in artefacts.glob("synthetic/*/about.json")]
    assert {one["generator"]: one["images_seen"] for one in told} == {
        "ddpm snapshot=0.25": 480,
        "ddpm guidance=2": 1920,
        "ddpm": 1920,
    }
    drawn = [load_file(file)["images"] for file in artefacts.glob("synthetic/*/synthetic.*")]
    assert len({tuple(images.flatten().tolist()) for images in drawn}) == 3

    cell = expand(make_recipe(**settings))[0]
    data = load_dataset("digits")
    labelled = data.pool.select(labelled_subset(data.pool, per_class=3, seed=0))
    learner = GENERATORS["ddpm"](**cell.generator_settings)
    seed, cpu = seed_for(0, "generator", "ddpm"), torch.device("cpu")
    learnt = generator_set(labelled, data.classic, learner.transformed)
    learner.prepare(learnt.parts[0], seed=seed, device=cpu)
    for step, _ in train(learner, learnt, seed=seed, device=cpu):
        if step in (15, 30, 45, 60):
            kept = load_file(model / weights_name(step / 60))
            own = kept_state(learner)
            assert all(torch.equal(kept[key], own[key]) for key in own), step


@pytest.mark.usefixtures("copied")
def test_other_settings_are_refused_with_the_difference(small_run):
    with pytest.raises(RunFolderError, match="seeds: 0, 1 → 0"):
        augment.run(**{**small_run, "seeds": 1})


def test_cell_that_diverges_is_shown_and_the_rest_goes_on(small_run):
    result = augment.run(**{**small_run, "set": {**SMOKE, "cvae": {"steps": 40, "lr": 1e18}}})
    status = result.table.set_index(["arm", "seed"])["status"]
    assert (status[["real", "real+classic"]] == "ok").all()
    assert (status[["synth", "real+synth"]] == "diverged").all()
    assert result.failed == 2 * sum(ARMS[arm].synthetic for arm in FIVE_ARMS)
    assert "0/2" in (result.path / "table.md").read_text()


def test_cell_that_breaks_is_a_failed_row(small_run, monkeypatch):
    def broken(self, labels, *, seeds):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(GENERATORS["cvae"], "sample", broken)
    result = augment.run(**{**small_run, "seeds": 1})
    broke = [ARMS[arm].synthetic for arm in result.table["arm"]]
    assert result.table["status"].eq("failed").tolist() == broke
    assert 0 < sum(broke) < len(broke)
    assert result.errors == ["RuntimeError: no such kernel"]
    assert "Traceback" in (result.path / "errors.log").read_text()


def test_damaged_artefact_is_made_again(copied, small_run):
    before = values(copied)
    victim = next(copied.glob("artefacts/classifier/*/weights.safetensors"))
    raw = bytearray(victim.read_bytes())
    raw[-1] ^= 1
    victim.write_bytes(raw)
    again = augment.run(**small_run)
    pd.testing.assert_frame_equal(values(again.path), before)
    assert "does not match its checksum" in (again.path / "warnings.log").read_text()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"dataset": "diggits"}, UsageError, "did you mean 'digits'"),
        ({"per_class": 500}, UsageError, "has only"),
        ({"device": "cuda"}, MachineError, "use --device auto or cpu"),
        ({"dataset": "./nowhere"}, UsageError, "no such folder"),
    ],
)
def test_faults_show_before_anything_is_written(small_run, change, error, words):
    if change.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(error, match=words):
        augment.run(**{**small_run, **change})
    assert not small_run["out"].exists()


def test_own_folder_runs_on_all_its_images(tmp_path, small_run):
    root = write_folder(tmp_path / "my images", bars(10, ("scratch", "fine"), (3, 20, 14)))
    result = augment.run(
        **{**small_run, "dataset": str(root), "per_class": None, "seeds": 1, "generator": "cgan"}
    )
    assert result.failed == 0
    assert (result.table["frac"] == 1.0).all()
    assert (result.table["n_labelled"] == 16).all()  # 20 % held out
    assert result.synthetic.shape == (3, 20, 14)


def test_own_folder_of_one_class_is_refused(tmp_path, small_run):
    root = write_folder(tmp_path / "images", bars(6, ("only",)))
    with pytest.raises(DataError, match="a single class"):
        augment.run(**{**small_run, "dataset": str(root), "per_class": None})


def test_without_out_a_new_folder_or_the_unfinished_one(small_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = {**small_run, "arm": "real", "seeds": 1, "out": None}
    first = augment.run(**short)
    second = augment.run(**short)
    assert [first.path.name, second.path.name] == ["digits-cvae", "digits-cvae-2"]
    (second.path / "table.md").unlink()  # as if it had been stopped
    assert augment.run(**short).path.name == "digits-cvae-2"


def test_shared_stages_are_not_made_twice_at_once():
    recipe = make_recipe(generator="ddpm,cvae", seeds=2, ratio=[1, 5]).resolved("cpu")
    cells = expand(recipe)
    with_ddpm = [c for c in cells if c.generator == "ddpm" and c.seed == 0]
    assert len({generator_keys(c)[0] for c in with_ddpm}) == 1
    # one model, two synthetic sets; who needs the classifier that judges them waits in the store
    assert len(set.union(*map(stage_keys, with_ddpm))) == 3
    assert all(stage_keys(c) == set() for c in cells if c.generator is None)


def test_cells_whose_generator_is_not_trained_yet_come_first():
    cells = expand(make_recipe(generator="ddpm", seeds=2, arm="real,synth").resolved("cpu"))
    schedule = Schedule(cells)
    schedule.finished |= {*generator_keys(next(c for c in cells if c.generator and c.seed == 0))}
    assert [(cells[n].arm, cells[n].seed) for n in schedule.begin([])] == [
        ("synth", 1),
        ("synth", 0),
        ("real", 0),
        ("real", 1),
    ]


def test_processes_by_cores_and_memory(cpu, monkeypatch):
    shapes = [(3, 64, 64)]
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert choose_jobs(3, cpu, shapes, 9) == 3
    assert choose_jobs(None, cpu, shapes, 9) == 4
    assert choose_jobs(None, cpu, shapes, 1) == 1
    monkeypatch.setattr("augment.engine.local.memory", lambda: 5 * 2**30)
    assert choose_jobs(None, cpu, shapes, 9) == 2
    monkeypatch.setattr("augment.engine.local.memory", lambda: 2**30)
    assert choose_jobs(None, cpu, shapes, 9) == 1


def test_a_process_of_several_threads_leaves_a_core_to_other_work(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 16)
    for cores, jobs, wanted in ((2, 2, 1), (2, 1, 1), (4, 1, 3), (16, 5, 3), (16, 8, 1)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert threads_for(jobs) == wanted
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)  # OMP_NUM_THREADS=2
    assert threads_for(1) == 2


@pytest.mark.parametrize(
    ("gigabytes", "device", "cells", "jobs"),
    [
        ([80], "cuda", 30, 4),
        ([80], "cuda", 3, 3),
        ([11], "cuda", 30, 2),
        ([3], "cuda", 30, 1),
        ([80, 80], "cuda", 30, 8),
        ([80, 11], "cuda:1", 30, 2),
    ],
)
def test_processes_share_a_gpu_that_has_room(gigabytes, device, cells, jobs, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gigabytes))
    sizes = [SimpleNamespace(total_memory=g * 1e9) for g in gigabytes]
    monkeypatch.setattr(torch.cuda, "get_device_properties", sizes.__getitem__)
    assert choose_jobs(None, torch.device(device), [(3, 32, 32)], cells) == jobs
    assert choose_jobs(None, torch.device(device), [(3, 64, 64)], cells) == 1
    assert choose_jobs(2, torch.device(device), [(3, 64, 64)], cells) == 2


@pytest.mark.parametrize(
    ("visible", "device", "seen"),
    [
        ("", "cuda", ["0", "1", "0"]),
        ("4,7", "cuda", ["4", "7", "4"]),
        ("4,7", "cuda:1", [None] * 3),
        ("4,7", "cpu", [None] * 3),
    ],
)
def test_processes_share_out_the_gpus_that_are_seen(monkeypatch, visible, device, seen):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    slots = [gpu_slot(number, torch.device(device)) for number in range(3)]
    assert [slot.get("CUDA_VISIBLE_DEVICES") for slot in slots] == seen


@pytest.mark.parametrize("device", ["cpu", "cuda"])  # forked by the server; started anew
def test_worker_is_given_its_gpu(device):
    context = RunContext(None, torch.device(device), "fp32", 0)
    worker = Worker({"CUDA_VISIBLE_DEVICES": "5"}, context, None, 1)
    try:
        assert worker.pool.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == "5"
    finally:
        worker.end()


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_workers_leave_ctrl_c_to_their_parent():
    code = """
import signal, torch
from augment.runtime.fork_server import process_context
with process_context(torch.device("cpu")).Pool(1) as pool:
    blocked = pool.apply(signal.pthread_sigmask, (signal.SIG_BLOCK, ()))
print(*sorted(number.name for number in blocked))
"""  # in a process that has started no other yet
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["SIGINT", "SIGTERM"]


def check_threads(code):
    """Code prints the names of a process's threads: none is that of pyarrow's allocator."""
    around = {k: v for k, v in os.environ.items() if k != "JE_ARROW_MALLOC_CONF"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=around, capture_output=True, text=True, check=True)
    assert "python" in done.stdout
    assert "jemalloc" not in done.stdout


HAS_ARROW = sys.platform == "linux" and importlib.util.find_spec("pyarrow")


@pytest.mark.skipif(not HAS_ARROW, reason="reads /proc, and needs pyarrow")
def test_server_runs_no_thread_of_an_allocator():
    code = """
import os, pathlib, torch
from augment.runtime.fork_server import process_context
with process_context(torch.device("cpu")).Pool(1) as pool:
    server = pool.apply(os.getppid)
    print(*(each.read_text() for each in pathlib.Path(f"/proc/{server}/task").glob("*/comm")))
"""
    check_threads(code)


@pytest.mark.skipif(not HAS_ARROW, reason="reads /proc, and needs pyarrow")
def test_command_runs_no_thread_of_an_allocator():
    code = """
import contextlib, pathlib, sys
from augment.cli import main
sys.argv = ["augment", "list"]
with contextlib.suppress(SystemExit):
    main()
import pandas
print(*(each.read_text() for each in pathlib.Path("/proc/self/task").glob("*/comm")))
"""
    check_threads(code)


def test_server_starts_no_process_for_a_gpu():
    assert not start_server("cuda")
    assert not start_server("cuda:1")


def test_manifest_lists_each_labelled_and_test_image(finished):
    manifest = read_csv(finished.path / "manifest.csv", ("label", "seeds"))
    labelled = manifest[manifest["split"] == "labelled"]
    for seed in "01":
        assert labelled["seeds"].str.split().map(lambda s, seed=seed: seed in s).sum() == 30
    assert (manifest["split"] == "test").sum() > 800
    assert manifest["sha256"].str.len().eq(64).all()


def test_environment_names_versions_and_processes(finished):
    about = json.loads((finished.path / "environment.json").read_text())
    assert torch.__version__.startswith(about["versions"]["torch"])
    assert about["processes"] == 1
    assert about["threads"] >= 1


def test_run_on_changed_pictures_is_refused(tmp_path, small_run):
    root = write_folder(tmp_path / "images", bars(8, ("scratch", "fine")))
    run = {**small_run, "dataset": str(root), "per_class": None, "arm": "real", "seeds": 1}
    augment.run(**run)
    write_folder(root, bars(8, ("scratch", "fine"), seed=5))
    with pytest.raises(RunFolderError, match="other images in "):
        augment.run(**run)


def test_run_tells_what_was_left_out_of_the_data(tmp_path, small_run):
    root = write_folder(tmp_path / "images", bars(8, ("scratch", "fine")))
    (root / ".cache").mkdir()
    recipe = make_recipe(
        **settings(
            {**small_run, "dataset": str(root), "per_class": None, "arm": "real", "seeds": 1}
        )
    )
    steps = execute(recipe, out=tmp_path / "run", data_dir=None, executor=Local("auto", 1))
    (told,) = [step.note for step in steps if step.note]
    assert ".cache" in told
    assert "1 cells into" in told


def test_signal_that_another_thread_takes_waits_until_a_worker_has_started():
    heard, over = [], threading.Event()
    other = threading.Thread(target=over.wait)  # its mask lets signals through
    other.start()
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        with signals_held():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            assert heard == []
        assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)
        over.set()
        other.join()
