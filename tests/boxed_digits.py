"""Digits of scikit-learn drawn onto canvases, with exact boxes, and the set written as tools do."""

import functools
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

from augment.data.boxed_images import NO_BOX, BoxedImages
from augment.data.grids import to_pillow

MOST_DIGITS, MOST_OVERLAP = 5, 0.2  # in a picture; IoU of two boxes of one


def digits_on_canvas(n, side=128, seed=0, classes=10, n_negatives=0):
    """`n` grey pictures of 1 to 5 digits of 16 to 40 px on graded, noisy grounds: BoxedImages.

    The last `n_negatives` of them hold no digit.
    """
    rng = np.random.default_rng(seed)
    images = np.empty((n, 1, side, side), np.uint8)
    labels = np.full((n, MOST_DIGITS, 5), NO_BOX, np.float32)
    for k in range(n):
        canvas = _ground(side, rng)
        wanted = 0 if k >= n - n_negatives else rng.integers(1, MOST_DIGITS + 1)
        boxes = []
        for _ in range(20 * wanted):
            if len(boxes) == wanted:
                break
            label = int(rng.integers(classes))
            ink = _digit(label, int(rng.integers(16, min(40, side // 2) + 1)), rng)
            height, width = ink.shape
            y, x = rng.integers(side - height + 1), rng.integers(side - width + 1)
            box = (x, y, x + width, y + height)
            if all(overlap(box, other) <= MOST_OVERLAP for _, *other in boxes):
                part = canvas[y : y + height, x : x + width]
                part += ink * (rng.uniform(190, 255) - part)
                boxes.append((label, *box))
        labels[k, : len(boxes)] = np.array(boxes).reshape(-1, 5)
        images[k, 0] = canvas.round().clip(0, 255)
    names = tuple(str(digit) for digit in range(classes))
    return BoxedImages(torch.from_numpy(images), torch.from_numpy(labels), names)


def _ground(side, rng):
    """A slope of grey with noise: [side, side], about 10 to 130."""
    y, x = np.mgrid[:side, :side] / side
    slope = rng.uniform(-40, 40) * x + rng.uniform(-40, 40) * y
    return rng.uniform(50, 90) + slope + rng.normal(0, 8, (side, side))


@functools.cache
def _digits_of(label):
    data = load_digits()
    return data.images[data.target == label]


def _digit(label, longer, rng):
    """Ink of a digit, 0 to 1, cut to its extent: [h, w], its longer side about `longer` px."""
    small = _digits_of(label)[rng.integers(len(_digits_of(label)))]
    scale = longer / 8
    for _ in range(8):  # its extent is known once it is scaled, and then set right
        side = max(8, round(8 * scale))
        picture = Image.fromarray(small.astype(np.float32) / 16)
        ink = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))
        ink = np.where(ink > 0.3, ink, 0)
        cut = ink[_extent(ink > 0)]
        if max(cut.shape) <= longer:
            return cut
        scale *= longer / max(cut.shape) - 0.01
    return cut[:longer, :longer]


def _extent(mask):
    """Slices of the smallest rectangle that holds all of a mask [H, W]."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def overlap(a, b):
    """IoU of two boxes (xmin, ymin, xmax, ymax)."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def boxes_of(data, k):
    """The boxes of picture k: a list of (class, xmin, ymin, xmax, ymax)."""
    return [tuple(row) for row in data.labels[k].tolist() if row[0] != NO_BOX]


def _save(data, folder, k, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    to_pillow(data.images[k]).save(folder / f"canvas{k:03d}{suffix}")
    return f"canvas{k:03d}{suffix}"


def write_voc(data, root, splits=None):
    """Pascal VOC: JPEGImages/, Annotations/, and ImageSets/Main where there are splits."""
    root = Path(root)
    (root / "Annotations").mkdir(parents=True)
    _, height, width = data.shape
    for k in range(len(data)):
        name = _save(data, root / "JPEGImages", k)
        annotation = ElementTree.Element("annotation")
        ElementTree.SubElement(annotation, "filename").text = name
        size = ElementTree.SubElement(annotation, "size")
        for key, value in (("width", width), ("height", height), ("depth", 1)):
            ElementTree.SubElement(size, key).text = str(value)
        for label, xmin, ymin, xmax, ymax in boxes_of(data, k):
            each = ElementTree.SubElement(annotation, "object")
            ElementTree.SubElement(each, "name").text = data.classes[int(label)]
            box = ElementTree.SubElement(each, "bndbox")
            corners = dict(xmin=xmin + 1, ymin=ymin + 1, xmax=xmax, ymax=ymax)  # counted from 1
            for key, value in corners.items():
                ElementTree.SubElement(box, key).text = str(int(value))
        ElementTree.ElementTree(annotation).write(root / "Annotations" / f"canvas{k:03d}.xml")
    for split in sorted(set(splits or ())):
        lists = root / "ImageSets" / "Main"
        lists.mkdir(parents=True, exist_ok=True)
        named = [f"canvas{k:03d}\n" for k, each in enumerate(splits) if each == split]
        (lists / f"{split}.txt").write_text("".join(named))
    return root


def coco_of(data, names, first_id=1):
    """The dict of a COCO file of these pictures."""
    _, height, width = data.shape
    annotations = []
    for k in range(len(data)):
        for label, xmin, ymin, xmax, ymax in boxes_of(data, k):
            sides = [xmax - xmin, ymax - ymin]
            annotations.append(
                dict(id=first_id + len(annotations), image_id=k, category_id=int(label) + first_id)
                | dict(bbox=[xmin, ymin, *sides], area=sides[0] * sides[1], iscrowd=0)
            )
    return {
        "images": [
            dict(id=k, file_name=name, width=width, height=height) for k, name in enumerate(names)
        ],
        "annotations": annotations,
        "categories": [dict(id=k + first_id, name=name) for k, name in enumerate(data.classes)],
    }


def write_coco(data, root, splits=None):
    """COCO: images/ and annotations/instances.json; with splits Roboflow's folder of each."""
    root = Path(root)
    if not splits:
        names = [_save(data, root / "images", k) for k in range(len(data))]
        (root / "annotations").mkdir()
        (root / "annotations" / "instances.json").write_text(json.dumps(coco_of(data, names)))
        return root
    for split in sorted(set(splits)):
        places = [k for k, each in enumerate(splits) if each == split]
        names = [_save(data, root / split, k) for k in places]
        text = json.dumps(coco_of(data.select(places), names))
        (root / split / "_annotations.coco.json").write_text(text)
    return root


def write_yolo(data, root, splits=None, split_first=False):
    """YOLO: data.yaml, images/SPLIT/ and labels/SPLIT/ (or SPLIT/images); else images/, labels/."""
    root = Path(root)
    _, height, width = data.shape
    for k in range(len(data)):
        split = splits[k] if splits else ""
        images, labels = (
            root / Path(*(parts[::-1] if split_first else parts))
            for parts in (("images", split), ("labels", split))
        )
        name = _save(data, images, k)
        labels.mkdir(parents=True, exist_ok=True)
        lines = [
            f"{int(label)} {(x0 + x1) / 2 / width:.6f} {(y0 + y1) / 2 / height:.6f} "
            f"{(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f}\n"
            for label, x0, y0, x1, y1 in boxes_of(data, k)
        ]
        (labels / name).with_suffix(".txt").write_text("".join(lines))
    paths = {s: f"{s}/images" if split_first else f"images/{s}" for s in sorted(set(splits or ()))}
    head = [f"{split}: {path}\n" for split, path in (paths or {"train": "images"}).items()]
    names = [f"  {k}: '{name}'\n" for k, name in enumerate(data.classes)]
    (root / "data.yaml").write_text("".join([*head, "names:\n", *names]))
    return root
