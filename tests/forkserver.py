"""Run the command in a process of its own without importing torch anew each time.

A server imports all that the command may import, once, and forks for each call: the child has its
own arguments, environment, current folder and streams, and ends as the command does. A call costs
what it does, not five seconds of imports. The start of the interpreter itself is not covered:
what depends on it (locale, number of threads, signals during imports) needs `python -m augment`.
"""

import functools
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

LAZY = """
    diffusers.models.autoencoders.autoencoder_kl diffusers.models.unets.unet_2d jinja2
    matplotlib.backends.backend_agg matplotlib.figure matplotlib.pyplot pandas PIL.Image
    safetensors.torch scipy.stats sklearn.datasets sklearn.linear_model torch torchvision.transforms
""".split()  # what the package imports within functions and takes long to import


def run_forked(words, *, cwd=None, env=None, code="", timeout=120):
    """Run `augment WORDS` after `code`, as `subprocess.run` with captured text would.

    A child that takes longer than `timeout` seconds is ended by SIGALRM: its exit code is -14.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = {name: str(Path(folder) / name) for name in ("stdout", "stderr")}
        asked = {
            "words": [str(word) for word in words],
            "cwd": str(cwd or Path.cwd()),
            "env": dict(env or os.environ),
            "code": code,
            "timeout": timeout,
            **streams,
        }
        server = running_server()
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        said = [Path(file).read_text(encoding="utf-8") for file in streams.values()]
    return subprocess.CompletedProcess(asked["words"], status, *said)


@functools.cache
def running_server():
    """Start the server; it ends when its stdin is closed, at the latest with this process."""
    root = str(Path(__file__).resolve().parents[1])
    return subprocess.Popen(
        [sys.executable, __file__],
        text=True,
        encoding="utf-8",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )


def stop_server():
    """End the server if one was started."""
    if running_server.cache_info().currsize:
        server = running_server()
        server.stdin.close()
        server.stdout.close()
        server.wait(timeout=60)
        running_server.cache_clear()


def import_all():
    """Import every module of the package that needs no extra, and what those import on demand."""
    import augment

    for name in LAZY:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(augment.__path__, "augment."):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if error.name != "ray":  # an extra
                raise


def become(asked):
    """Turn this forked child into the command that is asked for."""
    signal.alarm(asked["timeout"])
    for number, file, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, asked["stdout"], os.O_WRONLY | os.O_CREAT),
        (2, asked["stderr"], os.O_WRONLY | os.O_CREAT),
    ):
        handle = os.open(file, flags)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["augment", *asked["words"]]
    from augment.cli import main

    exec(asked["code"], {})
    main()


def serve():
    """Fork for each line of stdin; return what the child is to do, in the child alone."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


if __name__ == "__main__":
    import_all()
    if (todo := serve()) is not None:
        become(todo)
