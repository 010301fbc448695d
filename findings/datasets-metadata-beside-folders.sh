#!/usr/bin/env bash
# datasets 5.2.0, Python 3.11, seen on 2026-11-28.
#
# `imagefolder` takes the label of a picture from its folder: cat/1.png is a cat. With a metadata.csv
# beside the folders, here of patients, the labels are gone. No combination of drop_labels and
# drop_metadata brings them back, not even drop_metadata=True.
#
# Output seen:
#   no metadata.csv: image label
#   metadata.csv: image patient
#   metadata.csv, drop_labels=False: image patient
#   metadata.csv, drop_metadata=True: image
#   metadata.csv, drop_labels=False, drop_metadata=True: image
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
names = ["cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png"]
for k, name in enumerate(names):
    pathlib.Path("pets", name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), k).save(f"pets/{name}")


def columns(**options):
    return " ".join(datasets.load_dataset("imagefolder", data_dir="pets", **options)["train"].features)


found = [columns()]
print("no metadata.csv:", found[0])
rows = [f"{name},p{k // 2}\n" for k, name in enumerate(names)]
pathlib.Path("pets/metadata.csv").write_text("file_name,patient\n" + "".join(rows))
for options in (
    {},
    {"drop_labels": False},
    {"drop_metadata": True},
    {"drop_labels": False, "drop_metadata": True},
):
    found.append(columns(**options))
    print(", ".join(["metadata.csv", *(f"{k}={v}" for k, v in options.items())]) + ":", found[-1])
raise SystemExit(found != ["image label", *["image patient"] * 2, *["image"] * 2])
PYTHON
