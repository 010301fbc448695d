# pyright: reportMissingImports=false
"""Exports with boxes as other tools load them: every picture, every box, under its class.

`bash tests/peers/run.sh` installs those tools and runs this; the suite does not collect it.
"""

import itertools
import json

import numpy as np
import pytest
import yaml
from boxed_digits import digits_on_canvas
from PIL import Image

from augment.report.export_boxes import COCO_FILE, IMAGES, export_pictures, write_boxes

CLASSES = ["no", "1 : a", "猫"]
SIDE = 64


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(folder, {file name: [(class name, xmin, ymin, xmax, ymax)]})"""
    out = tmp_path_factory.mktemp("boxes")
    parts = {
        "real": digits_on_canvas(12, side=SIDE, classes=3, seed=1, n_negatives=2),
        "synthetic": digits_on_canvas(6, side=SIDE, classes=3, seed=2),
    }
    pictures = [*itertools.chain(*(export_pictures(part, name) for name, part in parts.items()))]
    write_boxes(out, iter(pictures), CLASSES)
    wanted = {
        each.file_name: sorted((CLASSES[int(row[0])], *row[1:]) for row in each.boxes.tolist())
        for each in pictures
    }
    return out, wanted


def by_torchvision(out):
    from torchvision.datasets import CocoDetection

    data = CocoDetection(str(out / IMAGES), str(out / COCO_FILE))
    names = {k: each["name"] for k, each in data.coco.cats.items()}
    for key, (image, boxes) in zip(data.ids, data, strict=True):
        found = []
        for each in boxes:
            x, y, width, height = each["bbox"]
            found.append((names[each["category_id"]], x, y, x + width, y + height))
        yield data.coco.imgs[key]["file_name"], image, found


def by_supervision_coco(out):
    import supervision

    data = supervision.DetectionDataset.from_coco(str(out / IMAGES), str(out / COCO_FILE))
    yield from of_supervision(data)


def by_supervision_yolo(out):
    import supervision

    folders = (str(out / IMAGES), str(out / IMAGES.replace("images", "labels")))
    data = supervision.DetectionDataset.from_yolo(*folders, str(out / "data.yaml"))
    yield from of_supervision(data)


def of_supervision(data):
    for path, image, boxes in data:
        found = [
            (data.classes[label], *box)
            for label, box in zip(boxes.class_id, boxes.xyxy.tolist(), strict=True)
        ]
        yield path.rpartition("/")[2], Image.fromarray(image[..., ::-1]), found  # BGR → RGB


def by_ultralytics(out):
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    about = check_det_dataset(str(out / "data.yaml"), autodownload=False)
    data = YOLODataset(about["train"], data=about, imgsz=SIDE, hyp=get_cfg(), augment=False)
    for label in data.labels:
        boxes = label["bboxes"] * SIDE  # centre and sides
        corners = np.concatenate(
            [boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1
        )
        found = [
            (about["names"][int(k)], *box)
            for k, box in zip(label["cls"][:, 0], corners.tolist(), strict=True)
        ]
        yield label["im_file"].rpartition("/")[2], Image.open(label["im_file"]), found


LOADERS = [by_torchvision, by_supervision_coco, by_supervision_yolo, by_ultralytics]


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__name__)
def test_every_box_has_its_class_and_place(exported, load):
    out, wanted = exported
    seen = set()
    for name, image, found in load(out):
        seen.add(name)
        with Image.open(out / IMAGES / name) as picture:
            assert np.array_equal(np.asarray(image.convert("L")), np.asarray(picture))
        assert len(found) == len(wanted[name])
        for one, other in zip(sorted(found), wanted[name], strict=True):
            assert one[0] == other[0]
            assert one[1:] == pytest.approx(other[1:], abs=0.01)
    assert seen == wanted.keys()


def test_coco_boxes_say_whether_they_are_synthetic(exported):
    from pycocotools.coco import COCO

    out, _ = exported
    coco = COCO(str(out / COCO_FILE))
    assert min(coco.anns) == 1  # 0 would count as no match
    for each in coco.anns.values():
        source = coco.imgs[each["image_id"]]["source"]
        assert each["synthetic"] == (source == "synthetic")
    names = yaml.safe_load((out / "data.yaml").read_text())["names"]
    assert [*names.values()] == CLASSES == [each["name"] for each in coco.cats.values()]
    json.dumps(coco.dataset)
