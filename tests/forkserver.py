"""Run the command in a process of its own without importing torch anew each time.

A server imports all that the command may import, once, and forks for each call: the child has its
own arguments, environment, current folder and streams, and exits with the command's code. A call
costs what it does, not five seconds of imports. The start of the interpreter itself is not covered:
what depends on it (locale, number of threads, signals during imports) needs `python -m augment`.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

STREAMS = ("stdout", "stderr")
LAZY = """
    diffusers.models.autoencoders.autoencoder_kl diffusers.models.unets.unet_2d jinja2
    matplotlib.backends.backend_agg matplotlib.figure matplotlib.pyplot pandas PIL.Image
    safetensors.torch scipy.stats sklearn.datasets sklearn.linear_model torch torchvision.transforms
""".split()  # what the package imports within functions and takes long to import


class Forked:
    """A call of the command, begun: what the tests need of `subprocess.Popen`.

    One at a time: the server waits for a child before it forks the next.
    """

    def __init__(self, words, *, cwd=None, env=None, code="", timeout=600):
        """Begin `augment WORDS` after `code`; SIGALRM ends it after `timeout` seconds."""
        self.returncode = None
        self.args = [str(word) for word in words]
        self.folder = tempfile.TemporaryDirectory()
        asked = {
            "words": self.args,
            "cwd": str(cwd or Path.cwd()),
            "env": dict(env or os.environ),
            "code": code,
            "timeout": timeout,
            "folder": self.folder.name,
        }
        self.server = running_server()
        self.server.stdin.write(json.dumps(asked).encode() + b"\n")
        self.pid = int(self.server.stdout.readline())

    def poll(self, seconds=0.0):
        """Exit code, or None if it has not ended after so many seconds; None: wait for its end."""
        if self.returncode is None and select.select([self.server.stdout], [], [], seconds)[0]:
            self.returncode = int(self.server.stdout.readline())
        return self.returncode

    def send_signal(self, number):
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout=None):
        """Wait for its end; what it wrote to stdout and stderr."""
        if self.poll(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        with self.folder:
            return tuple((Path(self.folder.name) / name).read_text("utf-8") for name in STREAMS)


def run_forked(words, **options):
    """Run `augment WORDS` to its end, as `subprocess.run` with captured text would."""
    process = Forked(words, **options)
    said = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, *said)


@functools.cache
def running_server():
    """Start the server; it ends when its stdin is closed, at the latest with this process."""
    root = str(Path(__file__).resolve().parents[1])
    return subprocess.Popen(
        [sys.executable, __file__],
        bufsize=0,  # nothing that was written waits here, out of sight of `select`
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
        if module.name == "augment.engine.preloaded":  # it is for another server, and ends that
            continue
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if error.name != "ray":  # an extra
                raise


def become(asked):
    """Turn this forked child into the command that is asked for."""
    signal.alarm(asked["timeout"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    files = [os.devnull, *(os.path.join(asked["folder"], name) for name in STREAMS)]
    for number, file in enumerate(files):
        handle = os.open(file, os.O_RDWR | os.O_CREAT)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["augment", *asked["words"]]


def run_command(code):
    """Run `code` and the command of sys.argv, and exit as the interpreter does.

    All but the interpreter's own end: to take apart what was imported lasts two seconds.
    """
    from augment.cli import main

    status = 0
    try:
        exec(code, {})
        main()
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def serve():
    """Fork for each line of stdin; return what the child is to do, in the child alone."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            return json.loads(line)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


if __name__ == "__main__":
    import_all()
    gc.freeze()  # no collection in a child looks through, and so copies, what was imported
    if (todo := serve()) is not None:
        become(todo)
        run_command(todo["code"])
    os._exit(0)
