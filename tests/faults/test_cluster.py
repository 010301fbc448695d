"""`--executor ray` on three simulated nodes of this machine."""

import importlib.util
import signal
import subprocess
import sys
import tempfile
import time

import pandas as pd
import pytest
from blackbox import augment, clean, command, surroundings
from test_engine import values, weights

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
]
AUTH = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 2}
NODES = """
import sys
from ray.cluster_utils import Cluster
nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
others = [nodes.add_node(num_cpus=1) for _ in range(2)]
print(nodes.address, flush=True)
for _ in sys.stdin:
    nodes.remove_node(others.pop(), allow_graceful=False)
nodes.shutdown()
"""
# a node that claims two GPUs: what tasks with none, half of one and one are shown of them
VISIBLE = """
import os
import ray
from augment.engine.cluster import task_resources
os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
ray.init("local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
see = ray.remote(lambda: os.environ.get("CUDA_VISIBLE_DEVICES"))
print([ray.get(see.options(**task_resources(1, gpus)).remote()) for gpus in (0.0, 0.5, 1.0)])
"""
CELLS = (  # of one generator half of the cells diverge
    "run --per-class 3 --preset smoke --seeds 2 --ratio 2 --generator cvae,cgan --arm "
    "real,real+classic,real+classic+synth --set generator.steps=4 --set cgan.lr=1e18 "
    "--set classifier.width=8 --set classifier.batch=16 --set classifier.steps=150"
).split()
BOXES = (
    "run --frac 0.5 --preset smoke --precision fp32 --seeds 1 --ratio 2 --generator duplicate "
    "--arm real+copypaste+synth --select --folds 2 --set classifier.steps=4 "
    "--set classifier.epochs=0 --set detector.steps=4 --set detector.epochs=0"
).split()


@pytest.fixture(scope="module")
def nodes():
    """The process that has the nodes: a line kills one; and the flags that lead to them."""
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        around = surroundings(RAY_TMPDIR=folder, **AUTH)
        with subprocess.Popen(
            [sys.executable, "-c", NODES],
            env=around,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            yield process, ["--executor", "ray", "--address", process.stdout.readline().strip()]
        assert process.returncode == 0


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same cells in one process of one thread, as each has on the nodes."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert augment(*CELLS, "--jobs", "1", "--out", out, OMP_NUM_THREADS="1").returncode == 4
    return out


def begin(words, out, pattern, count):
    """Start the command on the nodes, and go on once there are so many of these artefacts."""
    process = subprocess.Popen(
        command(*words, "--out", out),
        env=surroundings(**AUTH),
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while len(list(out.glob(f"artefacts/{pattern}"))) < count:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    return process


def test_task_sees_the_gpus_that_it_asked_for_and_no_others():
    done = subprocess.run(
        [sys.executable, "-c", VISIBLE],
        env=surroundings(RAY_USAGE_STATS_ENABLED="0"),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    assert done.stdout.strip() in ("['', '0', '0']", "['', '0', '1']", "['', '1', '0']")


def test_request_that_no_node_can_meet_is_refused_before_anything_is_written(nodes, tmp_path):
    done = augment(*CELLS, *nodes[1], "--cpus", "2", "--out", tmp_path / "run", **AUTH)
    clean(done, 5, "--cpus 2 --gpus 0", "they have 1 and 0")
    assert not (tmp_path / "run").exists()


def test_address_where_nobody_answers_is_named(tmp_path):
    flags = ["--executor", "ray", "--address", "127.0.0.1:1", "--out", tmp_path / "run"]
    clean(augment(*CELLS, *flags), 5, "--address 127.0.0.1:1: no Ray cluster can be reached")


def test_cells_of_a_lost_node_are_run_again_elsewhere(nodes, alone, tmp_path):
    out = tmp_path / "run"
    process = begin([*CELLS, *nodes[1]], out, "*/*.partial", 3)  # each node is busy
    nodes[0].stdin.write("kill\n")
    nodes[0].stdin.flush()
    _, said = process.communicate(timeout=240)
    assert process.returncode == 4, said  # cgan's cells have diverged; they are not tried again
    pd.testing.assert_frame_equal(values(alone), values(out))
    assert weights(alone) == weights(out)


def test_boxes_are_learnt_and_chosen_as_alone(nodes, boxed_folder, tmp_path):
    words = [*BOXES, "--dataset", boxed_folder]
    one = {"timeout": 240, "OMP_NUM_THREADS": "1"}
    alone = augment(*words, "--jobs", "1", "--out", tmp_path / "alone", **one)
    assert alone.returncode == 0, alone.stderr
    done = augment(*words, *nodes[1], "--out", tmp_path / "nodes", timeout=240, **AUTH)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(values(tmp_path / "alone"), values(tmp_path / "nodes"))
    assert weights(tmp_path / "alone") == weights(tmp_path / "nodes")


def test_command_that_is_stopped_goes_on_without_loss_or_double_rows(nodes, alone, tmp_path):
    out = tmp_path / "run"
    for number, (kind, code) in enumerate([(signal.SIGTERM, 143), (signal.SIGKILL, -9)], 1):
        process = begin([*CELLS, *nodes[1]], out, "score/*/seal.json", number)
        process.send_signal(kind)
        process.communicate()
        assert process.returncode == code
    assert augment("resume", out, *nodes[1], timeout=240, **AUTH).returncode == 4
    pd.testing.assert_frame_equal(values(alone), values(out))
