#!/usr/bin/env bash
# Own pictures at 128 px and sets with boxes on one GPU, in at most ten minutes.
#
#   tests/bench/own_gpu.sh OUT [FLAG …]
#
# Runs the recipes below one after the other, each in a run folder OUT/NAME, and writes the seconds
# of each to OUT/seconds.csv; what is not done when the time is over is cut off between two cells
# and can be resumed. FLAGs go to every run (--preset smoke --device cpu tries the script).
# data/own/{neu,cells,bccd,neu-det} and the cached mnist and cifar10 have to be there.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$1
shift
augment=(augment)
if [ -x .venv/bin/python ]; then augment=(.venv/bin/python -m augment); fi
end=$((SECONDS + 570))
mkdir -p "$out"
echo "name,seconds,exit" > "$out/seconds.csv"
timed() { # NAME COMMAND …: run it for what is left of the time
    local name=$1 start=$SECONDS code=0
    shift
    timeout --signal INT $((end > SECONDS ? end - SECONDS : 1)) "$@" --out "$out/$name" || code=$?
    echo "$name,$((SECONDS - start)),$code" >> "$out/seconds.csv"
}
for set in mnist cifar10; do # what the transfer arms of the recipes start from
    timed "$set-128" "${augment[@]}" run --dataset "$set" --size 128 --per-class 100 \
        --arm real+classic --seeds 1 --preset quick "$@"
done
timed steel-128-one "${augment[@]}" run --dataset data/own/neu --size 128 --per-class 20 \
    --generator ddpm --seeds 1 --preset full "$@"
for recipe in boxes-bccd-30 boxes-neu-det-5; do
    timed "$recipe" "${augment[@]}" run --config "pipelines/$recipe.toml" --set detector.steps=1200 --preset full "$@"
done
timed cells-128 "${augment[@]}" run --config pipelines/cells-128.toml \
    --weights "$out/cifar10-128" --preset full "$@"
timed steel-128 "${augment[@]}" run --config pipelines/steel-128.toml \
    --weights "$out/mnist-128" --preset full "$@"
cat "$out/seconds.csv"
