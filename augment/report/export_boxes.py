"""Export pictures with boxes: one folder that readers of COCO and of YOLO load, each as it is.

Which boxes and pictures are synthetic stands in COCO's records, in pictures.csv and in boxes.csv.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from torch import Tensor

from augment.data.boxed_images import NO_BOX, BoxedImages
from augment.report.export_formats import ExportFormat, Head, png_bytes
from augment.storage.tables import write_csv

IMAGES, LABELS, COCO_FILE = "images/train", "labels/train", "annotations/instances_train.json"


@dataclass(frozen=True)
class ExportPicture:
    """One picture of an export, with its boxes."""

    pixels: Tensor  # [C, H, W] uint8
    boxes: Tensor  # [b, 5]: class, xmin, ymin, xmax, ymax in pixels
    source: str  # real or synthetic
    index: int  # among the pictures of its source
    synthetic: Sequence[bool]  # [b] which boxes hold synthetic objects
    original: str = ""  # the file that it was read from
    group: str = ""  # e.g. the patient

    @property
    def file_name(self) -> str:
        """Name of its file, without folder; no two of an export are alike."""
        return f"{self.source}-{self.index:06d}.png"


def export_pictures(
    data: BoxedImages,
    source: str,
    *,
    synthetic: Tensor | None = None,
    files: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> Iterator[ExportPicture]:
    """Yield the pictures of a set; `synthetic` [N, B] bool says which boxes are (None: the source).

    Sequences are empty where nothing is known.
    """
    for k, (pixels, rows) in enumerate(zip(data.images, data.labels, strict=True)):
        is_box = rows[:, 0] != NO_BOX
        n = int(is_box.sum())
        made = [source == "synthetic"] * n if synthetic is None else synthetic[k][is_box].tolist()
        original, group = (values[k] if values else "" for values in (files, groups))
        yield ExportPicture(pixels, rows[is_box], source, k, made, original, group)


def write_boxes(folder: Path, pictures: Iterator[ExportPicture], classes: list[str]) -> Head:
    """Write images/train, labels/train, data.yaml, COCO's JSON and two tables to a folder."""
    for name in (IMAGES, LABELS, str(Path(COCO_FILE).parent)):
        (folder / name).mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    rows, lines = [], []
    for picture in pictures:
        data, name = png_bytes(picture.pixels), picture.file_name
        (folder / IMAGES / name).write_bytes(data)
        text = "".join(f"{_yolo_line(box, picture.pixels)}\n" for box in picture.boxes.tolist())
        (folder / LABELS / name).with_suffix(".txt").write_text(text)
        images.append(_coco_image(picture, len(images) + 1))
        for box, made in zip(picture.boxes.tolist(), picture.synthetic, strict=True):
            annotations.append(_coco_box(box, made, len(annotations) + 1, len(images)))
            corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), box[1:], strict=True))
            own = {"file_name": name, "class": classes[int(box[0])], "synthetic": made}
            lines.append(own | corners)
        rows.append(
            {
                "file_name": f"{IMAGES}/{name}",
                "boxes": len(picture.boxes),
                "source": picture.source,
                "group": picture.group,
                "original": picture.original,
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
    coco = {
        "info": {"description": "Augmented data set: see README.md"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(classes)],
    }
    (folder / COCO_FILE).write_text(json.dumps(coco, ensure_ascii=False), encoding="utf-8")
    write_csv(folder / "pictures.csv", pd.DataFrame(rows))
    write_csv(folder / "boxes.csv", pd.DataFrame(lines))
    (folder / "data.yaml").write_text(_data_yaml(classes), encoding="utf-8")
    return {}


def _yolo_line(box: list[float], pixels: Tensor) -> str:
    """Format a box as class, centre and sides in shares of the picture."""
    label, xmin, ymin, xmax, ymax = box
    height, width = pixels.shape[1:]
    shares = (
        (xmin + xmax) / 2 / width,
        (ymin + ymax) / 2 / height,
        (xmax - xmin) / width,
        (ymax - ymin) / height,
    )
    return " ".join([str(int(label)), *(f"{share:.7f}" for share in shares)])


def _coco_image(picture: ExportPicture, number: int) -> dict[str, Any]:
    """Make COCO's record of a picture."""
    _, height, width = picture.pixels.shape
    return {
        "id": number,
        "file_name": picture.file_name,
        "width": width,
        "height": height,
        "source": picture.source,
        "group": picture.group,
        "original": picture.original,
    }


def _coco_box(box: list[float], synthetic: bool, number: int, image: int) -> dict[str, Any]:
    """Make COCO's record of a box; ids begin at 1, since 0 counts as no match in pycocotools."""
    label, xmin, ymin, xmax, ymax = box
    width, height = xmax - xmin, ymax - ymin
    return {
        "id": number,
        "image_id": image,
        "category_id": int(label) + 1,
        "bbox": [xmin, ymin, width, height],
        "area": width * height,
        "iscrowd": 0,
        "segmentation": [],
        "synthetic": synthetic,
    }


def _data_yaml(classes: list[str]) -> str:
    """Write the head of YOLO's layout."""
    names = yaml.safe_dump({"names": dict(enumerate(classes))}, allow_unicode=True, width=10_000)
    return (
        "# nothing is held out: point val to pictures of your own, never to synthetic ones\n"
        f"train: {IMAGES}\nval: {IMAGES}\n{names}"
    )


BOXED_EXPORT = ExportFormat(
    write_boxes,
    f"""Two layouts in one folder: `{IMAGES}` holds the pictures,
`{LABELS}` and `data.yaml` are YOLO's, `{COCO_FILE}` is COCO's.
`pictures.csv` says of each picture whether it is real, its group and the file that it came from;
`boxes.csv` and the key `synthetic` of COCO's annotations say which boxes are synthetic: in
synthetic pictures, whose grounds are labelled ones, real objects keep their boxes.

- Ultralytics: `YOLO("yolo11n.pt").train(data="OUT/data.yaml")`, once `val` in data.yaml leads to
  pictures of your own
- torchvision: `CocoDetection("OUT/{IMAGES}", "OUT/{COCO_FILE}")`
- supervision: `DetectionDataset.from_coco("OUT/{IMAGES}", "OUT/{COCO_FILE}")`
- augment: `augment check OUT`, which holds out real pictures alone
""",
    labels=(
        "Classes of generated objects are what the generator was asked for, their boxes are where\n"
        "  they were placed"
    ),
)
