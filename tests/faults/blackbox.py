"""What the black-box suite shares: the real command in a process of its own, and what is clean."""

import fcntl
import hashlib
import os
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from conftest import bars, write_folder
from forkserver import run_forked

from augment.experiment.results_table import read_results

SMOKE = (
    "--preset smoke --jobs 1 --generator cvae --ratio 2 --set generator.steps=4 "
    "--set classifier.steps=6 --set classifier.width=8 --set classifier.batch=16"
).split()
DIGITS = ["--per-class", "3", "--seeds", "1", *SMOKE]
ONE_ARM = ["--arm", "real", "--seeds", "1", *SMOKE]


def command(*words):
    """The words that start the real command."""
    return [sys.executable, "-m", "augment", *map(str, words)]


def prepared(code, *words):
    """The words that start the real command after a line that makes a fault likelier or sooner."""
    return [sys.executable, "-c", f"{code}\nfrom augment.cli import main\nmain()", *map(str, words)]


def surroundings(**changed):
    """An environment with the package to be tested, whatever the current folder."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root, **changed}


def augment(*words, cwd=None, timeout=600, code="", **changed):
    """Run the command to its end: in a fork, or from the start where the environment is changed."""
    if not changed:
        return run_forked(words, cwd=cwd, env=surroundings(), code=code, timeout=timeout)
    return subprocess.run(
        prepared(code, *words) if code else command(*words),
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        check=False,
        env=surroundings(**changed),
        timeout=timeout,
    )


def peak_mb(*words):
    """What `augment` takes at its peak; a small process asks, whose own size does not count in."""
    ask = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    started = command(*words)
    asked = [started[0], "-c", ask, *started]
    told = subprocess.run(asked, capture_output=True, text=True, check=True, env=surroundings())
    return int(told.stdout) * 1024 / 1e6


def on_a_terminal(*words, columns=40, **changed):
    """What the command writes to a terminal of so many columns."""
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    around = surroundings(TERM="xterm", **changed)
    around.pop("COLUMNS", None)  # pytest-xdist sets it; it would go before the terminal's own width
    process = subprocess.Popen(command(*words), stdin=its, stdout=its, stderr=its, env=around)
    os.close(its)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:  # Linux says so at the end
        pass
    os.close(ours)
    assert process.wait() == 0, said
    return said.decode()


def start(*words, code="", **options):
    """Start the command and go on."""
    return subprocess.Popen(
        prepared(code, *words) if code else command(*words),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=surroundings(),
        **options,
    )


def until(process, happened):
    """Wait for something that a running command does."""
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def clean(done, code, *said):
    """Stopped with this code and, on stderr, one sentence that holds these words."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert len(errors) == 1, done.stderr
    for words in said:
        assert str(words) in errors[0], errors[0]
    return errors[0]


def fine(done):
    """Ended well."""
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def fingerprint(folder):
    """Name, kind, time and contents of everything in a folder: equal if nothing was touched."""
    found = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        plain = path.is_file() and not path.is_symlink()
        inside = hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""
        found[str(path.relative_to(folder))] = (about.st_mode, about.st_mtime_ns, inside)
    return found


def pictures(root, n=8, classes=("across", "down"), shape=(1, 8, 8), seed=0):
    """A folder a class."""
    return write_folder(root, bars(n, classes, shape, seed))


def rows(folder):
    """results.csv."""
    return read_results(folder / "results.csv")


def finished(folder):
    """Rows that look successful; none if there is no table."""
    if not (folder / "results.csv").exists():
        return 0
    return int((rows(folder)["status"] == "ok").sum())


def workers(process):
    """Numbers of the worker processes of a running command: what its server has forked."""
    servers = [child for child, line in children(process.pid) if "forkserver" in line]
    return [worker for server in servers for worker, _ in children(server)]


def children(parent):
    """Number and command line of each child of a process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            number = re.search(r"^PPid:\s*(\d+)", (folder / "status").read_text(), re.M)
            line = (folder / "cmdline").read_text()
        except OSError:  # ended meanwhile
            continue
        if number and int(number[1]) == parent:
            found.append((int(folder.name), line))
    return found
