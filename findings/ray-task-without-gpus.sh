#!/usr/bin/env bash
# ray 2.54.0 and 2.60.0, Python 3.11, seen on 2026-11-28.
#
# A task with num_gpus=0 (the default) sees all GPUs of its node in Ray 2.60: CUDA_VISIBLE_DEVICES stays
# what it is on the node. Up to 2.54 Ray emptied it, so that such a task could not touch a GPU. Code that
# picks cuda where torch sees one now runs its CPU tasks on GPUs that Ray has given to others. In both,
# RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1 in the task's runtime_env hides them; a task with num_gpus=1 sees
# one either way. No GPU is needed to see it: num_gpus of ray.init is taken at its word.
#
# Output seen:
#   ray 2.54.0: without a GPU '', hidden '', one GPU '0'
#   ray 2.60.0: without a GPU '0,1', hidden '', one GPU '0'
#
# Exits 0 if that is what happens, 1 if it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/see.py" <<'PYTHON'
import os
import sys

import ray

os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
ray.init("local", num_cpus=1, num_gpus=2, include_dashboard=False, log_to_driver=False)
see = ray.remote(lambda: os.environ.get("CUDA_VISIBLE_DEVICES"))
hidden = {"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}}
options = ({"num_gpus": 0}, {"num_gpus": 0, "runtime_env": hidden}, {"num_gpus": 1})
found = [ray.get(see.options(**each).remote()) for each in options]
plain, quiet, one = map(repr, found)
print(f"ray {ray.__version__}: without a GPU {plain}, hidden {quiet}, one GPU {one}")
sys.exit(found != [sys.argv[1], "", "0"])
PYTHON
export RAY_USAGE_STATS_ENABLED=0
install="python3.11 -m pip install --quiet --disable-pip-version-check"
$install --target "$folder/before" ray==2.54.0
$install --target "$folder/now" ray==2.60.0
PYTHONPATH="$folder/before" python3.11 -W ignore "$folder/see.py" "" 2> "$folder/errors"
PYTHONPATH="$folder/now" python3.11 -W ignore "$folder/see.py" "0,1" 2> "$folder/errors"
