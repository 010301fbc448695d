"""Random true boxes and detections of them, and the score that the reference gives."""

import contextlib
import io

import numpy as np


def random_case(rng, n=12, k=3, most=6, side=64, whole=False):
    """Boxes [n, B, 5] and detections [n, D, 6] of k classes: near, wrong and doubled ones."""
    boxes, detections = np.full((n, most, 5), -1.0), np.full((n, 4 * most, 6), -1.0)
    for picture in range(n):
        rows = []
        for at in range(rng.integers(most + 1)):
            low = rng.uniform(0, side - 20, 2)
            box = np.concatenate([low, low + rng.uniform(4, 20, 2)])
            label = rng.integers(k)
            boxes[picture, at] = [label, *box]
            for _ in range(rng.integers(3)):
                near = box + rng.normal(0, rng.choice([0.0, 0.5, 3.0]), 4)
                if (near[2:] > near[:2]).all():
                    said = label if rng.random() < 0.8 else rng.integers(k)
                    rows.append([said, rng.random(), *near])
        for _ in range(rng.integers(3)):
            low = rng.uniform(0, side - 20, 2)
            rows.append([rng.integers(k), rng.random(), *low, *(low + rng.uniform(4, 20, 2))])
        detections[picture, : len(rows)] = np.array(rows).reshape(-1, 6)
    if whole:  # equal overlaps, equal scores, overlaps on the threshold
        boxes, detections[..., 2:] = boxes.round(), detections[..., 2:].round()
        detections[..., 1] = (detections[..., 1] * 8).round() / 8
        flat = (detections[..., 4:] <= detections[..., 2:4]).any(-1)
        detections[flat] = -1.0
    return boxes.astype(np.float32), detections.astype(np.float32)


def reference_precision(boxes, detections, k):
    """AP by threshold of IoU and class by pycocotools: [10, K]; -1 without a true box."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = coco_dict(boxes, k)
        truth.createIndex()
        results = [
            dict(image_id=n, category_id=int(c), score=float(s), bbox=[x, y, x1 - x, y1 - y])
            for n, rows in enumerate(detections.astype(np.float64))
            for c, s, x, y, x1, y1 in rows
            if c >= 0
        ]
        if not results:
            return None
        found = COCOeval(truth, truth.loadRes(results), "bbox")
        found.evaluate()
        found.accumulate()
    return found.eval["precision"][:, :, :, 0, 2].mean(1)


def coco_dict(boxes, k, first_id=1):
    """The dict of a COCO file; the annotations are counted from `first_id`."""
    rows = [(n, *row) for n, of in enumerate(boxes.astype(float)) for row in of if row[0] >= 0]
    return {
        "info": {},
        "images": [dict(id=n) for n in range(len(boxes))],
        "categories": [dict(id=c) for c in range(k)],
        "annotations": [
            dict(id=at, image_id=n, category_id=int(c), bbox=[x, y, x1 - x, y1 - y], iscrowd=0)
            | dict(area=(x1 - x) * (y1 - y))
            for at, (n, c, x, y, x1, y1) in enumerate(rows, first_id)
        ],
    }
