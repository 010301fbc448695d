#!/usr/bin/env bash
# pycocotools 2.0.11, faster-coco-eval 1.8.0, Python 3.11, seen on 2026-11-28.
#
# A COCO file whose annotations are counted from 0, as many converters write them, is valid by the format's
# description and loses a match: pycocotools keeps the id of the matched annotation where 0 means none, so
# the box with id 0 is never found. Perfect detections then score less than 1. pycocotools says nothing,
# faster-coco-eval warns.
#
# Output seen, 10 boxes in 10 pictures, each detected exactly:
#   pycocotools: mAP 1.000 with ids from 1, 0.811 with ids from 0
#   faster_coco_eval: mAP 1.000 with ids from 1, 0.811 with ids from 0
#
# Exits 0 if that is what happens, 1 if it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m pip install --quiet --disable-pip-version-check --target "$folder/site" --no-deps pycocotools==2.0.11 faster-coco-eval==1.8.0 numpy==2.4.6
cd "$folder"

PYTHONPATH="$folder/site" python3.11 - <<'PYTHON'
import contextlib
import io
import warnings

import faster_coco_eval
import pycocotools.coco
import pycocotools.cocoeval

PACKAGES = {
    "pycocotools": (pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval),
    "faster_coco_eval": (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
}


def score(package, first_id):
    coco, evaluation = PACKAGES[package]
    box = {"category_id": 1, "bbox": [10, 10, 20, 20]}
    pictures = range(1, 11)
    truth = coco()
    truth.dataset = {
        "info": {},
        "images": [{"id": n, "width": 64, "height": 64} for n in pictures],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": at, "image_id": n, "iscrowd": 0, "area": 400, **box}
            for at, n in enumerate(pictures, first_id)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = truth.loadRes([{"image_id": n, "score": 0.9, **box} for n in pictures])
        scores = evaluation(truth, found, "bbox")
        scores.evaluate()
        scores.accumulate()
        scores.summarize()
    return float(scores.stats[0])


warnings.simplefilter("ignore")
changed = False
for package in PACKAGES:
    right, wrong = score(package, 1), score(package, 0)
    print(f"{package}: mAP {right:.3f} with ids from 1, {wrong:.3f} with ids from 0")
    changed |= right != 1 or wrong > 0.95
raise SystemExit(changed)
PYTHON
