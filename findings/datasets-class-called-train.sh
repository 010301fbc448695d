#!/usr/bin/env bash
# datasets 5.2.0, Python 3.11, seen on 2026-11-28.
#
# A folder a class, and one class is called train (vehicles), or test. `imagefolder` takes these names
# for splits: the pictures of all other classes are not loaded at all, without a warning, and the class
# that is left is split in two data sets.
#
# Output seen:
#   on disk: bus 3, test 1, train 2
#   loaded: test 1, train 2; the labels are test, train
#
# Exits 0 if that is what happens, 1 if it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m pip install --quiet --disable-pip-version-check --target "$folder/site" datasets==5.2.0 pillow==13.0.0
cd "$folder"

HF_HOME="$folder/home" HF_HUB_OFFLINE=1 PYTHONPATH="$folder/site" python3.11 - <<'PYTHON'
import pathlib

import datasets
from PIL import Image

datasets.disable_progress_bars()
classes = {"bus": 3, "test": 1, "train": 2}
for name, n in classes.items():
    pathlib.Path("vehicles", name).mkdir(parents=True)
    for k in range(n):
        Image.new("L", (4, 4), k).save(f"vehicles/{name}/{k}.png")
loaded = datasets.load_dataset("imagefolder", data_dir="vehicles")
counts = {name: len(part) for name, part in sorted(loaded.items())}
labels = loaded["train"].features["label"].names
print("on disk:", ", ".join(f"{name} {n}" for name, n in classes.items()))
said = ", ".join(f"{name} {n}" for name, n in counts.items())
print(f"loaded: {said}; the labels are {', '.join(labels)}")
raise SystemExit((counts, labels) != ({"test": 1, "train": 2}, ["test", "train"]))
PYTHON
