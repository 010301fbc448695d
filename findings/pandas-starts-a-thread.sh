#!/usr/bin/env bash
# pandas 3.0.1, pyarrow 23.0.1, Python 3.11 and 3.12, Linux, seen on 2026-11-29.
#
# Where pyarrow is installed, `import pandas` alone imports it, and its library starts a thread as
# it is loaded, jemalloc_bg_thd, of an allocator that is not even the one in use (mimalloc is). So a
# program of one thread that read a table has two, before it called anything of pyarrow: every fork
# of it (loaders of images with worker processes, pools, servers that preload) is one of a process
# with threads, which Python 3.12 warns of, and which ends a program whose warnings are errors.
# Without pyarrow installed the same program has one thread and no warning. A variable that the
# allocator reads as it is loaded, JE_ARROW_MALLOC_CONF=background_thread:false, keeps it at one.
# OPENBLAS_NUM_THREADS=1 leaves out NumPy's own threads, which are not meant here.
#
# Output seen (Python 3.11 does not warn, and leaves the last column empty):
#   before: python3.12 · no warning
#   after import pandas: jemalloc_bg_thd, python3.12 · allocator mimalloc · multi-threaded, use of fork()
#   after import pandas, thread switched off: python3.12 · allocator mimalloc · no warning
#
# Exits 0 if that is what happens, 1 if it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=$(command -v python3.12 || command -v python3)
"$python" -m pip install --quiet --disable-pip-version-check --target "$folder/site" pandas==3.0.1 pyarrow==23.0.1

cat > "$folder/threads.py" <<'PYTHON'
import os
import sys
import warnings


def threads():
    tasks = os.listdir("/proc/self/task")
    return sorted(open(f"/proc/self/task/{task}/comm").read().strip() for task in tasks)


def warned():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if not (child := os.fork()):
            os._exit(0)
        os.waitpid(child, 0)
    return any("multi-threaded" in str(each.message) for each in told)


def told(is_warned):
    return "multi-threaded, use of fork()" if is_warned else "no warning"


off = "JE_ARROW_MALLOC_CONF" in os.environ
alone, silent = threads(), not warned()
if not off:
    print(f"before: {', '.join(alone)} · {told(not silent)}")

import pandas  # noqa: E402, F401

found, is_warned = threads(), warned()
pool = sys.modules["pyarrow"].default_memory_pool().backend_name
name = "after import pandas" + (", thread switched off" if off else "")
print(f"{name}: {', '.join(found)} · allocator {pool} · {told(is_warned)}")
warns = sys.version_info >= (3, 12)
as_seen = found == alone and not is_warned if off else (
    set(found) - set(alone) == {"jemalloc_bg_thd"} and is_warned == warns
)
sys.exit(not (len(alone) == 1 and silent and as_seen))
PYTHON

export OPENBLAS_NUM_THREADS=1 PYTHONPATH="$folder/site"
cd "$folder"
"$python" threads.py
JE_ARROW_MALLOC_CONF=background_thread:false "$python" threads.py
