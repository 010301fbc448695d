#!/usr/bin/env bash
# supervision 0.31.2, Python 3.11, seen on 2026-11-28.
#
# The names of classes in a data.yaml of YOLO's layout are read as YAML values: no and off become
# False, yes and on True, 01 and 1 one name, null None. Names go into COCO and Pascal VOC files as
# False and None; two classes get one name, and a merge by name makes one class of them, without a
# warning. Quoted names are kept. Ultralytics 8.4.190 reads them in the same way
# (check_det_dataset: {0: 'False', 1: 'True', 2: '1', 3: '1', 4: 'None'}).
#
# Output seen:
#   supervision 0.31.2
#   no yes 01 1 null: read as False True 1 1 None
#   'no' 'yes' '01' '1' 'null': read as no yes 01 1 null
#
# Exits 0 if that is what happens, 1 if it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m pip install --quiet --disable-pip-version-check --target "$folder/site" supervision==0.31.2 opencv-python-headless==5.0.0.93
cd "$folder"

PYTHONPATH="$folder/site" MPLCONFIGDIR="$folder" python3.11 -W ignore - <<'PYTHON'
from pathlib import Path

import supervision
from PIL import Image

print("supervision", supervision.__version__)
Path("images").mkdir()
Path("labels").mkdir()
Image.new("RGB", (100, 100)).save("images/1.png")
Path("labels/1.txt").write_text("0 0.5 0.5 0.2 0.2\n")
found = []
for names in (["no", "yes", "01", "1", "null"], ["'no'", "'yes'", "'01'", "'1'", "'null'"]):
    Path("data.yaml").write_text(f"names: [{', '.join(names)}]\n")
    data = supervision.DetectionDataset.from_yolo("images", "labels", "data.yaml")
    print(f"{' '.join(names)}: read as {' '.join(data.classes)}")
    found.append(data.classes)
expected = [["False", "True", "1", "1", "None"], ["no", "yes", "01", "1", "null"]]
raise SystemExit(found != expected)
PYTHON
