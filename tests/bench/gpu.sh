#!/usr/bin/env bash
# What one GPU gains over an older commit, in at most ten minutes: results/bench/gpu.csv.
#
#   tests/bench/gpu.sh [--smoke] [--data-dir DIR] [--only speed,equal,runs] [BASE]
#
# BASE (default c7a1d7e) is checked out beside this checkout for the ratios, and removed again;
# BASE_DIR=PATH takes a checkout that is there. PYTHON=PATH names the interpreter; --smoke tries the
# script at tiny sizes, on a CPU too.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; fi
fi
commit=c7a1d7e
flags=()
while [ $# -gt 0 ]; do
    case "$1" in
        --smoke) flags+=("$1") ;;
        --*) flags+=("$1" "$2"); shift ;;
        *) commit=$1 ;;
    esac
    shift
done
if [ -z "${BASE_DIR:-}" ]; then
    place=$(mktemp -d)
    BASE_DIR=$place/base
    git worktree add --quiet --detach "$BASE_DIR" "$commit"
    trap 'git worktree remove --force "$BASE_DIR"; rmdir "$place"' EXIT
fi
"$PYTHON" tests/bench/gpu.py --base "$BASE_DIR" ${flags[@]+"${flags[@]}"}
